"""Where the masks of a Keras network flow: made by Embedding(mask_zero) and Masking, handed on, used or ended
from layer to layer.

Masks are not supported, so a layer that would use one is refused. That needs the flow before the layers are
imported, too: a cut must not drop a mask that crosses it.
"""

from __future__ import annotations

from .config import Description
from .layers import IDENTITIES, LAYERS
from .recurrent import RECURRENT
from .weights import NETWORKS
from .wiring import wire

#: Layers TimeDistributed may be taken off: they do the same to every frame anyway.
_ACTIVATIONS = {"Activation", "ReLU", "LeakyReLU", "ELU", "Softmax"}
POINTWISE = {
    "Dense",
    "PReLU",
    "BatchNormalization",
    "LayerNormalization",
    "Rescaling",
    *_ACTIVATIONS,
    *IDENTITIES,
}
#: What becomes of a mask (Keras 3): these hand it on, these would use it; every other layer known here ends
#: it.
_PASSES = (POINTWISE - {"Softmax"}) | {"Concatenate", "Add", "Subtract", "Multiply", "Average", *NETWORKS}
_USES = {*RECURRENT, "GlobalAveragePooling1D", "Softmax", "TimeDistributed"}


def makes(layer: Description):
    """Whether the layer's output has a mask of its own making."""
    return layer.class_name == "Masking" or (
        layer.class_name == "Embedding" and layer.config.get("mask_zero") is True
    )


def uses(layer: Description):
    """Whether the layer's answer may depend on its input's mask. What a custom class does is not known."""
    return layer.custom or (layer.class_name in _USES and not layer.operation)


def hands_on(layer: Description):
    """Whether the output may carry the input's mask; classes not known here may. keras.ops functions lose
    masks.
    """
    kind = layer.class_name
    if layer.operation or kind == "Embedding":
        return False
    if kind in RECURRENT:
        inside = layer.config.get("layer") if kind == "Bidirectional" else None
        config = inside.get("config") if isinstance(inside, dict) else layer.config
        return isinstance(config, dict) and config.get("return_sequences") is True
    return layer.custom or kind in _PASSES or kind in ("TimeDistributed", "Softmax") or kind not in LAYERS


#: Stands for the mask a network is given while what it does with it is looked up.
_GIVEN = "given"


def flow(wiring, given=None, known=None) -> dict[tuple[str, int], str]:
    """{(layer, call): whose mask its outputs may carry} of a network's calls. ``given``: a mask that its
    inputs have; ``known``: what networks inside were found to do, each looked at once however often it is
    called."""
    known = {} if known is None else known
    masks: dict[tuple[str, int], str] = {key[:2]: given for key in wiring.inputs if given}
    for call in wiring.calls:
        name = (call.layer.name, call.number)
        mask = next((masks[key[:2]] for key in call.sources if key[:2] in masks), call.mask)
        if makes(call.layer):
            mask = call.layer.where
        elif call.layer.class_name in NETWORKS and not call.layer.custom:
            inside = (id(call.layer.config), mask is None)
            if inside not in known:
                known[inside] = _through(call.layer, mask and _GIVEN, known)
            mask = mask if known[inside] is _GIVEN else known[inside]
        elif not hands_on(call.layer):
            mask = None
        if mask and name not in masks:
            masks[name] = mask
    return masks


def _through(network, mask, known):
    """The mask that a network's outputs carry where its inputs have ``mask``."""
    wiring = wire(network)
    found = flow(wiring, mask, known)
    return next((found[key[:2]] for key in wiring.outputs if key[:2] in found), None)
