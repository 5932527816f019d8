"""Spectra in mel bands, and their cepstra."""

from __future__ import annotations

import warnings
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import ShapeError
from .framing import FramedFront
from .front import whole_number
from .spectrum import STFT, SpectralFront

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from .framing import Padding
    from .logarithm import Log

#: Slaney's scale: 200/3 Hz a mel up to 1000 Hz, from there on 27 mels for a factor of 6.4.
_LINEAR, _FROM = 200 / 3, 1000.0
_STEP = np.log(6.4) / 27


def _mels(hertz: float, scale: str) -> float:
    if scale == "htk":
        return float(2595 * np.log10(1 + hertz / 700))
    return float(hertz / _LINEAR if hertz < _FROM else _FROM / _LINEAR + np.log(hertz / _FROM) / _STEP)


def _hertz(mels: NDArray[np.float64], scale: str) -> NDArray[np.float64]:
    if scale == "htk":
        return 700 * (10 ** (mels / 2595) - 1)
    above = _FROM * np.exp(_STEP * (mels - _FROM / _LINEAR))
    return np.where(mels < _FROM / _LINEAR, mels * _LINEAR, above)


def mel_filters(
    sample_rate: float,
    n_fft: int,
    n_mels: int,
    *,
    mel_scale: Literal["htk", "slaney"],
    norm: Literal["slaney"] | None,
    f_min: float = 0.0,
    f_max: float | None = None,
) -> NDArray[np.float32]:
    """Triangular filters, (n_mels, n_fft // 2 + 1), that turn a spectrum into mel bands, as of
    ``librosa.filters.mel`` and the transpose of ``torchaudio.functional.melscale_fbanks``.

    ``mel_scale`` and ``norm`` must be said: librosa's defaults are "slaney" and "slaney" (each filter has the
    same area), torchaudio's are "htk" and None (each has the peak 1). ``f_max``: half of the rate by default.
    Warns where a filter falls between the bins of the spectrum and is empty.
    """
    return _filters(sample_rate, n_fft, n_mels, mel_scale, norm, f_min, f_max).astype(np.float32)


def _filters(
    sample_rate: float,
    n_fft: int,
    n_mels: int,
    mel_scale: str,
    norm: str | None,
    f_min: float,
    f_max: float | None,
) -> NDArray[np.float64]:
    whole_number(n_fft, "n_fft", 2)
    whole_number(n_mels, "n_mels", 1)
    if mel_scale not in ("htk", "slaney") or norm not in ("slaney", None):
        raise ShapeError(
            "there is no such scale or norm of mel bands",
            expected='mel_scale "htk" or "slaney", norm "slaney" or None',
            found=f"{mel_scale!r} and {norm!r}",
        )
    f_max = sample_rate / 2 if f_max is None else f_max
    if not 0 <= f_min < f_max <= sample_rate / 2:
        raise ShapeError(
            "mel bands lie between 0 and half of the sample rate",
            expected=f"0 <= f_min < f_max <= {sample_rate / 2:g}",
            found=f"{f_min} and {f_max}",
        )
    corners = _hertz(np.linspace(_mels(f_min, mel_scale), _mels(f_max, mel_scale), n_mels + 2), mel_scale)
    low, peak, high = (corners[k : k + n_mels].reshape(-1, 1) for k in range(3))
    bins = np.arange(n_fft // 2 + 1) * (sample_rate / n_fft)
    made = np.maximum(0, np.minimum((bins - low) / (peak - low), (high - bins) / (high - peak)))
    if norm == "slaney":
        made *= 2 / (high - low)
    empty = np.flatnonzero(made.max(axis=1) == 0)
    if len(empty):
        some = ", ".join(map(str, empty[:8])) + (", ..." if len(empty) > 8 else "")
        warnings.warn(
            f"{len(empty)} of {n_mels} mel filters hold no bin of the spectrum and answer 0 always: {some}. "
            "Take fewer bands, or a larger n_fft.",
            stacklevel=3,
        )
    return made


class _Products:
    """Products with the rows of a matrix, each a sum of its terms in one order, whatever else is worked out
    beside it. Zeros before and behind the others of a row do not count.
    """

    def __init__(self, matrix: NDArray[np.float64]) -> None:
        used = [np.flatnonzero(row) for row in matrix]
        width = max(1, *(k[-1] - k[0] + 1 for k in used if len(k)), 1)
        firsts = np.array([k[0] if len(k) else 0 for k in used])
        firsts = np.minimum(firsts, matrix.shape[1] - width)
        self._columns = firsts[:, None] + np.arange(width)
        self._factors = np.take_along_axis(matrix, self._columns, axis=1)

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """(..., columns) -> (..., rows)."""
        terms = np.take(x, self._columns, axis=-1)  # contiguous, so that the sums run along the terms
        terms *= self._factors
        made: NDArray[np.float64] = np.add.reduce(terms, axis=-1)
        return made


@dataclass(frozen=True, eq=False)
class MelSpectrogram(SpectralFront):
    """The spectrum of each frame in mel bands: (samples,) -> (frames, n_mels), as of
    ``librosa.feature.melspectrogram`` and torchaudio's ``MelSpectrogram``, with time first.

    The parameters of the spectrum are those of STFT, the parameters of the bands those of ``mel_filters``;
    where the libraries differ (``padding``, ``mel_scale``, ``norm``) they must be said. ``log`` takes the
    logarithm: ``Log.decibels()``, ``Log(offset=1e-6)``.
    """

    sample_rate: float
    n_fft: int
    hop_length: int
    _: KW_ONLY
    mel_scale: Literal["htk", "slaney"]
    norm: Literal["slaney"] | None
    padding: Padding
    n_mels: int = 128
    f_min: float = 0.0
    f_max: float | None = None
    win_length: int | None = None
    window: str | ArrayLike = "hann"
    power: int = 2
    log: Log | None = None

    def __post_init__(self) -> None:
        if self.power not in (1, 2):
            raise ShapeError("power must be 1 or 2", found=repr(self.power))
        _ = self._spectrum, self._bands  # what does not fit is refused here

    @cached_property
    def _spectrum(self) -> STFT:
        return STFT(
            self.n_fft,
            self.hop_length,
            padding=self.padding,
            win_length=self.win_length,
            window=self.window,
            power=self.power,
        )

    @cached_property
    def _bands(self) -> _Products:
        sizes = (self.sample_rate, self.n_fft, self.n_mels)
        return _Products(_filters(*sizes, self.mel_scale, self.norm, self.f_min, self.f_max))

    @property
    def _answer_shape(self) -> tuple[int, ...]:
        return (self.n_mels,)

    def _values(self, frames: NDArray[np.float32]) -> NDArray[Any]:
        made = self._bands(self._spectrum._values(frames))
        return made if self.log is None else self.log(made)


@dataclass(frozen=True, eq=False)
class MFCC(FramedFront):
    """Mel-frequency cepstral coefficients: the first ``n_mfcc`` of the orthonormal DCT-II of a mel
    spectrogram's logarithms, (samples,) -> (frames, n_mfcc), as of ``librosa.feature.mfcc`` and torchaudio's
    ``MFCC``, both without ``top_db``.
    """

    n_mfcc: int
    mel: MelSpectrogram

    def __post_init__(self) -> None:
        whole_number(self.n_mfcc, "n_mfcc", 1)
        if self.n_mfcc > self.mel.n_mels:
            raise ShapeError(
                "there are fewer mel bands than coefficients", found=f"{self.mel.n_mels} and {self.n_mfcc}"
            )
        if self.mel.log is None:
            raise ShapeError(
                "cepstra are of logarithms",
                fix="Give the mel spectrogram a log: Log.decibels() or Log(offset=1e-6).",
            )

    @cached_property
    def _cosines(self) -> _Products:
        n = self.mel.n_mels
        angles = np.pi / n * np.outer(np.arange(self.n_mfcc), np.arange(n) + 0.5)
        scale = np.full(self.n_mfcc, np.sqrt(2 / n))
        scale[0] = np.sqrt(1 / n)
        return _Products(np.cos(angles) * scale[:, None])

    @property
    def _length(self) -> int:
        return self.mel._length

    @property
    def _hop(self) -> int:
        return self.mel._hop

    @property
    def _padding(self) -> Padding:
        return self.mel._padding

    @property
    def _answer_shape(self) -> tuple[int, ...]:
        return (self.n_mfcc,)

    def _values(self, frames: NDArray[np.float32]) -> NDArray[Any]:
        return self._cosines(self.mel._values(frames))
