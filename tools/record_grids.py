"""Records the option grid's networks in every version of Keras that docs/coverage.md names, each in a virtual
environment of its own, and judges them.

    python3.11 tools/record_grids.py FOLDER [--only 3.9.2 ...]    # about 30 minutes of one core, 6 GB, then
    python tools/grid.py FOLDER/records/* --torch --counts tools/grid_counts.json    # 2 minutes

The records (200 MB) are not kept: the same pins give the same networks and inputs, by the digest that
tools/grid.py prints. Keras 2.15 needs Python 3.11 or older.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import venv
from pathlib import Path

TENSORFLOW = ("tensorflow-cpu==2.19.1", "numpy==2.1.3", "h5py==3.16.0")
#: What some Keras 3 needs.
BESIDE = ("absl-py", "dm-tree", "ml-dtypes", "namex", "optree", "packaging", "rich")
#: (version of Keras, what it runs on, backend, one network in so many, from which on);
#: of every one all masked layers
SOURCES = (
    ("2.15.0", ("tensorflow-cpu==2.15.1", "numpy==1.26.4", "h5py==3.16.0"), "tensorflow", 2, 0),
    ("3.0.5", TENSORFLOW, "tensorflow", 10, 5),
    ("3.3.3", TENSORFLOW, "tensorflow", 10, 1),
    ("3.6.0", TENSORFLOW, "tensorflow", 10, 9),
    ("3.9.2", TENSORFLOW, "tensorflow", 10, 3),
    ("3.12.0", TENSORFLOW, "tensorflow", 10, 7),
    ("3.15.1", TENSORFLOW, "tensorflow", 6, 0),
    ("3.15.1", ("torch==2.13.0", "numpy==2.1.3", "h5py==3.16.0"), "torch", 2, 1),
)


def python_of(folder, version, needs):
    """The interpreter of an environment with this Keras; TensorFlow asks for another, so it comes after."""
    if not (folder / "bin" / "python").exists():
        venv.create(folder, with_pip=True)
        pip = [folder / "bin" / "pip", "install", "--quiet"]
        subprocess.run([*pip, *needs, *BESIDE], check=True)
        subprocess.run([*pip, "--no-deps", f"keras=={version}"], check=True)
    return folder / "bin" / "python"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", help="these versions of Keras")
    options = parser.parse_args()
    recorder = Path(__file__).with_name("record_grid.py")
    for version, needs, backend, every, first in SOURCES:
        if options.only and version not in options.only:
            continue
        name = f"{version}-{backend}"
        python = python_of(options.folder / "environments" / name, version, needs)
        records = options.folder / "records"
        for part in (
            [records / name, "--every", str(every), "--first", str(first)],
            [records / f"{name}-masks", "--masks"],
        ):
            subprocess.run([python, recorder, *part], check=True, env=os.environ | {"KERAS_BACKEND": backend})


if __name__ == "__main__":
    sys.exit(main())
