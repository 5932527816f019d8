"""Inputs on which rnnrt was once wrong, one line each: `python tools/check_cases FOLDER [--only TEXT]`.

FOLDER holds keras/NAME.keras and NAME.h5 beside NAME.npz (x0, x1, ... in, y0, y1, ... out, as Keras
answered), keras/tf215_models.tar.xz and what a row below names; or, for `--only amps`, wild/NAME beside
wild/golden/NAME.npz. It is data from outside and not part of the project. Every row ends as one of

    right     the answer is that of the framework
    refused   by an RnnrtError, in a row where that is a right outcome, or may still be one
    WRONG     another answer, or a refusal where the answer was due
    FOREIGN   an exception that is not an RnnrtError

and the command ends with 1 if any row is WRONG or FOREIGN. Needs torch, and keras on KERAS_BACKEND=torch.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
sys.path.insert(0, str(Path(__file__).parent))
warnings.filterwarnings("ignore")

import amp_rows
import command_rows
import engine_rows
import keras_rows
import outcome
import torch_rows
import value_rows

MODULES = (keras_rows, torch_rows, engine_rows, value_rows, command_rows, amp_rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="rows whose name holds this text")
    options = parser.parse_args()
    folder = options.folder.resolve()
    counts = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)  # rows write files beside themselves
        for module in MODULES:
            for row in module.rows(folder):
                if options.only in row.name:
                    kind, text = outcome.of(row)
                    counts[kind] += 1
                    print(f"{kind:8s} {row.name:52s} {text}", flush=True)
    print(", ".join(f"{counts[kind]} {kind}" for kind in ("right", "refused", "WRONG", "FOREIGN")))
    return 1 if counts["WRONG"] or counts["FOREIGN"] else 0


if __name__ == "__main__":
    sys.exit(main())
