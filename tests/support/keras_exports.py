"""What tools/record_keras_exports.py recorded of twelve Keras networks: files of tf2onnx and of TFLite."""

from functools import cache

import numpy as np
from archives import unpacked
from onnx_exports import BATCHES, TIMES
from onnx_exports import SHAPES as NETWORKS

#: The axes and sizes of the inputs; "ids" for whole numbers, 0 of them a pad.
SHAPES = {name: ["b t 5"] for name in NETWORKS}
SHAPES |= {"lstm_states": ["b t 5", "b 8", "b 8"], "embedded": ["b t ids"]}
WAYS = ("tf2onnx13.onnx", "tf2onnx17.onnx", "open.tflite", "seven.tflite")


def sample(name, batch, time):
    """The inputs of a network. Rows of whole numbers end in pads, the first of them in none."""
    draw, made = np.random.RandomState(100 * batch + time), []
    for shape in SHAPES[name]:
        sizes = [{"b": batch, "t": time}.get(n) or int(n) for n in shape.split() if n != "ids"]
        if shape.endswith("ids"):
            ids = draw.randint(1, 20, sizes).astype(np.int32)
            ids[np.arange(time) >= time - np.arange(batch)[:, None]] = 0
            made.append(ids)
        else:
            made.append(draw.standard_normal(sizes).astype(np.float32))
    return made


__all__ = ["BATCHES", "TIMES", "recorded", "sample"]


@cache
def recorded():
    """({"lstm.open.tflite": bytes of a file}, {"lstm": {"batch time output": array}})."""
    files, answers = {}, {}
    for name, content in unpacked("keras_exports.tar.xz"):
        if name.endswith(".npz"):
            answers[name.removesuffix(".npz")] = content
        else:
            files[name] = content
    return files, answers
