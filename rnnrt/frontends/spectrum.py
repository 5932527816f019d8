"""The short-time Fourier transform of a sequence of samples."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ShapeError
from .framing import FramedFront
from .overlap_add import InverseSTFT
from .windows import check_sizes, window_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from .framing import Padding
    from .logarithm import Log


class SpectralFront(FramedFront):
    """A front whose frames are those of a spectrum."""

    n_fft: int
    hop_length: int
    padding: Padding

    @property
    def _length(self) -> int:
        return self.n_fft

    @property
    def _hop(self) -> int:
        return self.hop_length

    @property
    def _padding(self) -> Padding:
        return self.padding


@dataclass(frozen=True, eq=False)
class STFT(SpectralFront):
    """The spectrum of each frame: (samples,) -> (frames, n_fft // 2 + 1).

    It is that of ``torch.stft`` and ``librosa.stft`` with time before frequency: complex64 where ``power`` is
    None, else float32, \\|X\\| ** power of 1 (magnitudes) or 2 (power), of which ``log`` may take the
    logarithm. A window shorter than ``n_fft`` stands in the middle of its frame. ``window`` is a name (see
    ``frontends.window``) or ``win_length`` values.

    ``padding`` is as of Frames and must be said, for the libraries differ: "center" is librosa's default
    (zeros), "reflect" torch's and torchaudio's; "causal" answers at once with each hop of samples; "none" is
    ``center=False``. A stream is ``delay`` samples behind: n_fft // 2 where frames are centred, else 0.
    """

    n_fft: int
    hop_length: int
    _: KW_ONLY
    padding: Padding
    win_length: int | None = None
    window: str | ArrayLike = "hann"
    power: int | None = None
    log: Log | None = None

    def __post_init__(self) -> None:
        check_sizes(self.n_fft, self.hop_length, self.win_length, self.padding)
        if self.power not in (None, 1, 2):
            raise ShapeError("power must be None, 1 or 2", found=repr(self.power))
        if self.log is not None and self.power is None:
            raise ShapeError("a complex spectrum has no logarithm here", fix="Say power=1 or power=2.")
        _ = self._weights  # an unfit window is refused here

    @cached_property
    def _weights(self) -> NDArray[np.float64]:
        return window_of(self.window, self.win_length or self.n_fft, self.n_fft)

    @property
    def inverse(self) -> InverseSTFT:
        """The way back from complex spectra, with the same sizes, window and padding."""
        return InverseSTFT(
            self.n_fft,
            self.hop_length,
            padding=self.padding,
            win_length=self.win_length,
            window=self.window,
        )

    @property
    def _answer_type(self) -> type[np.generic]:
        return np.complex64 if self.power is None else np.float32

    @property
    def _answer_shape(self) -> tuple[int, ...]:
        return (self.n_fft // 2 + 1,)

    def _values(self, frames: NDArray[np.float32]) -> NDArray[Any]:
        spectra = np.fft.rfft(frames * self._weights)
        if self.power is None:
            return spectra
        made = spectra.real**2 + spectra.imag**2
        if self.power == 1:
            made = np.sqrt(made)
        return made if self.log is None else self.log(made)
