"""A model among scikit-learn's estimators: a step of a Pipeline, which ``clone`` copies and joblib stores.
Needs scikit-learn (``pip install 'rnnrt[sklearn]'``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import DTypeError, ShapeError, UnsupportedModelError, require
from .model import Model

if TYPE_CHECKING:
    from typing import Self

_base = require("sklearn.base", "sklearn", "rnnrt.estimator")


class SequenceEstimator(_base.TransformerMixin, _base.BaseEstimator):
    """A trained network as an estimator. ``model``: a Model of one input and one output, whose rows are their
    first axis.

    ``predict(X)`` and ``transform(X)`` are ``model(X)``: X is an array with a batch axis, as the model takes
    it, or a list of one array a row where rows differ in length. ``fit`` trains nothing. In front of other
    estimators stands a network that answers a row once: its (rows, features) are their features.
    """

    def __init__(self, model: Model[Any] | None = None) -> None:
        self.model = model

    def fit(self, X: Any, y: Any = None) -> Self:
        """Check the model and the axes of X. Raises DTypeError where there is no model, UnsupportedModelError
        where it has several inputs or outputs or rows along another axis, ShapeError for other axes than the
        model's.
        """
        self._checked(X)
        return self

    def predict(self, X: Any) -> Any:
        """``model(X)``; raises what ``fit`` and the model raise."""
        return self._checked(X)(X)

    def transform(self, X: Any) -> Any:
        """``model(X)``; raises what ``fit`` and the model raise."""
        return self._checked(X)(X)

    def __sklearn_is_fitted__(self) -> bool:
        return True  # the network came trained

    def _checked(self, rows):
        model = self.model
        if not isinstance(model, Model):
            raise DTypeError(
                "this is not a model",
                where="SequenceEstimator(model=)",
                expected="an rnnrt.Model: rnnrt.load(path)",
                found=type(model).__name__,
            )
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise UnsupportedModelError(
                "an estimator has one input and one output",
                where="SequenceEstimator(model=)",
                found=f"inputs {', '.join(model.inputs)}; outputs {', '.join(model.outputs)}",
            )
        (name, shape), (output,) = *model.inputs.items(), model.graph.outputs
        if model.graph[name].axes[0] != "b" or output.axes[0] != "b":
            raise UnsupportedModelError(
                "an estimator has its rows along the first axis", where=f"input {name!r}", found=str(shape)
            )
        # a table of two axes would be one sequence to the model, and a row each to scikit-learn
        plain = getattr(rows, "dtype", None) != object and hasattr(rows, "ndim")
        axes = rows.ndim if plain else min((1 + np.ndim(row) for row in rows), default=0)
        if axes != len(shape):
            raise ShapeError(
                "X has the wrong number of axes",
                where=f"input {name!r}",
                expected=f"{len(shape)}: an array of rows, or a list of one array a row",
                found=str(axes),
            )
        return model
