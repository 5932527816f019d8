"""Frames of a sequence of samples: equal lengths, one every ``hop`` samples, with padding at both ends."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from ..errors import ShapeError
from .front import Front, FrontStream, whole_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: "none", "causal", "center", "reflect", or the zeros before and after a sequence.
Padding: TypeAlias = Literal["none", "causal", "center", "reflect"] | tuple[int, int]

#: Most numbers that are worked on at once: a long sequence goes block by block.
BLOCK = 1 << 18


class FramedFront(Front):
    """A front that answers each frame by itself: frame k begins at sample k * hop - left of the sequence."""

    @property
    @abstractmethod
    def _length(self) -> int: ...

    @property
    @abstractmethod
    def _hop(self) -> int: ...

    @property
    @abstractmethod
    def _padding(self) -> Padding: ...

    @property
    def _answer_type(self) -> type[np.generic]:
        return np.float32

    @property
    @abstractmethod
    def _answer_shape(self) -> tuple[int, ...]:
        """The shape of one answer."""

    @abstractmethod
    def _values(self, frames: NDArray[np.float32]) -> NDArray[Any]:
        """Answers to frames (..., length), in float64 or exact."""

    @property
    def _pads(self) -> tuple[int, int]:
        """Samples before the sequence and after it."""
        return pads(self._padding, self._length, self._hop)

    @property
    def delay(self) -> int:
        """In samples, see Front.delay: what is padded behind the sequence."""
        return self._pads[1]

    def _begun(self, batch_size: int | None) -> FrontStream:
        return FramedStream(self, batch_size)


def pads(padding: Padding, length: int, hop: int) -> tuple[int, int]:
    """Samples before a sequence and after it."""
    if isinstance(padding, tuple):
        return padding
    if padding == "none":
        return 0, 0
    return (max(0, length - hop), 0) if padding == "causal" else (length // 2, length // 2)


def check_padding(padding: object) -> None:
    """ShapeError where it is not a Padding."""
    if isinstance(padding, str) and padding in ("none", "causal", "center", "reflect"):
        return
    if not isinstance(padding, tuple) or len(padding) != 2:
        raise ShapeError(
            "this padding does not exist",
            expected='"none", "causal", "center", "reflect" or (zeros before, zeros after)',
            found=repr(padding),
        )
    whole_number(padding[0], "padding[0]", 0)
    whole_number(padding[1], "padding[1]", 0)


class FramedStream(FrontStream):
    """Holds the samples from the beginning of the next frame on; of reflected padding also those that would
    be reflected behind the end.
    """

    _front: FramedFront

    def _begin(self) -> None:
        front = self._front
        left, right = front._pads
        self._reflects = front._padding == "reflect"
        self._waiting = left if self._reflects else 0  # samples that must have come before one is reflected
        self._behind = right + 1 if self._reflects else 0
        self._held = np.zeros((self._rows, 0 if self._reflects else left), np.float32)
        self._next = 0  # where in ``_held`` the next frame begins
        self._count = 0

    def _push(self, x: NDArray[Any]) -> NDArray[Any]:
        self._count += x.shape[1]
        held = np.concatenate([self._held, x], axis=1)
        if self._waiting:
            left = self._waiting
            if held.shape[1] <= left:
                self._held = held
                return self._empty()
            held, self._waiting = np.concatenate([held[:, left:0:-1], held], axis=1), 0
        return self._framed(held)

    def _flush(self) -> NDArray[Any]:
        right = self._front._pads[1]
        if not self._count:
            return self._empty()
        if self._waiting:
            raise ShapeError(
                "the sequence is too short to be reflected at its ends",
                where=type(self._front).__name__,
                expected=f"at least {self._waiting + 1} samples",
                found=str(self._count),
                fix='Use padding="center", which pads with zeros.',
            )
        held, end = self._held, np.zeros((self._rows, right), np.float32)
        if self._reflects:
            size = held.shape[1]
            end = held[:, size - 1 - right : size - 1][:, ::-1]
        return self._framed(np.concatenate([held, end], axis=1))

    def _empty(self) -> NDArray[Any]:
        return np.zeros((self._rows, 0, *self._front._answer_shape), self._front._answer_type)

    def _framed(self, held: NDArray[np.float32]) -> NDArray[Any]:
        front = self._front
        length, hop = front._length, front._hop
        count = max(0, (held.shape[1] - self._next - length) // hop + 1)
        made = np.empty((self._rows, count, *front._answer_shape), front._answer_type)
        if count:
            frames = held[:, None, self._next : self._next + length]
            if count > 1:  # what makes the view costs more than a small front
                frames = np.lib.stride_tricks.sliding_window_view(held[:, self._next :], length, axis=1)
                frames = frames[:, ::hop]
            some = max(1, BLOCK // max(1, self._rows * length))
            with np.errstate(all="ignore"):  # what is not finite stays so
                for k in range(0, count, some):
                    made[:, k : k + some] = front._values(frames[:, k : min(k + some, count)])
        self._next += count * hop
        gone = max(0, min(self._next, held.shape[1] - self._behind))
        self._held, self._next = held[:, gone:].copy(), self._next - gone
        return made


@dataclass(frozen=True, eq=False)
class Frames(FramedFront):
    """Frames as they are: (samples,) -> (frames, length), as ``librosa.util.frame`` and ``Tensor.unfold``
    cut them.

    ``padding`` is what stands before and after the sequence: "none"; "causal": length - hop zeros before it,
    so that each hop of samples completes a frame; "center": length // 2 zeros at both ends; "reflect": as
    many samples, reflected; or (zeros before, zeros after). An empty sequence has no frames.
    """

    length: int
    hop: int
    _: KW_ONLY
    padding: Padding = "none"

    def __post_init__(self) -> None:
        whole_number(self.length, "length", 1)
        whole_number(self.hop, "hop", 1)
        check_padding(self.padding)

    @property
    def _length(self) -> int:
        return self.length

    @property
    def _hop(self) -> int:
        return self.hop

    @property
    def _padding(self) -> Padding:
        return self.padding

    @property
    def _answer_shape(self) -> tuple[int, ...]:
        return (self.length,)

    def _values(self, frames: NDArray[np.float32]) -> NDArray[Any]:
        return frames
