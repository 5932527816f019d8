"""What LiteRT answered to the networks of tflite_networks.py (tools/record_tflite.py); imports of bytes."""

from functools import cache
from pathlib import Path

import numpy as np

import rnnrt

#: Of a float32 answer from another float32 answer of the same weights.
TOLERANCE = 1e-5


@cache
def answers():
    """{"name call output": array}: two calls one after the other with the same input."""
    with np.load(Path(__file__).parents[1] / "data" / "tflite_answers.npz") as opened:
        return dict(opened)


def imported(content, tmp_path, **options):
    """The Model of the bytes of a file."""
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    return rnnrt.from_tflite(path, **options)


def several(made):
    return made if isinstance(made, tuple) else (made,)
