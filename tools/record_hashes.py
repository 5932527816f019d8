"""What every case of tests/support/cases.py answers on the native kernels, as one hash a case: writes
tests/data/hashes.json.

    python tools/record_hashes.py            names the cases whose answers changed, and records them
    python tools/record_hashes.py --check    names them only; exit code 1 where there are some

The hashes are the same for AVX2, AVX-512, NEON and scalar code with a hardware fma (tests/test_hashes.py). A
change that moves code changes none of them. A change of arithmetic on purpose names in its commit those it
changes.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from pathlib import Path

import numpy as np

import rnnrt
from rnnrt.format import graph_json

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "tests" / "data" / "hashes.json"
sys.path.insert(0, str(ROOT / "tests" / "support"))
from cases import CASES

#: Batch and frames of the samples whose answers are hashed: a single frame, and some of the shortest blocks.
SAMPLES = ((1, 1), (3, 50), (2, 171))


def answers(case, **options):
    """[answer to each sample of ``case``]; a single frame may be too short for it."""
    model, made = rnnrt.Model(case.graph(), **options), []
    for batch, frames in SAMPLES:
        try:
            made.append(model(case.sample(batch, frames)))
        except rnnrt.ShapeError:
            assert frames == 1, case.name
    return made


def hash_of(arrays):
    """CRC-32 of the numbers in order, little-endian float32, in hexadecimal."""
    value = 0
    for array in arrays:
        assert not np.isnan(array).any(), "the bits of a NaN are not promised"
        value = zlib.crc32(np.ascontiguousarray(array, "<f4").tobytes(), value)
    return f"{value:08x}"


def inputs():
    """The hash of all weights and samples: where it differs, the answers differ for no fault of the
    engine.
    """
    numbers = []
    for case in CASES:
        numbers += graph_json.encode(case.graph())[1].values()
        numbers += [case.sample(batch, frames) for batch, frames in SAMPLES]
    return hash_of(numbers)


def hashes(**options):
    """{"inputs": their hash, case: hash of its answers, ...}. ``options``: those of rnnrt.Model."""
    return {"inputs": inputs()} | {case.name: hash_of(answers(case, **options)) for case in CASES}


def recorded():
    return json.loads(RECORD.read_text())


def changed(before, after):
    """["case: hash before -> hash after"] of what differs."""
    return [
        f"{name}: {before.get(name)} -> {after.get(name)}"
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    ]


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="record nothing")
    parser.add_argument("--isa", help="an instruction set other than the best of this processor")
    options = parser.parse_args(words)
    before, after = recorded() if RECORD.exists() else {}, hashes(isa=options.isa)
    different = changed(before, after)
    print(*different, f"{len(different)} of {len(after)} hashes changed", sep="\n")
    if options.check:
        return bool(different)
    RECORD.write_text(json.dumps(after, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
