"""NAM's WaveNet: arrays of dilated causal convolutions with the input mixed into each layer, read as
NeuralAmpModelerCore 0.7 reads them.

One array, for its input u, the condition x and the head s of the array before (nothing in the first):

    u = R u                                              rechannel
    z = conv(u) + b + M x;   p = act(z), or gated
    s = s + p, or s + head1x1(p);   u = u + layer1x1(p)
    head = causal conv(s)

The next array goes on from its last u and head. The last head times the last of all weights, through the
network's own head where it has one, is the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...errors import ModelFileError, UnsupportedModelError
from ...layers import Add, Affine, Function
from ..captures import Net
from ..containers.json_file import Fields
from .parts import Weights, activate, activation_of, conv, gated

_MODES = ("none", "gated", "blended")
_FILM = (
    "conv_pre_film",
    "conv_post_film",
    "input_mixin_pre_film",
    "input_mixin_post_film",
    "activation_pre_film",
    "activation_post_film",
    "layer1x1_post_film",
    "head1x1_post_film",
)


def add_wavenet(net: Net, config: Fields, weights: Weights, x: str, condition: str | None = None) -> str:
    """The network of ``config`` over ``x``. ``condition``: what is mixed into its layers, else ``x``."""
    condition = x if condition is None else condition
    config.number("head_scale")  # the one that counts is the last weight
    scale = weights.take_last()
    u, head = x, None
    for k, fields in enumerate(config.objects("layers")):
        u, head = _array(net, fields, weights, f"array{k}", u, condition, head)
    scales = np.full(net.width(head), scale)
    y = net.add(Affine, "scale", head, scale=scales, offset=np.zeros_like(scales))
    own = config.any("head")
    return y if own is None else _own_head(net, Fields(own, config.place("head")), weights, y)


def _array(net, fields, weights, name, u, condition, head):
    """(the last u, the head) of one array of layers."""
    array = _read(net, fields, net.width(u), net.width(condition))
    if head is not None and not net.width(head) == array.channels == array.summed:
        raise ModelFileError(
            "the head of the array before does not fit",
            where=fields.where,
            expected=f"{array.channels} channels, summed over the layers from {array.summed}",
            found=str(net.width(head)),
        )
    heads = [] if head is None else [head]
    u = conv(net, weights, f"{name}.rechannel", u, array.channels)
    for k, layer in enumerate(array.layers):
        own = f"{name}.{k}"
        rows = array.bottleneck * (1 if layer.mode == "none" else 2)
        window = {"taps": layer.taps, "dilation": layer.dilation, "groups": array.groups}
        z = conv(net, weights, f"{own}.conv", u, rows, bias=True, **window)
        mixed = conv(net, weights, f"{own}.mixin", condition, rows, groups=array.mixin_groups)
        z = net.add(Add, f"{own}.sum", z, mixed)
        if layer.mode == "none":
            p = activate(net, f"{own}.activation", z, layer.activation)
        else:
            p = gated(net, f"{own}.gated", z, layer.mode, layer.activation, layer.gate)
        if array.layer1x1 is not None:
            options = {"bias": True, "groups": array.layer1x1["groups"]}
            further = conv(net, weights, f"{own}.layer1x1", p, array.channels, **options)
            u = net.add(Add, f"{own}.residual", u, further)
        if array.head1x1 is not None:
            options = {"bias": True, "groups": array.head1x1["groups"]}
            p = conv(net, weights, f"{own}.head1x1", p, array.summed, **options)
        heads.append(p)
    summed = heads[0] if len(heads) == 1 else net.add(Add, f"{name}.heads", *heads)
    return u, conv(net, weights, f"{name}.head", summed, **array.head)


class _Layer(NamedTuple):
    taps: int
    dilation: int
    activation: Function | np.ndarray
    mode: str
    gate: Function | np.ndarray | None


@dataclass
class _Array:
    """The options of an array of layers, all of its fields read."""

    channels: int
    bottleneck: int
    groups: int
    mixin_groups: int
    layers: list[_Layer]
    layer1x1: dict | None
    head1x1: dict | None
    head: dict

    @property
    def summed(self):
        """Channels of what the layers add to the head."""
        return self.bottleneck if self.head1x1 is None else self.head1x1["rows"]


def _read(net, fields, input_size, condition_size) -> _Array:
    _equal(fields.count("input_size"), input_size, fields.place("input_size"))
    _equal(fields.count("condition_size"), condition_size, fields.place("condition_size"))
    channels = fields.count("channels")
    dilations = fields.counts("dilations")
    count = len(dilations)
    taps = _kernel_sizes(fields, count)
    activations = [activation_of(value, where) for value, where in _each(fields, "activation", count)]
    array = _Array(
        channels=channels,
        bottleneck=fields.count("bottleneck", channels),
        groups=fields.count("groups_input", 1),
        mixin_groups=fields.count("groups_input_mixin", 1),
        layers=list(map(_Layer, taps, dilations, activations, *_gating(fields, count))),
        layer1x1=_product_of(fields, "layer1x1", active=True),
        head1x1=_product_of(fields, "head1x1", active=False),
        head=_head_conv(fields),
    )
    _refuse_film(fields)
    _check_slimmable(net, fields)
    fields.end()
    return array


def _equal(found, wanted, where):
    if found != wanted:
        raise ModelFileError("does not fit", where=where, expected=str(wanted), found=str(found))


def _each(fields, key, layers, value=...):
    """((value, where) of every layer) of a field that holds one for all of them, or a list."""
    value = fields.any(key) if value is ... else value
    if not isinstance(value, list):
        return [(value, fields.place(key))] * layers
    _equal(len(value), layers, f"{fields.place(key)}, its length")
    return [(item, f"{fields.place(key)}[{k}]") for k, item in enumerate(value)]


def _kernel_sizes(fields, layers):
    if ("kernel_size" in fields) == ("kernel_sizes" in fields):
        raise ModelFileError(
            "must have one of kernel_size, a number, and kernel_sizes, a list", where=fields.where
        )
    if "kernel_size" in fields:
        return [fields.count("kernel_size")] * layers
    sizes = fields.counts("kernel_sizes")
    _equal(len(sizes), layers, f"{fields.place('kernel_sizes')}, its length")
    return sizes


def _gating(fields, layers):
    """([mode], [activation of the gate or None]) of the layers: ``gating_mode``, or the older ``gated``."""
    older = fields.flag("gated", None)
    value = fields.any("gating_mode")
    if value is None:
        value = "gated" if older else "none"
    elif older is not None and older != (value == "gated"):
        raise ModelFileError("gated and gating_mode contradict each other", where=fields.where)
    modes, gates = [], []
    second = _each(fields, "secondary_activation", layers)
    for (mode, where), (gate, gate_where) in zip(_each(fields, "gating_mode", layers, value), second):
        if mode not in _MODES:
            raise UnsupportedModelError(
                "the gating mode is not known",
                where=where,
                expected=", ".join(_MODES),
                found=repr(mode)[:40],
            )
        modes.append(mode)
        gates.append(
            None if mode == "none" else activation_of("Sigmoid" if gate is None else gate, gate_where)
        )
    return modes, gates


def _product_of(fields, key, active):
    """{"groups", "rows"} of a layer's own product, or None where it has none; ``active`` where the file does
    not say."""
    if key not in fields:
        return {"groups": 1, "rows": None} if active else None
    own = fields.object(key)
    active, groups = own.flag("active"), own.count("groups", 1)
    rows = own.count("out_channels") if key == "head1x1" else None
    own.end()
    return {"groups": groups, "rows": rows} if active else None


def _head_conv(fields):
    """The options of an array's head: an object, or the two older fields of a product."""
    if "head" in fields:
        for older in ("head_size", "head_bias"):
            if older in fields:
                raise ModelFileError(f"has both head and {older}", where=fields.where)
        own = fields.object("head")
        made = {"rows": own.count("out_channels"), "taps": own.count("kernel_size"), "bias": own.flag("bias")}
        made["dilation"] = own.count("head_dilation", 1)
        own.end()
        return made
    return {"rows": fields.count("head_size"), "bias": fields.flag("head_bias")}


def _refuse_film(fields):
    for key in _FILM:
        value = fields.any(key)
        if value is None or value is False:
            continue
        film = Fields(value, fields.place(key))
        if film.flag("active", True):
            raise UnsupportedModelError(
                "FiLM, a scale and shift by the condition, is not supported",
                where=film.where,
                fix="Train the network without it.",
            )


def _check_slimmable(net, fields):
    """Whether the network may also be run with fewer channels; it is run with all of them, as players do at
    their default."""
    if "slimmable" not in fields:
        return
    own = fields.object("slimmable")
    if own.text("method") != "slice_channels_uniform":
        raise UnsupportedModelError("the method of slimming is not known", where=own.where)
    own.any("kwargs")
    own.end()
    net.assume("the network can be run with fewer channels; all of them are used")


def _own_head(net, fields, weights, y):
    """The network's own head: activation and causal convolution in turn."""
    if "in_channels" in fields:
        _equal(fields.count("in_channels"), net.width(y), fields.place("in_channels"))
    channels, last = fields.count("channels"), fields.count("out_channels")
    kernel_sizes = fields.counts("kernel_sizes")
    activation = activation_of(fields.any("activation"), fields.place("activation"))
    fields.any("in_channels")
    fields.end()
    for k, taps in enumerate(kernel_sizes):
        y = activate(net, f"head.{k}.activation", y, activation)
        rows = last if k == len(kernel_sizes) - 1 else channels
        y = conv(net, weights, f"head.{k}", y, rows, taps=taps, bias=True)
    return y
