"""What rnnrt reads of the formats of others, as docs/coverage.md: from the tables that its importers
read by.

    python tools/coverage_tables.py [destination]

The page is never written by hand; tests/test_coverage.py holds it to the tables.
"""

import sys
import textwrap
from pathlib import Path

from rnnrt.importers.keras import functions, tensorflow, unsupported
from rnnrt.importers.nam import parts, wavenet
from rnnrt.importers.nam import reader as nam
from rnnrt.importers.onnx import program as onnx
from rnnrt.importers.onnx import quantised, recurrent
from rnnrt.importers.rtneural import guitarml
from rnnrt.importers.rtneural import layers as rtneural
from rnnrt.importers.spec import build as spec
from rnnrt.importers.spec import kinds
from rnnrt.importers.tflite import schema
from rnnrt.importers.tflite import words as tflite
from rnnrt.importers.torch import aten, functional, modules, stored
from rnnrt.importers.torchscript import words as torchscript

PAGE = Path(__file__).resolve().parents[1] / "docs" / "coverage.md"
#: Names that stand in a table and in no file: made by the importer itself.
OWN = {"NotEqual"}
#: What is read beside the tables, by the reader of programs itself.
CONTROL = {"If", "Loop", "Scan"}


def listed(names):
    """Names in their order, as code, in lines of a page."""
    return textwrap.fill(", ".join(f"`{n}`" for n in sorted(names)), 110, break_long_words=False)


def plain(words):
    """Words of PyTorch without those that write over their argument, which mean the same."""
    return {w for w in words if not (w.endswith("_") and w.rstrip("_") in words)}


def sections():
    """[(title, [(what, names)])]."""
    read = {*onnx._KNOWN, *recurrent.KINDS, *CONTROL} - OWN
    floats = {f"{domain}.{op}".lstrip(".") for domain, op in quantised._REWRITES} | {"DequantizeLinear"}
    script = plain(torchscript.WORDS) - plain(stored.STORED)
    return [
        (
            "Keras",
            [
                ("Layers", set(unsupported.KNOWN) - set(tensorflow.TENSORFLOW)),
                ("Functions of keras.ops, by the names of their classes", functions.OPERATIONS),
                ("Functions of TensorFlow (TFOpLambda)", {*tensorflow.WORDS, *tensorflow._SEVERAL}),
                ("Operators of a TensorFlow graph (TensorFlowOpLayer)", tensorflow._GRAPH),
            ],
        ),
        (
            "PyTorch, live modules",
            [
                ("Modules", modules.MODULES),
                (
                    "Functions of torch, torch.nn.functional and tensors",
                    plain(aten.ATEN | functional.FUNCTIONAL),
                ),
                ("Lines of a spec", {*kinds.RNNS, *kinds.PARAMETRIC, *kinds.POOLS, *spec._WITHOUT}),
            ],
        ),
        (
            "ONNX",
            [
                ("Operators", read),
                ("Operators of integers, computed with in float32", floats),
                (
                    "Attributes of LSTM, GRU and RNN (`clip`, `input_forget=1` and peepholes are refused)",
                    recurrent._ATTRIBUTES,
                ),
                ("Activations of LSTM, GRU and RNN", recurrent._FUNCTIONS),
            ],
        ),
        (
            "torch.export (.pt2)",
            [
                ("Operators of aten", plain(stored.STORED)),
                ("Of parameters alone", set(stored.FOLDED) - set(stored.STORED)),
            ],
        ),
        ("TorchScript, traced", [("Operators beside those of .pt2", script)]),
        (
            "TFLite",
            [("Operators", tflite.WORDS), ("Refused by name", set(schema.NAMES) - set(tflite.WORDS))],
        ),
        (
            ".nam",
            [
                ("Architectures", nam._ARCHITECTURES),
                ("Activations", {*parts.FUNCTIONS, *parts.SLOPED}),
                ("Gating of WaveNet", wavenet._MODES),
                ("Refused by name where they are active", wavenet._FILM),
            ],
        ),
        (
            "RTNeural and AIDA-X",
            [("Layers", rtneural._LAYERS), ("Activations", rtneural._FUNCTIONS)],
        ),
        ("GuitarML", [("Units", guitarml._UNITS)]),
    ]


def page():
    lines = [
        "# What is read of others' files",
        "",
        "Made by tools/coverage_tables.py from the tables that importers read by. An operator that is not",
        "here is refused by its name; so is an option that would change an answer and cannot be honoured.",
    ]
    for title, parts_ in sections():
        lines += ["", f"## {title}"]
        for what, names in parts_:
            lines += ["", f"{what} ({len(set(names))}):", "", listed(names)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else PAGE).write_text(page())
