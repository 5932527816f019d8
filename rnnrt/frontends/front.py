"""What every front has: a whole call, and streams that answer the same bits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DTypeError, ShapeError, StateError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class Front(ABC):
    """A transform of one sequence into another that works from left to right. It never changes, and any
    number of streams and threads may use it.
    """

    @property
    def delay(self) -> int:
        """The smallest d for which a stream has, after t + d items of its input, given all that ``flush``
        after t of them would bring.
        """
        return 0

    def __call__(self, x: ArrayLike) -> NDArray[Any]:
        """The answer to a whole sequence, (time, ...), or to a batch of them, (batch, time, ...). The same as
        of a stream that is given ``x`` and flushed. Raises ShapeError and DTypeError.
        """
        x = self._checked(x, None)
        alone = x.ndim == 1 + len(self._features)
        stream = self._begun(None if alone else len(x))
        return np.concatenate([stream.push(x), stream.flush()], axis=0 if alone else 1)

    def stream(self, batch_size: int | None = None) -> FrontStream:
        """A live sequence, or ``batch_size`` of them side by side: chunks are (time, ...), or
        (batch_size, time, ...).
        """
        if batch_size is not None and (not isinstance(batch_size, int | np.integer) or batch_size < 1):
            raise ShapeError("batch_size must be None or a whole number from 1 on", found=repr(batch_size))
        return self._begun(batch_size)

    @property
    def _features(self) -> tuple[int, ...]:
        """The shape of one item of the input: () for samples."""
        return ()

    @property
    def _reads(self) -> type[np.generic]:
        """The type that the input is read as."""
        return np.float32

    @abstractmethod
    def _begun(self, batch_size: int | None) -> FrontStream: ...

    def _checked(self, x: ArrayLike, batch_size: int | None) -> NDArray[Any]:
        """The input as an array of the type that is read; ``batch_size``: as a chunk of so many rows."""
        where = f"input of {type(self).__name__}"
        try:
            x = np.asarray(x)
        except (ValueError, TypeError) as error:
            raise DTypeError("this cannot be read as an array of numbers", where=where) from error
        complex_read = issubclass(self._reads, np.complexfloating)
        if x.dtype.kind not in ("fc" if complex_read else "f"):
            fix = None
            if x.dtype.kind in "iu":
                fix = "Full scale is 1: divide samples of 16 bits by 32768."
            raise DTypeError(
                "this type of number cannot be used",
                where=where,
                expected="complex64, or what converts to it" if complex_read else "float32, or another float",
                found=str(x.dtype),
                fix=fix,
            )
        rank = 1 + len(self._features)
        fits = x.ndim in (rank, rank + 1) and x.shape[x.ndim - rank + 1 :] == self._features
        if not fits or (batch_size is not None and x.shape[:-rank] != (batch_size,)):
            one = ", ".join(["time", *map(str, self._features)]) + ("" if self._features else ",")
            many = ", ".join([str(batch_size or "batch"), "time", *map(str, self._features)])
            raise ShapeError(
                "the input has the wrong shape",
                where=where,
                expected=f"({many})" if batch_size is not None else f"({one}) or ({many})",
                found=str(x.shape),
            )
        return x.astype(self._reads, copy=False)


class FrontStream(ABC):
    """A live sequence of a front: what it has taken, as far as it still counts. One caller at a time."""

    def __init__(self, front: Front, batch_size: int | None) -> None:
        self._front, self._batch_size, self._ended = front, batch_size, False
        self._begin()

    @property
    def delay(self) -> int:
        """See Front.delay."""
        return self._front.delay

    def push(self, chunk: ArrayLike) -> NDArray[Any]:
        """Any number of items in (0 too); what they complete comes out, which may be nothing: (0, ...).
        Raises ShapeError and DTypeError, and StateError where the sequence is over.
        """
        x = self._front._checked(chunk, self._batch_size)
        if self._batch_size is None:
            if x.ndim != 1 + len(self._front._features):
                raise ShapeError(
                    "the input has the wrong shape: this stream is of one sequence",
                    where=f"input of {type(self._front).__name__}",
                    expected="no batch axis",
                    found=str(x.shape),
                    fix="Make it for a batch: stream(batch_size=n).",
                )
            x = x[None]
        self._go_on()
        return self._out(self._push(x))

    def flush(self) -> NDArray[Any]:
        """What the end of the sequence completes. The stream is over then, until ``reset``."""
        self._go_on()
        made = self._out(self._flush())
        self._ended = True
        return made

    def reset(self) -> None:
        """Begin a new sequence."""
        self._ended = False
        self._begin()

    def _go_on(self) -> None:
        if self._ended:
            raise StateError("the sequence is over: the stream was flushed", fix="Call reset().")

    def _out(self, made: NDArray[Any]) -> NDArray[Any]:
        return made[0] if self._batch_size is None else made

    @property
    def _rows(self) -> int:
        return 1 if self._batch_size is None else self._batch_size

    @abstractmethod
    def _begin(self) -> None: ...

    @abstractmethod
    def _push(self, x: NDArray[Any]) -> NDArray[Any]:
        """(rows, time, ...) in and out."""

    @abstractmethod
    def _flush(self) -> NDArray[Any]: ...


def whole_number(value: object, name: str, least: int) -> None:
    """ShapeError where a parameter is not a whole number from ``least`` on."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ShapeError(f"{name} must be a whole number from {least} on", found=repr(value))
