"""The masks of a Keras network while it is imported: which frames of a tensor are real.

A mask travels with a tensor from call to call, and enters the graph (a signal of width 1, see
rnnrt.layers.mask) where a layer consults it: a mask that nobody consults leaves nothing there. Which layers
make, join and end masks: see mask_rules.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ... import layers
from ...errors import UnsupportedModelError
from ...layers.function import Function


@dataclass(eq=False)
class Mask:
    """Which frames of a tensor are real. ``where``: the layer it is of; ``make`` adds what computes it to the
    graph and returns the reference, called once; without ``make`` every frame is real.
    """

    where: str
    make: Callable[[], str] | None = None
    made: str | None = None

    @property
    def real(self):
        """Whether every frame is real."""
        return self.make is None

    def reference(self) -> str | None:
        """The reference to the mask in the graph; None where every frame is real."""
        if self.made is None and self.make:
            self.made = self.make()
        return self.made


def refused(where, at, why, fix=None) -> Mask:
    """A mask that no layer may consult: what that would mean is not known here."""

    def make():
        raise UnsupportedModelError(why, where=at, found=f"the mask of {where}", fix=fix)

    return Mask(where, make)


class Masks:
    """The masks of one graph in the making: equal ones are one value of it."""

    def __init__(self, builder: layers.GraphBuilder):
        self.builder, self.known = builder, {}

    def _value(self, key, make):
        if key not in self.known:
            self.known[key] = make()
        return self.known[key]

    def not_equal(self, where, name, x: Callable[[], str], value) -> Mask:
        """Real where any number of a frame of ``x()`` is not ``value``."""

        def make():
            frames, add = x(), self.builder.add
            own = lambda: add(layers.NotEqual, f"{name}.mask", frames, value=value)
            return self._value((frames, value), own)

        return Mask(where, make)

    def joined(self, name, masks, every) -> Mask:
        """Real where all of ``masks`` are (``every``), or where any is."""
        masks = list(dict.fromkeys(masks))
        open_ = [m for m in masks if not m.real]
        if not open_ or (len(open_) < len(masks) and not every):
            return Mask(masks[0].where)
        if len(open_) == 1:
            return open_[0]

        def make():
            references = list(dict.fromkeys(m.reference() for m in open_))
            if len(references) == 1:
                return references[0]
            own = lambda: self._joined(name, [self.wide(r, 1) for r in references], every)
            return self._value((every, frozenset(references)), own)

        return Mask(open_[0].where, make)

    def _joined(self, name, references, every):
        """Masks are 0 and 1: their product, or their sum up to 1."""
        add = self.builder.add
        if every:
            return add(layers.Multiply, f"{name}.mask", *references)
        total = add(layers.Add, f"{name}.mask.sum", *references)
        return add(layers.Activation, f"{name}.mask", total, activation=Function("clipped_relu", (1.0,)))

    def wide(self, reference, width):
        """The mask ``reference`` as often as a frame has numbers."""
        if self.builder.signal(reference).features == ():
            name = f"{reference}.flag"
            own = lambda: self.builder.add(layers.Reshape, name, reference, features=(1,))
            reference = self._value((reference, "flag"), own)
        if width == 1:
            return reference
        return self.builder.add(layers.Select, f"{reference}.wide", reference, index=(0,) * width)


def merging(version, where):
    """How layers that merge tensors join their masks: "every", "none" or "any" (see mask_rules.py)."""
    what = "masks of merged tensors are joined by other rules in Keras 2, 3.0 and 3.4"
    number = version.number(what, where)
    if number[0] < 3:
        return "every"
    if version.text == "3.0":  # to_json() of Keras 3: which one is not said
        raise UnsupportedModelError(
            f"the file does not say which Keras 3 wrote it, and {what}",
            where=where,
            fix='Give the whole model (.keras), or add "keras_version": "3.15.0" (whichever it was) to the '
            "text of to_json().",
        )
    return "any" if number >= (3, 4) else "none"
