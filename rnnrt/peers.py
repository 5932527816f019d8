"""The user's own file in its own framework, for ``rnnrt bench --against``: what it answers and how it is called there.

The frameworks are imported only here and only when asked for; rnnrt itself never needs one.
"""

from __future__ import annotations

import importlib.util

import numpy as np

from . import golden
from .errors import UnsupportedModelError

PEERS = ("keras", "torch", "onnxruntime")


def opener(name: str, path: str):
    """What opens a file in framework ``name``: f(path) -> {label: callable(inputs in the source's order) -> list of outputs}, single-threaded.

    Raises UnsupportedModelError where no file says enough to run there, MissingExtraError where the framework is not installed.
    """
    if name == "onnxruntime":
        raise UnsupportedModelError(
            "a comparison with onnxruntime needs an .onnx file, which rnnrt does not import yet",
            where=path,
            fix="Compare a .keras or .h5 file with: rnnrt bench FILE --against keras",
        )
    if name == "torch":
        raise UnsupportedModelError(
            "torch cannot run this file by itself: a state dict holds weights and no forward(), and rnnrt runs no code of a file",
            where=path,
            fix="Build your module in Python, then time it and rnnrt.from_torch(module) there: rnnrt.bench.measure({'rnnrt': ..., 'torch': ...}, seconds).",
        )
    return open_in_keras


def open_in_keras(path):
    """predict(), and on the torch backend the plain call without gradients, which has less overhead."""
    if importlib.util.find_spec("torch") is not None:
        import torch

        torch.set_num_threads(1)
    try:
        model = golden.open_in_keras(path)
    except UnsupportedModelError as error:
        error.fix = (
            "Give a .keras or .h5 file of Keras's own layers; without --against, bench measures rnnrt alone."
        )
        raise
    import keras

    def listed(made):
        return [np.asarray(y) for y in (made if isinstance(made, (list, tuple)) else [made])]

    def predict(inputs):
        return listed(model.predict(inputs[0] if len(inputs) == 1 else inputs, verbose=0))

    peers = {f"keras {keras.__version__} predict()": predict}
    if keras.backend.backend() == "torch":
        import torch

        def call(inputs):
            with torch.no_grad():
                made = model(
                    [torch.from_numpy(np.asarray(x)) for x in inputs]
                    if len(inputs) > 1
                    else torch.from_numpy(np.asarray(inputs[0]))
                )
            return [y.numpy() for y in (made if isinstance(made, (list, tuple)) else [made])]

        peers[f"keras {keras.__version__} call, no_grad"] = call
    return peers
