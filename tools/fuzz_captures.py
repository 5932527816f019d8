"""Damaged captures and sounds: what reads them must end in a network, a sound, or one of rnnrt's errors.

    python tools/fuzz_captures.py --count 100000 --seed 0

Seeds are the small files of tests/support/captures.py and WAV files of every encoding. A mutant has bytes
changed, cut, doubled or moved, or, in JSON, a value replaced by another kind of value. Exit 1 where anything
else is raised, where one takes longer than 2 s, or where all of them take 1 GiB.
"""

from __future__ import annotations

import copy
import json
import random
import sys
from pathlib import Path

import mutants
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

import captures

import rnnrt
from rnnrt import importers
from rnnrt.format import wav

WORDS = ("Tanh", "WaveNet", "LSTM", "ConvNet", "gated", "blended", "PReLU", "lstm", "gru", "conv1d", "0.6.0")


def seeds():
    """[(what reads it, bytes)]: sounds, and captures as the objects they were."""
    documents = [*captures.NAM.values(), *captures.RTNEURAL.values(), *captures.GUITARML.values()]
    documents += [captures.aida(in_gain=3, in_skip=1, samples=8)]
    made = [("capture", d) for d in documents]
    for encoding in wav.ENCODINGS:
        sound = wav.Sound(np.linspace(-1, 1, 12, dtype=np.float32).reshape(-1, 2), 48000, encoding)
        made.append(("sound", b"".join(map(bytes, wav.encode(sound)[0]))))
    return made


def mutant(draw, seed):
    """The bytes of a damaged seed."""
    if not isinstance(seed, dict):
        return mutants.bytes_changed(seed, draw)
    if draw.random() < 0.3:
        return mutants.bytes_changed(json.dumps(seed).encode(), draw)
    document = copy.deepcopy(seed)
    for _ in range(draw.choice((1, 1, 2, 3))):
        mutants.value_changed(document, draw, mutants.VALUES + WORDS)
    return json.dumps(document).encode()


def main():
    chosen = mutants.options(__doc__, seconds=2.0, files=None).parse_args()
    made, draw, kind = seeds(), random.Random(chosen.seed), ""

    def changed(_):
        nonlocal kind
        kind, seed = draw.choice(made)
        return mutant(draw, seed)

    def read(path):
        if kind == "sound":
            return wav.encode(wav.read(path))
        return rnnrt.from_graph(importers.read(path))

    return mutants.run(chosen, changed, read)


if __name__ == "__main__":
    sys.exit(main())
