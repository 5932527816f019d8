"""Damaged captures and sounds: what reads them must end in a network, a sound, or one of rnnrt's errors.

    python tools/fuzz_captures.py --count 100000 --seed 0

Seeds are the small files of tests/support/captures.py and WAV files of every encoding. A mutant has bytes
changed, cut, doubled or moved, or, in JSON, a value replaced by another kind of value. Exit 1 where anything
else is raised, where one takes longer than 2 s, or where memory grows beyond 1 GiB.
"""

from __future__ import annotations

import argparse
import collections
import copy
import io
import json
import os
import random
import resource
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

import captures

import rnnrt
from rnnrt.format import wav
from rnnrt.importers import read

SLOWEST = 2.0  # seconds
MOST_MEMORY = 1 << 30
#: What may stand anywhere in JSON.
VALUES = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    3,
    1.5,
    1e300,
    -1e-300,
    1 << 24,
    1 << 40,
    "",
    "x",
    "Tanh",
    [],
    {},
    [[]],
)
WORDS = ("WaveNet", "LSTM", "ConvNet", "gated", "blended", "PReLU", "lstm", "gru", "conv1d", "0.6.0")


def seeds():
    """[(what reads it, bytes)]: sounds, and captures as the objects they were."""
    documents = [*captures.NAM.values(), *captures.RTNEURAL.values(), *captures.GUITARML.values()]
    documents += [captures.aida(in_gain=3, in_skip=1, samples=8)]
    made = [("capture", d) for d in documents]
    for encoding in wav.ENCODINGS:
        sound = wav.Sound(np.linspace(-1, 1, 12, dtype=np.float32).reshape(-1, 2), 48000, encoding)
        made.append(("sound", b"".join(map(bytes, wav.encode(sound)[0]))))
    return made


def mutant(chooser, seed):
    """The bytes of a damaged seed."""
    if isinstance(seed, dict) and chooser.random() < 0.7:
        document = copy.deepcopy(seed)
        for _ in range(chooser.choice((1, 1, 2, 3))):
            damage_value(chooser, document)
        return json.dumps(document).encode()
    data = bytearray(json.dumps(seed).encode() if isinstance(seed, dict) else seed)
    for _ in range(chooser.choice((1, 1, 2, 4))):
        damage_bytes(chooser, data)
    return bytes(data)


def damage_value(chooser, document):
    """Replace, drop, double or swap one value somewhere in a document."""
    place = document
    while True:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        if not keys:
            return
        key = chooser.choice(keys)
        inner = place[key]
        if isinstance(inner, (dict, list)) and inner and chooser.random() < 0.8:
            place = inner
            continue
        break
    match chooser.randrange(5):
        case 0 | 1:
            place[key] = copy.deepcopy(chooser.choice(VALUES + WORDS))
        case 2:
            del place[key]
        case 3:
            place[key] = copy.deepcopy(place[chooser.choice(keys)])
        case 4 if isinstance(place, list):
            place *= chooser.choice((2, 3))
        case _:
            place["new"] = 1


def damage_bytes(chooser, data):
    """Change, cut, double or move some bytes."""
    if not data:
        return
    start, length = chooser.randrange(len(data)), chooser.randrange(1, 33)
    match chooser.randrange(5):
        case 0:
            data[start] = chooser.randrange(256)
        case 1:
            del data[start : start + length]
        case 2:
            data[start:start] = data[start : start + length]
        case 3:
            del data[start:]
        case 4:
            data[start : start + 4] = chooser.choice(
                (b"\xff\xff\xff\xff", bytes(4), b"[[[[", b"\x00\x00\x00\x80")
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    made, ends, faults, slowest = seeds(), collections.Counter(), 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "m")
        for number in range(options.seed, options.seed + options.count):
            chooser = random.Random(number)
            kind, seed = chooser.choice(made)
            data = mutant(chooser, seed)
            with open(path, "wb") as file:
                file.write(data)
            start = time.perf_counter()
            try:
                if kind == "sound":
                    wav.encode(wav.read(path))
                else:
                    rnnrt.from_graph(read(path))
                end = "read"
            except rnnrt.RnnrtError as error:
                end = type(error).__name__
            except Exception:  # noqa: BLE001 - the very thing that is looked for
                trace = io.StringIO()
                traceback.print_exc(file=trace)
                print(f"seed {number}: {trace.getvalue()}", flush=True)
                end, faults = "FAULT", faults + 1
            taken = time.perf_counter() - start
            if taken > SLOWEST:
                print(f"seed {number}: {taken:.1f} s")
                faults += 1
            slowest = max(slowest, taken)
            ends[f"{kind} {end}"] += 1
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    print(", ".join(f"{end}: {count:,}" for end, count in sorted(ends.items())))
    print(f"slowest {slowest:.2f} s, most memory {memory >> 20} MiB, {faults} faults")
    return 1 if faults or memory > MOST_MEMORY else 0


if __name__ == "__main__":
    sys.exit(main())
