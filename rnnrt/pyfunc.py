"""A model in MLflow, as its pyfunc flavour: saved, logged, served. Needs mlflow or mlflow-skinny
(``pip install 'rnnrt[mlflow]'``).
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import DTypeError, require
from .loading import load

if TYPE_CHECKING:
    from .model import Model


def save_model(model: Model[Any], path: str, **options: Any) -> None:
    """Write ``model`` as an MLflow model, a new folder that ``mlflow.pyfunc.load_model`` reads. ``options``:
    as ``mlflow.pyfunc.save_model`` takes them (``signature``, ``metadata``, ...).
    """
    _written(model, _pyfunc().save_model, path, options)


def log_model(model: Model[Any], name: str, **options: Any) -> Any:
    """Log ``model`` to the current run; ``options``, and what comes back: those of
    ``mlflow.pyfunc.log_model``.
    """
    return _written(model, _pyfunc().log_model, name, options)


def _pyfunc():
    return require("mlflow.pyfunc", "mlflow", "rnnrt.pyfunc")


def _written(model, write, where, options):
    from . import __version__

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.rnnrt"
        model.save(file)
        needs = {"pip_requirements": [f"rnnrt=={__version__}"]}
        return write(where, loader_module="rnnrt.pyfunc", data_path=str(file), **(needs | options))


def _load_pyfunc(path):  # MLflow's name for what a loader module has
    return _Predictor(load(path))


class _Predictor:
    """What MLflow asks: ``predict`` of an array or a list of arrays is ``model(x)``, of {input: array} the
    dict of the outputs.
    """

    def __init__(self, model):
        self.model = model

    def predict(self, model_input, params=None):
        if params:
            raise DTypeError("this model takes no parameters", found=", ".join(params))
        if isinstance(model_input, dict):
            return self.model.run(model_input)
        if isinstance(model_input, (np.ndarray, list)):
            return self.model(model_input)
        raise DTypeError(
            "this is not what a sequence model takes",
            expected="an array (batch, time, features), a list of one array a row, or {input: array}",
            found=type(model_input).__name__,
            fix="Rows of a table that are frames: rnnrt score, or rnnrt.clusters.",
        )
