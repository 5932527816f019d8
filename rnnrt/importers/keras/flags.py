"""Masks written out: what keras.ops functions make of tensors of True and False on the way to a mask.

Keras 3 records them in the files of functional models, beside the layers that are called with the mask.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import UnsupportedModelError
from .masks import Mask, Masks, refused


@dataclass(eq=False)
class Flags:
    """A tensor of True and False that keras.ops functions make on the way to a mask: ``parts`` lie side by
    side along the features (one part without ``features``: no such axis), the same for all features of a
    part. ``each``: the mask that it becomes by Any, where it is of every number apart.
    """

    parts: list[Mask]
    features: int | None = None
    each: Mask | None = None


#: Functions of keras.ops of which Keras 3 makes a mask.
FLAG_OPERATIONS = {
    "NotEqual",
    "Any",
    "All",
    "ExpandDims",
    "Squeeze",
    "ZerosLike",
    "OnesLike",
    "LogicalOr",
    "LogicalAnd",
    "BroadcastTo",
    "Concatenate",
    "Cast",
    "ConvertToTensor",
}


#: Functions of TensorFlow that do the same, as tf.keras records them (TFOpLambda).
_TENSORFLOW = {"math.not_equal": "NotEqual", "math.reduce_any": "Any"}


def _function(call):
    """(the word of FLAG_OPERATIONS, its options, the numbers beside the tensor) of a call; the word is None
    for any other."""
    layer = call.layer
    if layer.class_name == "TFOpLambda":
        own = {k: v for k, v in call.options.items() if k not in ("name", "y") and v is not None}
        numbers = [call.options["y"]] if "y" in call.options else []
        return _TENSORFLOW.get(layer.config.get("function")), own, numbers
    if not layer.operation or layer.class_name not in FLAG_OPERATIONS:
        return None, {}, []
    return layer.class_name, layer.config, call.arguments[1:]


def makes_flags(call, operands):
    """Whether a call is one of a function that makes flags: of flags, or of numbers by comparing them."""
    kind, config, _ = _function(call)
    if kind is None:
        return False
    made_of_numbers = kind == "NotEqual" or (
        kind in ("ZerosLike", "OnesLike") and config.get("dtype") == "bool"
    )
    return made_of_numbers or any(isinstance(x, Flags) for x in operands)


def flags(masks: Masks, call, operands, name) -> Flags:
    """What a function of FLAG_OPERATIONS makes of ``operands``: Flags, or for numbers (signal, function that
    gives the reference). What is not understood is refused by the layer that consults the mask.
    """
    layer, (kind, config, numbers) = call.layer, _function(call)
    unknown = Flags([refused(layer.where, layer.where, "this way to make a mask is not supported")])
    on_features = config.get("axis") in (-1, 2, [-1], [2])
    first = operands[0] if operands else None
    if kind == "NotEqual":
        value = numbers[0] if len(numbers) == 1 else None
        if len(operands) != 1 or isinstance(first, Flags) or type(value) not in (int, float):
            return unknown
        signal, reference = first
        if not signal.time or len(signal.features) > 1:
            return unknown
        own = masks.not_equal(layer.where, name, reference, float(value))
        return Flags([own]) if signal.features == () else Flags([unknown.parts[0]], signal.width, own)
    if kind in ("ZerosLike", "OnesLike"):
        width = first.features if isinstance(first, Flags) else first[0].width if first[0].features else None
        return Flags([Mask(layer.where, _NEVER if kind == "ZerosLike" else None)], width)
    if kind == "Concatenate":
        if not on_features or any(not isinstance(x, Flags) or x.features is None for x in operands):
            return unknown
        parts = [p for x in operands for p in (x.parts if x.each is None else unknown.parts)]
        return Flags(parts, sum(x.features for x in operands))
    if any(not isinstance(x, Flags) for x in operands):
        return unknown
    if kind in ("LogicalOr", "LogicalAnd") and len(operands) == 2:
        parts = [x.parts[0] for x in operands if len(x.parts) == 1 and x.each is None]
        if len(parts) != 2:
            return unknown
        widths = [x.features for x in operands if x.features is not None]
        every = kind == "LogicalAnd"
        if any(p.make is _NEVER for p in parts):
            never, other = sorted(parts, key=lambda p: p.make is not _NEVER)
            made = never if every else other
        else:
            made = masks.joined(name, parts, every)
        return Flags([made], max(widths, default=None))
    if len(operands) != 1:
        return unknown
    if kind in ("Any", "All"):
        if not on_features or first.features is None or (kind == "All" and first.each):
            return unknown
        made = first.each or masks.joined(name, first.parts, kind == "All")
        return Flags([made], 1 if config.get("keepdims") else None)
    if kind == "ExpandDims" and on_features and first.features is None:
        return Flags(first.parts, 1)
    if kind == "Squeeze" and on_features and first.features == 1:
        return Flags(first.parts)
    if kind == "BroadcastTo" and first.features == 1 and isinstance(config.get("shape"), list):
        width = config["shape"][-1] if len(config["shape"]) == 3 else None
        return Flags(first.parts, width) if type(width) is int else unknown
    kept = config.get("dtype") in (("bool",) if kind == "Cast" else (None, "bool"))
    return first if kind in ("Cast", "ConvertToTensor") and kept else unknown


def _NEVER():
    raise UnsupportedModelError("a mask in which no frame is real is not supported")


def mask_of(given: Flags, where) -> Mask:
    """The mask that a tensor of flags is where a layer is called with ``mask=`` of it."""
    if given.features in (None, 1) and given.each is None and len(given.parts) == 1:
        return given.parts[0]
    return refused(where, where, "this is not a mask of one flag a frame")
