"""What becomes of masks from layer to layer: which of Keras's layers make one, hand it on, join it or end it.

The rules are those of the version that wrote the file. Where Keras's backends differ, TensorFlow's answer is
taken.
"""

from __future__ import annotations

from ...errors import UnsupportedModelError
from .config import Description
from .fronts import FRONTS
from .layers import IDENTITIES
from .masks import Mask, Masks, merging, refused
from .recurrent import RECURRENT
from .weights import NETWORKS
from .wiring import wire

#: Layers TimeDistributed may be taken off: they do the same to every frame anyway.
_ACTIVATIONS = {"Activation", "ReLU", "LeakyReLU", "ELU", "Softmax"}
POINTWISE = {
    *("Dense", "BatchNormalization", "LayerNormalization", "Rescaling", "PReLU"),
    *_ACTIVATIONS,
    *IDENTITIES,
}
#: Keras's layers whose output has their input's mask (supports_masking; no compute_mask of its own).
PASSES = POINTWISE | {"TimeDistributed", "GroupNormalization", "UnitNormalization", "Normalization"}
#: Those that have it from Keras 3 on; before, they end it.
PASSES_SINCE_3 = {"Rescaling", "Identity", "Normalization"}
#: Those that join the masks of their inputs (see _merged).
MERGES = {"Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"}
#: Those that end a mask: Keras 3 says so in a warning, tf.keras does not.
ENDS = {
    *("Conv1D", "Conv1DTranspose", "DepthwiseConv1D", "SeparableConv1D", "ZeroPadding1D", "Cropping1D"),
    *("MaxPooling1D", "AveragePooling1D", "GlobalMaxPooling1D", "GlobalAveragePooling1D", "UpSampling1D"),
    *("Flatten", "Reshape", "Permute", "RepeatVector", "Embedding", "RMSNormalization"),
    *FRONTS,
    *("AdaptiveAveragePooling1D", "AdaptiveMaxPooling1D"),
    *("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer"),
}


def after(known: Masks, layer: Description, name, masks, version) -> Mask | None:
    """The mask of the first output of a layer whose inputs have ``masks``, each a Mask or None. keras.ops
    functions lose masks.
    """
    kind, first = layer.class_name, masks[0] if masks else None
    if layer.operation or not any(masks):
        return None
    if kind in PASSES_SINCE_3:
        return first if major(version, layer) >= 3 else None
    if kind in PASSES:
        return first
    if kind in MERGES:
        return _merged(known, layer, name, masks, version)
    if kind == "Concatenate":
        return _concatenated(known, layer, name, masks, version)
    if kind in RECURRENT:
        return first if returns_sequences(layer) else None
    if kind in ("Attention", "AdditiveAttention"):  # that of the queries
        return first
    if kind in ENDS or kind == "Dot":  # which says so itself, whatever its supports_masking
        return None
    raise UnsupportedModelError(
        "what it does with a mask is not known here", where=layer.where, found=f"the mask of {first.where}"
    )


def _merged(known, layer, name, masks, version):
    """Keras 2: where all that are masked are real. Keras 3 before 3.4: none. Since: where any is real, if
    all are masked.
    """
    since = merging(version, layer.where)
    if since == "none" or (since == "any" and not all(masks)):
        return None
    return known.joined(name, [m for m in masks if m], every=since == "every")


def _concatenated(known, layer, name, masks, version):
    """As in other merges, but an input without a mask is real throughout."""
    since = merging(version, layer.where)
    if since == "none":
        return None
    if layer.config.get("axis") in (1, -2):
        first = next(m for m in masks if m)
        return refused(first.where, layer.where, "a mask of sequences joined over time is not supported")
    return known.joined(name, [m or Mask(layer.where) for m in masks], every=since == "every")


def handed_on(layer, given, attached, version):
    """The masks that the output's is made of where a layer is called with masks: those, in Keras 2 and from
    3.11 on; else those that its inputs carry.
    """
    number = version.number("masks have other rules in Keras 3 than before", layer.where)
    if version.text == "3.0" and any(given):  # to_json() of Keras 3: which one is not said
        why = "the file does not say which Keras 3 wrote it, and what becomes of a mask given by hand changed"
        return [m and refused(m.where, layer.where, why) for m in given]
    return given if number < (3,) or number >= (3, 11) else attached


def major(version, layer):
    """Which Keras wrote the file, 2 or 3."""
    return version.number("masks have other rules in Keras 3 than before", layer.where)[0]


def returns_sequences(layer):
    """Whether a recurrent layer, or the one inside a Bidirectional, answers every frame."""
    inside = layer.config.get("layer") if layer.class_name == "Bidirectional" else None
    config = inside.get("config") if isinstance(inside, dict) else layer.config
    return isinstance(config, dict) and config.get("return_sequences") is True


# ---- masks that cross a cut --------------------------------------------------------------------------------

#: Stands for the mask a network is given while what it does with it is looked up.
_GIVEN = "given"


def makes(layer: Description):
    """Whether the layer's output has a mask of its own making."""
    return layer.class_name == "Masking" or (
        layer.class_name == "Embedding" and layer.config.get("mask_zero") is True
    )


def _may_hand_on(layer: Description):
    """Whether the output may carry an input's mask, by any rule; classes not known here may."""
    kind = layer.class_name
    if layer.operation:
        return False
    if kind in RECURRENT:
        return returns_sequences(layer)
    return layer.custom or kind not in ENDS


def flow(wiring, given=None, known=None) -> dict[tuple[str, int], str]:
    """{(layer, call): whose mask its outputs may carry} of a network's calls, told without importing them: a
    part of a network starts behind layers that may not be known here. ``given``: a mask that its inputs have;
    ``known``: what networks inside were found to do, each looked at once however often it is called."""
    known = {} if known is None else known
    masks: dict[tuple[str, int], str] = {key[:2]: given for key in wiring.inputs if given}
    for call in wiring.calls:
        name = (call.layer.name, call.number)
        explicit = next((f"layer {key[0]!r}" for key in call.masks or () if key), None)
        mask = next((masks[key[:2]] for key in call.sources if key[:2] in masks), explicit)
        if makes(call.layer):
            mask = call.layer.where
        elif call.layer.class_name in NETWORKS and not call.layer.custom:
            inside = (id(call.layer.config), mask is None)
            if inside not in known:
                known[inside] = _through(call.layer, mask and _GIVEN, known)
            mask = mask if known[inside] is _GIVEN else known[inside]
        elif not _may_hand_on(call.layer):
            mask = None
        if mask and name not in masks:
            masks[name] = mask
    return masks


def _through(network, mask, known):
    """The mask that a network's outputs carry where its inputs have ``mask``."""
    wiring = wire(network)
    found = flow(wiring, mask, known)
    return next((found[key[:2]] for key in wiring.outputs if key[:2] in found), None)
