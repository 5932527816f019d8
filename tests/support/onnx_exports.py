"""The networks that tools/record_onnx.py exports: their inputs, and what it recorded."""

from functools import cache

import numpy as np
from archives import unpacked

BATCHES, TIMES = (1, 3), (1, 2, 7, 8, 50)
#: The axes and sizes of the inputs; "ids" for whole numbers.
SHAPES = {
    "lstm": ["b t 5"],
    "lstm_last": ["b t 5"],
    "lstm_states": ["b t 5", "2 b 8", "2 b 8"],
    "gru": ["b t 5"],
    "gru_both_ways": ["t b 5"],
    "rnn": ["b t 5"],
    "cell_loop": ["b t 5"],
    "hand_gru": ["b t 5"],
    "embedded": ["b t ids"],
    "tcn": ["b 5 t"],
    "conv_lstm": ["b 5 t"],
    "norm_gru": ["b t 5"],
}
#: ("old", opset, whether all sizes were fixed) of the exporter over TorchScript, "new" over torch.export.
WAYS = [("old", n, False) for n in (11, 13, 15, 17, 18, 20)] + [("old", n, True) for n in (11, 17)]
WAYS += [("new", n, False) for n in (18, 20, 23)] + [("new", 20, True)]


def sample(name, batch, time):
    """The inputs of a network."""
    draw, made = np.random.RandomState(100 * batch + time), []
    for shape in SHAPES[name]:
        sizes = [{"b": batch, "t": time}.get(n) or int(n) for n in shape.split() if n != "ids"]
        ids = shape.endswith("ids")
        made.append(draw.randint(0, 20, sizes) if ids else draw.standard_normal(sizes).astype(np.float32))
    return made


@cache
def recorded():
    """({"lstm.old17": bytes of a file}, {"lstm": {"batch time output": array}})."""
    files, answers = {}, {}
    for name, content in unpacked("onnx_exports.tar.xz"):
        stem, _, kind = name.rpartition(".")
        (answers if kind == "npz" else files)[stem] = content
    return files, answers
