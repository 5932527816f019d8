"""How many frames, and how many numbers, there are where only the run of a program tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ...errors import UnsupportedModelError


class Clock(NamedTuple):
    """Which frames a tensor's frames are: (n - span) // stride + 1 of them where ``input`` has n.

    Windows that change the number of frames compose to one span and one stride, so tensors join where these
    agree, whatever windows made them. ``longest``: cut to the longest length given, as unpacking does that is
    not told a length. A value given once that was made a sequence has input "", stride 0 and its
    number of frames as ``span``. ``risen``: what came before where time went faster, each (span, stride, up,
    first): of n frames, m behind the windows, there were up * (m - 1) + first, which are counted from there.
    """

    input: str
    span: int = 1
    stride: int = 1
    longest: bool = False
    risen: tuple[tuple[int, int, int, int], ...] = ()

    def behind(self, span, stride):
        """The clock behind a window of ``span`` frames, its padding taken off, that moves by ``stride``."""
        return self._replace(span=self.span + (span - 1) * self.stride, stride=self.stride * stride)

    def through(self, layer):
        """The clock behind a layer that makes its frames of several, or several of each."""
        if layer.padding == "same":
            return self.behind(1, layer.stride)
        if layer.span is None:  # copies of the other end
            return self.behind(1 - layer.before - layer.after, 1)
        if layer.emits != "many":
            return self.behind(layer.span - sum(layer.padding), layer.stride)
        rise = (self.span, self.stride, layer.stride, layer.span - sum(layer.padding))
        return self._replace(span=1, stride=1, risen=(*self.risen, rise))

    def check_lengths(self):
        """Refuse lengths of rows in these frames where they are not whole frames of an input."""
        if self.risen:
            raise UnsupportedModelError(
                "lengths cannot be counted in frames behind a transposed convolution",
                fix="Pack before it, or run each row on its own.",
            )


@dataclass(frozen=True)
class Size:
    """A size known only when the program runs: the product of ``axes``, each "b" or ("t", clock), and a
    number.
    """

    axes: tuple = ()
    number: int = 1

    def __str__(self):
        words = ["batch" if axis == "b" else "time" for axis in self.axes]
        return " * ".join(words + [str(self.number)] * (self.number != 1 or not words))

    def __mul__(self, other):
        other = other if isinstance(other, Size) else Size((), other)
        return Size(self.axes + other.axes, self.number * other.number)

    __rmul__ = __mul__

    def __add__(self, other):
        return (
            Shifted(self, other)
            if isinstance(other, int) and other
            else self
            if other == 0
            else NotImplemented
        )

    __radd__ = __add__

    def __sub__(self, other):
        return Shifted(self, 0) - other

    def __floordiv__(self, other):
        return Shifted(self, 0) // other

    def counted(self):
        """(size, number): this size as another one and a number more, frames behind a transposed convolution
        counted by those before it.
        """
        ((_, clock),) = self.axes if len(self.axes) == 1 and self.axes[0] != "b" else ((None, None),)
        if clock is None or not clock.risen or (clock.span, clock.stride) != (1, 1):
            return self, 0
        span, stride, up, first = clock.risen[-1]
        before = clock._replace(span=span, stride=stride, risen=clock.risen[:-1])
        size, more = Size((("t", before),), self.number * up).counted()
        return size, more + self.number * (first - up)


@dataclass(frozen=True)
class Shifted:
    """A Size and a number more: what arithmetic of sizes makes on its way to a number, or to the size behind
    a window.
    """

    size: Size
    more: int

    def settled(self):
        """As the Size of the frames behind a window, where it may be one."""
        clock = self._clock()
        return self if clock is None else self._framed(clock, clock.span - clock.stride * self.more, 1)

    def _clock(self):
        """Of the frames that it counts, None where it counts something else."""
        axes = self.size.axes
        clock = axes[0][1] if self.size.number == 1 and len(axes) == 1 and axes[0] != "b" else None
        return clock if clock is not None and clock.stride and not clock.longest else None

    @staticmethod
    def _framed(clock, span, by):
        return Size((("t", clock._replace(span=span, stride=clock.stride * by)),))

    def __floordiv__(self, other):
        """((n - span) // stride + 1 + more) // other, which is the number of frames of a longer stride."""
        if not isinstance(other, int) or isinstance(other, bool) or other < 1:
            return NotImplemented
        if other == 1:
            return self if self.more else self.size
        if not self.more and self.size.number % other == 0:
            return Size(self.size.axes, self.size.number // other)
        if (clock := self._clock()) is None:
            return NotImplemented
        return self._framed(clock, clock.span + clock.stride * (other - 1 - self.more), other)

    def __add__(self, other):
        return Shifted(self.size, self.more + other) if isinstance(other, int) else NotImplemented

    __radd__ = __add__

    def __sub__(self, other):
        """A number, where both count the same frames."""
        if isinstance(other, int):
            return Shifted(self.size, self.more - other)
        if not isinstance(other, Size | Shifted):
            return NotImplemented
        other = other if isinstance(other, Shifted) else Shifted(other, 0)
        (own, more), (size, less) = self.size.counted(), other.size.counted()
        return self.more + more - other.more - less if own == size else NotImplemented
