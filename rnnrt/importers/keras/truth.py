"""Which tensors of a Keras network hold truth values (bool), which are 1 and 0 in the graph."""

from __future__ import annotations

from .config import Description

#: keras.ops functions that make truth values of anything.
_TOLD = {
    *("Greater", "GreaterEqual", "Less", "LessEqual", "Equal", "NotEqual"),
    *("LogicalAnd", "LogicalOr", "LogicalXor", "LogicalNot"),
}
#: Layers whose output is truth values where all their inputs are; others make numbers of them.
_KEPT = {
    *(
        "Add",
        "Multiply",
        "Maximum",
        "Minimum",
        "Concatenate",
        "Reshape",
        "Flatten",
        "Permute",
        "RepeatVector",
    ),
    *("Cropping1D", "ZeroPadding1D", "UpSampling1D", "GlobalMaxPooling1D", "AdaptiveMaxPooling1D"),
}


def told(layer: Description):
    """Whether what a layer puts out is truth values, by the layer alone."""
    of_type = layer.config.get("dtype") == "bool"
    if layer.operation:
        return of_type or layer.class_name in _TOLD
    return of_type and layer.class_name == "InputLayer"


def kept(layer: Description):
    """Whether a layer, not a function, leaves truth values what they are. Functions say so themselves."""
    alike = layer.class_name == "Activation" and layer.config.get("activation") == "linear"
    return not layer.operation and (alike or layer.class_name in _KEPT)
