"""From spectra back to samples: frames that overlap are added."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ShapeError
from .framing import BLOCK, pads
from .front import Front, FrontStream
from .windows import check_sizes, window_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from .framing import Padding


@dataclass(frozen=True, eq=False)
class InverseSTFT(Front):
    """Samples of complex spectra: (frames, n_fft // 2 + 1) -> (samples,), as of ``torch.istft`` and
    ``librosa.istft``, with time first.

    Each frame is transformed back, weighted with the window and added where it overlaps others; with
    ``normalize`` each sample is divided by the sum of the squared windows over it, where that is above 0
    (``normalize=False`` leaves the sum as it is). What STFT padded before and after the sequence is left out
    again. k frames are (k - 1) * hop_length + n_fft samples less the padding.

    A stream has given all samples before k * hop_length - padding after k frames: behind an STFT a sample
    comes n_fft - hop_length samples after it went in, with the hop that is complete then. ``delay`` is in
    frames.
    """

    n_fft: int
    hop_length: int
    _: KW_ONLY
    padding: Padding
    win_length: int | None = None
    window: str | ArrayLike = "hann"
    normalize: bool = True

    def __post_init__(self) -> None:
        check_sizes(self.n_fft, self.hop_length, self.win_length, self.padding)
        if self.hop_length > self.n_fft:
            raise ShapeError(
                "hop_length is more than n_fft: the samples between frames are lost",
                found=f"{self.hop_length} and {self.n_fft}",
            )
        _ = self._weights

    @cached_property
    def _weights(self) -> NDArray[np.float64]:
        return window_of(self.window, self.win_length or self.n_fft, self.n_fft)

    @property
    def _reads(self) -> type[np.generic]:
        return np.complex64

    @property
    def _features(self) -> tuple[int, ...]:
        return (self.n_fft // 2 + 1,)

    @property
    def _pads(self) -> tuple[int, int]:
        return pads(self.padding, self.n_fft, self.hop_length)

    @property
    def delay(self) -> int:
        """In frames, see Front.delay."""
        return -(-max(0, self.n_fft - self.hop_length - self._pads[1]) // self.hop_length)

    def _begun(self, batch_size: int | None) -> FrontStream:
        return _Overlapping(self, batch_size)


class _Overlapping(FrontStream):
    """Holds the sums of the samples that frames to come still reach, or that the end of the sequence may
    leave out.
    """

    _front: InverseSTFT

    def _begin(self) -> None:
        front = self._front
        left, right = front._pads
        reach = front.n_fft - front.hop_length  # of a frame, beyond its own hop
        held = max(reach, right)
        self._offset = held - reach
        self._cut = left + self._offset  # samples yet to be left out
        self._sums, self._squares = np.zeros((self._rows, held)), np.zeros(held)
        self._count = 0

    def _push(self, x: NDArray[Any]) -> NDArray[Any]:
        front, made = self._front, []
        some = max(1, BLOCK // max(1, self._rows * front.n_fft))
        with np.errstate(all="ignore"):
            for k in range(0, x.shape[1], some):
                made.append(self._added(x[:, k : k + some]))
        return np.concatenate([np.zeros((self._rows, 0), np.float32), *made], axis=1)

    def _added(self, spectra: NDArray[Any]) -> NDArray[np.float32]:
        front = self._front
        hop, count = front.hop_length, spectra.shape[1]
        self._count += count
        frames = np.fft.irfft(spectra.astype(np.complex128), front.n_fft) * front._weights
        more = np.zeros((self._rows, count * hop))
        sums, squares = np.concatenate([self._sums, more], axis=1), np.pad(self._squares, (0, count * hop))
        weights = front._weights[None, None] ** 2
        # Piece by piece of the frames, the last first: every sample is the sum of its frames in their order.
        for begin in reversed(range(0, front.n_fft, hop)):
            first = self._offset + begin
            for total, whole in ((sums, frames), (squares[None], weights)):
                part = whole[:, :, begin : begin + hop]
                width = part.shape[2]
                place = total[:, first : first + (count - 1) * hop + width]
                view = np.lib.stride_tricks.sliding_window_view(place, width, axis=1, writeable=True)
                view[:, ::hop] += part
        size = count * hop
        self._sums, self._squares = sums[:, size:].copy(), squares[size:].copy()
        return self._given(sums[:, :size], squares[:size])

    def _flush(self) -> NDArray[Any]:
        front = self._front
        if not self._count:
            return np.zeros((self._rows, 0), np.float32)
        size = self._sums.shape[1] - front._pads[1]
        return self._given(self._sums[:, :size], self._squares[:size])

    def _given(self, sums: NDArray[np.float64], squares: NDArray[np.float64]) -> NDArray[np.float32]:
        gone = min(self._cut, sums.shape[1])
        self._cut -= gone
        sums, squares = sums[:, gone:], squares[gone:]
        if self._front.normalize:
            sums = sums / np.where(squares > np.finfo(np.float32).tiny, squares, 1.0)
        return sums.astype(np.float32)
