"""What rnnrt reads of the formats of others, as docs/coverage.md: from the tables that its importers
read by.

    python tools/coverage_tables.py [destination]

The page is never written by hand; tests/test_coverage.py holds it to the tables.
"""

import json
import re
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


#: What tools/grid.py counted.
GRID = Path(__file__).with_name("grid_counts.json")
#: The options of the grid that are refused: what the error says -> (the option, what to do).
REFUSED = {
    r"a mask of the values .* Keras 3 before 3\.12": (
        "Keras 3.0 to 3.11: `Attention` and `AdditiveAttention` over masked values",
        "Load the model with Keras 3.12 or later and save it again.",
    ),
    r"the activation '(sparsemax|sparse_plus|squareplus|tanh_shrink|glu)'": (
        "Keras: the activations `glu`, `sparse_plus`, `sparsemax`, `squareplus` and `tanh_shrink`",
        "Leave the layer linear and write the function with `keras.ops` behind it: `x - ops.tanh(x)`.",
    ),
    r"the activation 'log_softmax'": (
        "Keras: `log_softmax` as the activation of a cell",
        "Use it as the activation of a layer behind the recurrent one.",
    ),
    r"the option rms_scaling=True": (
        "Keras: `LayerNormalization(rms_scaling=True)`",
        "Use `RMSNormalization`.",
    ),
    r"the option data_format='channels_first'": (
        "Keras: `data_format='channels_first'`",
        "Build the layer with `channels_last` and set the same weights; TensorFlow runs no other on a CPU.",
    ),
    r"the option time_major=True": (
        "Keras 2: `time_major=True`",
        "Build the layer without it and set the same weights; transpose the input.",
    ),
    r"another number of frames than the example's|adaptive pooling to more than one frame": (
        "PyTorch: `AdaptiveAvgPool1d` and `AdaptiveMaxPool1d` to more than one frame, at an open length",
        "Say the length: `input length=N` in a spec. A live module is imported for its example's length.",
    ),
    r"adaptive pooling of two axes": (
        "PyTorch: `AdaptiveAvgPool2d` and `AdaptiveMaxPool2d` to other sizes than 1 and None",
        "Use a pool with a fixed window: `MaxPool2d`.",
    ),
    r"align_corners=True": ("PyTorch: `align_corners=True`", "Use `align_corners=False`."),
    r"a BatchNorm1d without running statistics": (
        "PyTorch: `BatchNorm1d(track_running_stats=False)`",
        "Its answer to a row depends on the other rows. Train with running statistics, or use `GroupNorm`.",
    ),
    r"the module (LocalResponseNorm|InstanceNorm2d|ConvTranspose2d)|frames of several axes": (
        "PyTorch: `ConvTranspose2d`, `GroupNorm` of pictures, `InstanceNorm2d`, `LocalResponseNorm`",
        "Import the parts before and behind: `from_torch(module.NAME)`.",
    ),
    r"the axes b and t and f cannot be merged": (
        "PyTorch: `Flatten(start_dim=0)`",
        "Keep the batch: `start_dim=1`.",
    ),
}


def option_of(reason):
    """The row of REFUSED that a refusal of the grid is of."""
    (found,) = [said for said in REFUSED if re.match(said, reason)]
    return found


def grid():
    """The lines of the page on the option grid."""
    counts = json.loads(GRID.read_text())
    built = sum(source["networks"] for source in counts.values())
    refused = {said: 0 for said in REFUSED}
    for source in counts.values():
        for reason, number in source["refused"].items():
            refused[option_of(reason)] += number
    total = sum(refused.values())
    lines = [
        "## The option grid",
        "",
        f"{built:,} generated networks, a product and a draw over layers and their options, run",
        "whole and streamed against the answers of the framework that built them. No answer differs by",
        "more than promised ([accuracy](accuracy.md)).",
        f"{total} networks ({total / built:.1%}) are refused. Keras's are read from a .keras and a .h5 file",
        "each. `tools/record_grids.py` records them, `tools/grid.py` judges them; the tests run a part.",
        "",
        "| built and answered by | networks | streamed too | refused | layers behind a mask |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, source in counts.items():
        numbers = (source["networks"], source["streamed"], sum(source["refused"].values()))
        cells = [f"{n:,}" for n in numbers] + [str(source.get("masked", ""))]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "Behind a mask a layer reads rows that are real throughout, a prefix, left-padded, with holes, all",
        "masked, with one frame masked, and with one real.",
    ]
    lines += ["", "| refused | networks | what to do |", "|---|---:|---|"]
    for said, (option, advice) in REFUSED.items():
        lines.append(f"| {option} | {refused[said]} | {advice} |")
    return lines


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
        "here is refused by its name; so is an option that would change an answer and cannot be",
        "honoured: the end of the page counts them in generated networks.",
    ]
    for title, parts_ in sections():
        lines += ["", f"## {title}"]
        for what, names in parts_:
            lines += ["", f"{what} ({len(set(names))}):", "", listed(names)]
    lines += ["", *grid()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else PAGE).write_text(page())
