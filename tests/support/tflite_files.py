"""The TFLite files that tools/record_tflite.py recorded, and what LiteRT answers to them."""

import io
import tarfile
from functools import cache
from pathlib import Path

import numpy as np


def shapes(name):
    """[(rows, frames)] that a file NETWORK.VERSION.FORM was asked with."""
    network, _, form = name.split(".")
    if form != "open":
        return [(3 if form == "rows" else 1, 7)]
    return [(1, 7), (1, 20)] if network == "conv_stride" else [(1, 1), (1, 2), (1, 7), (1, 20)]


def sample(name, shape):
    """The input of a file, (rows, frames, 4); frames of a masked network are zero now and then."""
    draw = np.random.RandomState(10 * shape[0] + shape[1])
    x = draw.standard_normal((*shape, 4)).astype(np.float32)
    if name.startswith("masked"):
        x[draw.uniform(size=shape) < 0.3] = 0
    return x


@cache
def recorded():
    """({name: bytes of a file}, {"name rows frames call output": array})."""
    files = {}
    with tarfile.open(Path(__file__).parents[1] / "data" / "tflite_files.tar.xz") as archive:
        for member in archive:
            files[member.name] = archive.extractfile(member).read()
    with np.load(io.BytesIO(files.pop("answers.npz"))) as opened:
        answers = dict(opened)
    return {name.removesuffix(".tflite"): content for name, content in files.items()}, answers
