"""Pre-emphasis: high frequencies raised before a spectrum is taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ShapeError
from .front import Front, FrontStream

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class PreEmphasis(Front):
    """``y[t] = x[t] - coefficient * x[t - 1]``: (samples,) -> (samples,). The first sample stays as it is, as
    of ``torchaudio.functional.preemphasis`` and of ``librosa.effects.preemphasis`` with ``zi=[0]``.
    """

    coefficient: float = 0.97

    def __post_init__(self) -> None:
        if not np.isfinite(self.coefficient):
            raise ShapeError("the coefficient must be finite", found=repr(self.coefficient))

    def _begun(self, batch_size: int | None) -> FrontStream:
        return _Emphasising(self, batch_size)


class _Emphasising(FrontStream):
    _front: PreEmphasis

    def _begin(self) -> None:
        self._last = np.zeros((self._rows, 1), np.float32)

    def _push(self, x: NDArray[Any]) -> NDArray[Any]:
        before = np.concatenate([self._last, x], axis=1)
        self._last = before[:, -1:].copy()
        with np.errstate(all="ignore"):
            made = x.astype(np.float64) - self._front.coefficient * before[:, :-1].astype(np.float64)
            return made.astype(np.float32)

    def _flush(self) -> NDArray[Any]:
        return np.zeros((self._rows, 0), np.float32)
