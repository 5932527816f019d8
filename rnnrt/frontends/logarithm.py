"""Logarithms of spectra, with a floor."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ShapeError

if TYPE_CHECKING:
    from typing import Literal

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Log:
    """``factor * log(max(x, floor) + offset) - shift``, to base e or 10.

    ``Log(offset=1e-6)`` is log(x + 1e-6), ``Log(offset=1)`` log1p, ``Log(10, floor=1e-10)`` what Whisper
    begins with, ``Log.decibels()`` librosa's ``power_to_db`` and torchaudio's ``AmplitudeToDB`` without
    ``top_db``. Where neither floor nor offset is given, silence is -inf.
    """

    base: float = math.e
    _: KW_ONLY
    floor: float = 0.0
    offset: float = 0.0
    factor: float = 1.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        if self.base not in (math.e, 10):
            raise ShapeError("the base of a logarithm must be math.e or 10", found=repr(self.base))
        if not (self.floor >= 0 and self.offset >= 0):
            raise ShapeError(
                "floor and offset of a logarithm must be 0 or more", found=f"{self.floor}, {self.offset}"
            )

    @classmethod
    def decibels(
        cls, of: Literal["power", "amplitude"] = "power", *, reference: float = 1.0, floor: float = 1e-10
    ) -> Log:
        """10 log10 of a power, 20 log10 of an amplitude, over that of ``reference``; ``floor`` is the least
        power, or the least amplitude, that is told from silence (``amin``; librosa's ``amplitude_to_db``
        has 1e-5).
        """
        if of not in ("power", "amplitude") or not (reference > 0 and floor > 0):
            raise ShapeError(
                "decibels are of a power or an amplitude, with a reference and a floor above 0",
                found=f"{of!r}, {reference}, {floor}",
            )
        factor = 10.0 if of == "power" else 20.0
        return cls(10, floor=floor, factor=factor, shift=factor * math.log10(max(reference, floor)))

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """The logarithms of an array, in float64."""
        x = np.ascontiguousarray(
            x, np.float64
        )  # NumPy takes another way through what is not, with other bits
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.floor == 0 and self.offset == 1 and self.base == math.e:
                return np.log1p(x) * self.factor - self.shift
            x = np.maximum(x, self.floor) + self.offset
            made: NDArray[np.float64] = (np.log10 if self.base == 10 else np.log)(x) * self.factor
            return made - self.shift
