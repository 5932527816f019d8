"""Which axes the inputs of a program have, where the program does not say: every layout an input could have
is tried, and one must fit.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

from ...errors import ShapeError, UnsupportedModelError
from .values import AxesError

_MOST_TRIALS = 20_000


class Layout(NamedTuple):
    """``axes``: as "btf"; ``size``: the features, None without that axis, a tuple of several;
    ``ids``: whole numbers; ``length``: the frames where they are fixed.
    """

    axes: str
    size: int | tuple[int, ...] | None
    ids: bool = False
    length: int | None = None


def open_layouts(sizes):
    """Every layout of an input of which nothing is known but the ``sizes`` that layers behind it read, the
    likeliest first.
    """
    floats = [Layout(axes, size) for size in sizes for axes in ("btf", "bft", "tbf", "bf")]
    single = [Layout(axes, None) for axes in ("bt", "tb")]
    return floats + single + [Layout(axes, None, True) for axes in ("bt", "tb", "b")]


def layouts_of(shape, ids, fixed):
    """Every layout of an input of this shape, none where it can have none. ``fixed``: its frames stay so
    many.
    """
    orders = {3: ("btf", "bft", "tbf"), 2: ("bf", "bt", "tb"), 1: ("b",)}
    if ids:
        orders = {2: ("bt", "tb"), 1: ("b",)}
    if len(shape) == 3 and ids:  # rows of several ids a frame
        return [Layout("btf", shape[2:], True, shape[1] if fixed else None)]
    if len(shape) == 4 and not ids:
        named = [(axes, [n for a, n in zip(axes, shape) if a == "f"]) for axes in ("bftf", "bfft", "btff")]
        return [
            Layout(axes, tuple(sizes), False, shape[axes.index("t")] if fixed else None)
            for axes, sizes in named
        ]
    named = [(axes, dict(zip(axes, shape))) for axes in orders.get(len(shape), ())]
    return [Layout(axes, size.get("f"), ids, size.get("t") if fixed else None) for axes, size in named]


def layouts_said(shape, ids):
    """Every layout of an input of a shape that the user states: None for the batch and for time, a number of
    frames where they stay so many. ``ids``: None where it may hold whole numbers or others.
    """
    layouts = []
    for kind in (False, True) if ids is None else (ids,):
        for axes, size, *_ in layouts_of(shape, kind, fixed=True):
            time = shape[axes.index("t")] if "t" in axes else None
            if "f" not in axes or None not in (size if isinstance(size, tuple) else (size,)):
                layouts.append(Layout(axes, size, kind, time))
    return layouts


class LayoutMismatch(Exception):
    """A reading that does not hold. ``place``: the number of the call that it failed at; ``placed``: how many
    calls before had found the axes they need; ``inputs``: those the call depends on; ``error``: why.
    """

    def __init__(self, place, placed, inputs, error):
        super().__init__(str(error))
        self.place, self.placed, self.inputs, self.error = place, placed, inputs, error


class Impossible:
    """The mismatches of all readings of a program so far, by the inputs they depend on and the layouts of
    these: a combination that holds one of them need not be read again.
    """

    def __init__(self):
        self._found = {}

    def add(self, assumed, mismatch):
        inputs = tuple(n for n in assumed if n in mismatch.inputs)
        self._found.setdefault(inputs, {})[tuple(map(assumed.get, inputs))] = mismatch

    def holds(self, assumed):
        return any(tuple(map(assumed.get, inputs)) in wrong for inputs, wrong in self._found.items())

    def within(self, layouts):
        """Those that a combination of ``layouts`` meets, in the order they were found."""
        for inputs, wrong in self._found.items():
            for own, mismatch in wrong.items():
                if all(layout in layouts[n] for n, layout in zip(inputs, own)):
                    yield mismatch


def search(layouts, read, fix=None, impossible=None):
    """([(layouts, what ``read`` made of them)] of every combination that fits, the error of the reading that
    came furthest). ``layouts``: {input: every Layout it could have}; ``read``: raises LayoutMismatch.
    ``fix``: what to do where there are too many. ``impossible``: of other searches with the same ``read``.
    """
    fitting, impossible = [], Impossible() if impossible is None else impossible
    for trial, combination in enumerate(itertools.product(*layouts.values())):
        assumed = dict(zip(layouts, combination))
        if impossible.holds(assumed):
            continue
        if trial > _MOST_TRIALS:
            raise UnsupportedModelError("the sizes of the inputs cannot be found", fix=fix)
        try:
            fitting.append((assumed, read(assumed)))
        except LayoutMismatch as mismatch:
            impossible.add(assumed, mismatch)
    return fitting, furthest(impossible.within(layouts))


def furthest(mismatches):
    """The error of the reading that came furthest, None of none."""
    found = max(mismatches, key=_distance, default=None)
    return found and found.error


def _distance(mismatch):
    """How far a reading came. Of two errors at one call the one that is not a matter of axes or sizes says
    more. A reading under which no call found the axes it needs says little: it may be the reading that is
    wrong.
    """
    telling = {AxesError: 0, ShapeError: 1}.get(type(mismatch.error), 2)
    return (telling == 2 or mismatch.placed > 0, mismatch.place, telling)
