"""Lines of a spec over pictures, (batch, channels, time, bins) or (batch, channels, bins, time) as forward
holds them: 2-D layers in front of a sequence, and what makes frames of features of them.

A value's axes are "bftf" or "bfft" then, and its reference has frames (bins, channels). Pairs of options are
PyTorch's: the first number is that of axis 2, the second that of axis 3.
"""

from __future__ import annotations

import numpy as np

from ...errors import UnsupportedModelError
from ..axes.sizes import Clock
from ..axes.values import Constant, Network
from ..operators import fronts, table
from ..torch import layers as torch_layers
from ..torch.aten import ATEN
from ..torch.functional import FUNCTIONAL

AXES = ("bftf", "bfft")
#: Lines with tensors.
PARAMETRIC = ("Conv2d", "BatchNorm2d")
#: kind -> (the function it is, the option that a number without a name means)
POOLS = {
    "MaxPool2d": ("max_pool2d", "kernel_size"),
    "AvgPool2d": ("avg_pool2d", "kernel_size"),
    "AdaptiveAvgPool2d": ("adaptive_avg_pool2d", "output_size"),
    "AdaptiveMaxPool2d": ("adaptive_max_pool2d", "output_size"),
}
#: The options that each of them takes beside that one.
POOL_OPTIONS = {
    "MaxPool2d": ("stride", "padding", "dilation", "ceil_mode"),
    "AvgPool2d": ("stride", "padding", "ceil_mode", "count_include_pad"),
    "AdaptiveAvgPool2d": (),
    "AdaptiveMaxPool2d": (),
}
_OWN = ("unsqueeze", "frames", "mean", "max", "flatten", "Dropout")
_JOINS = ("add", "sub", "mul", "div", "cat")


def check(line, kind, axes):
    """Refuse a line that cannot read what there is: a picture, or frames of features."""
    if axes in AXES:
        known = (*PARAMETRIC, *POOLS, *_OWN, *_JOINS, *torch_layers.FUNCTIONS)
        if kind not in known or kind == "unsqueeze":
            raise line.refuse(
                f"{line.kind} cannot read a picture of channels and bins",
                expected="frames of features",
                fix="Write the line: frames (channels, then bins, of each frame), or frames bins_first.",
            )
    elif kind in (*PARAMETRIC, *POOLS, "frames"):
        raise line.refuse(
            f"{line.kind} reads a picture of channels and bins",
            fix="Begin with: input channels=C bins=N, or make one channel of the features: unsqueeze.",
        )


def input_of(line, builder, name):
    """(reference, axes) of an input with channels and bins."""
    channels, bins = line.options["channels"], line.options["bins"]
    if min(channels, bins) < 1:
        raise line.refuse("channels and bins must be above 0")
    axes = "bfft" if "time_last" in line.words else "bftf"
    reference = builder.input(name, (channels, bins), axes=axes, length=line.options.get("length"))
    net = Network()
    net.builder, net.name = builder, f"{name}.picture"
    return fronts.image(net, fronts.input_of(net, reference, axes, Clock(name)))[0], axes


class Pictures:
    """What a SpecNetwork does with pictures; ``spec``: it, standing at one."""

    def __init__(self, spec, name):
        self.spec, self.net = spec, Network()
        self.net.builder, self.net.name = spec.builder, name

    def slots(self, value):
        """A value as the operators know it."""
        return fronts.picture(self.net, value.reference, value.clock, value.axes.index("t"))

    def put(self, x, axes):
        """What an operator made is where the spec stands."""
        spec = self.spec
        spec.x, spec.axes, spec.stated = fronts.image(self.net, x)[0], axes, True
        spec.packing.clock = x.clock

    def here(self):
        return self.slots(self.spec.value())

    def parametric(self, kind, tensors, options):
        arrays = {n: Constant(f"{self.net.name}.{n}", a) for n, a in tensors.items()}
        if kind == "Conv2d":
            fields = torch_layers.conv2d_options(kind, **options)
            pair = {"weight": arrays["weight"], "bias": arrays.get("bias")}
            made = table.apply(self.net, "conv2d", x=self.here(), **pair, **fields)
        else:
            made = table.call(self.net, FUNCTIONAL, "batch_norm", self.here(), **arrays, **options)
        self.put(made, self.spec.axes)

    def pool(self, kind, options):
        made = table.call(self.net, ATEN | FUNCTIONAL, POOLS[kind][0], self.here(), **options)
        if "t" in made.axes:
            self.put(made, self.spec.axes)
        else:
            self.value(made)

    def value(self, x):
        """A value for the whole sequence, its channels before its bins."""
        spec = self.spec
        spec.x = table.apply(self.net, "flatten", x=x, first=1, last=-1)
        spec.x = fronts.slots.picked(self.net, spec.x)
        spec.axes, spec.stated, spec.packing.clock = "btf", False, Clock("")

    def own(self, line, kind):
        """The spec's own words."""
        spec, words = self.spec, line.words
        if kind == "Dropout":
            return
        x = self.here()
        time = spec.axes.index("t")
        if kind == "flatten":
            return self.value(x)
        if kind in ("mean", "max") and words == ("bins",):
            made = table.apply(self.net, f"reduce_{kind}", x=x, axes=5 - time, keep=False)
            made = table.apply(self.net, "transpose", x=made, first=1, second=2)
        elif kind == "frames" and words in ((), ("bins_first",)):
            order = (0, time, 5 - time, 1) if words else (0, time, 1, 5 - time)
            made = table.apply(self.net, "permute", x=x, order=order)
            made = table.apply(self.net, "flatten", x=made, first=2, last=3)
        else:
            raise line.refuse(
                f"{line.kind} of a picture is not understood",
                expected="mean bins, max bins, frames, or frames bins_first",
                found=" ".join(words)[:80],
            )
        spec.x, spec.axes, spec.stated = fronts.slots.picked(self.net, made), "btf", False
        spec.packing.clock = made.clock

    def unsqueeze(self, line):
        """Each frame of features as a picture of one channel."""
        spec = self.spec
        signal = spec.builder.signal(spec.x)
        if line.words or not signal.time or len(signal.features) != 1:
            raise line.refuse("unsqueeze makes pictures of one channel of frames of features")
        clock, axes = spec.packing.clock, "bftf" if spec.axes == "btf" else "bfft"
        self.net.sequences.setdefault(clock, spec.x)
        places = np.arange(signal.width)
        places = places.reshape((1, 1, 1, -1) if axes == "bftf" else (1, 1, -1, 1))
        letters = ("b", "n", "t", "n") if axes == "bftf" else ("b", "n", "n", "t")
        self.put(fronts.Slots(letters, places, (spec.x,), (signal.width,), clock), axes)

    def join(self, line, operands):
        """Pictures, numbers and parameters joined; cat: along the channels."""
        axes = next(v.axes for v in operands if getattr(v, "axes", None) in AXES)
        given = []
        for v in operands:
            if isinstance(v, float):
                given.append(v)
            elif isinstance(v, str):
                given.append(Constant(v, self.spec.tensors[v]))
            elif v.axes == axes:
                given.append(self.slots(v))
            else:
                raise line.refuse("a picture can only be joined with pictures whose axes are the same")
        if line.kind == "cat":
            if line.options.get("dim", 1) != 1 or not all(isinstance(x, fronts.Slots) for x in given):
                raise line.refuse("cat joins pictures along their channels: dim=1")
            made = table.apply(self.net, "concat", tensors=tuple(given), axis=1)
        else:
            word = {"add": "add", "sub": "subtract", "mul": "multiply", "div": "divide"}[line.kind]
            made = given[0]
            for other in given[1:]:
                made = table.apply(self.net, word, a=made, b=other)
        self.put(made, axes)

    def output(self, name, value):
        """Pictures that come out have forward's axes."""
        fronts.output_of(self.net, name, self.slots(value))


def pairs_of(line, options):
    """Options of 2-D layers: one number, or two as "1,2"."""
    found = {}
    for option, value in options.items():
        words = value.split(",") if isinstance(value, str) else ()
        if len(words) == 2 and all(w.isdecimal() and len(w) < 7 for w in words):
            value = tuple(map(int, words))
        elif words and option != "padding":
            raise line.refuse(f"the option {option[:60]} has an impossible value", found=value[:80])
        found[option] = value
    return found


def missing_input(line):
    return UnsupportedModelError(
        "the size of the input's pictures cannot be told",
        where=line.where if line.number else "spec",
        fix="Add a first line: input channels=C bins=N, for (batch, channels, time, bins), or input "
        "channels=C bins=N time_last, for (batch, channels, bins, time).",
    )
