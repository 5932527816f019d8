"""Which classes are read, and what is said of those that are not."""

from __future__ import annotations

import re

from ...errors import UnsupportedModelError, did_you_mean
from .functions import OPERATIONS
from .layers import IDENTITIES, LAYERS
from .recurrent import RECURRENT
from .tensorflow import TENSORFLOW, WORDS
from .weights import NETWORKS

#: Classes of layers that are read.
KNOWN = {*LAYERS, *RECURRENT, *IDENTITIES, "TimeDistributed", *NETWORKS, *TENSORFLOW}
#: Those of Keras's own that are not: any other class is the model's author's, where the file does not say
#: whose it is.
_KERAS_OWN = re.compile(
    r"(?i)masking|lambda|tfoplambda|slicingoplambda|.*[23]d(transpose|lstm)?|convlstm\dd|conv1dtranspose|upsampling1d"
    r"|.*attention|.*normalization|maximum|minimum|dot|prelu|thresholdedrelu|locallyconnected\dd|discretization|hashing"
    r"|categoryencoding|stringlookup|integerlookup|textvectorization|random.*|center.*|resizing|einsumdense|reversibleembedding"
)


#: keras.ops functions, which a .h5 file does not tell from layers.
_FUNCTIONS = {
    "GetItem",
    "NotEqual",
    "Any",
    "ExpandDims",
    "ZerosLike",
    "LogicalOr",
    "LogicalAnd",
    "Mean",
    "Max",
    "Min",
    "Sum",
}
_FUNCTIONS |= {
    "Divide",
    "TrueDivide",
    "Negative",
    "Power",
    "Matmul",
    "Squeeze",
    "Transpose",
    "Stack",
    "Sqrt",
    "Exp",
    "Abs",
    "Cast",
}


def unsupported(layer):
    if layer.operation or layer.class_name in _FUNCTIONS:
        return UnsupportedModelError(
            f"the operation {layer.class_name!r} (keras.ops) is not supported",
            where=layer.where,
            expected=f"one of {', '.join(sorted(OPERATIONS))}, or a layer",
            fix="Write it with one of these, or cut a part out that is without it: inputs=, outputs=.",
        )
    if layer.class_name in TENSORFLOW:
        node = layer.config.get("node_def")
        function = layer.config.get("function", node.get("op") if isinstance(node, dict) else layer.name)
        function = str(function)[:80]
        return UnsupportedModelError(
            f"TensorFlow's function {function} (tf.{function}, or an operator such as + or [...]) on layers' "
            f"outputs is not supported",
            where=layer.where,
            expected=f"one of TensorFlow's {', '.join(sorted(WORDS))}, or layers of Keras: one of "
            f"{', '.join(sorted(KNOWN))}",
            fix="Where a layer does the same (Add, Multiply, Subtract, Concatenate, Rescaling), build the "
            "network with that.",
        )
    hint = (
        f"Say what it does: custom_objects={{{layer.class_name!r}: f}}, where f(config, arrays) returns "
        f"rnnrt layers; or cut a part out that is without it: inputs=, outputs=."
    )
    if layer.class_name == "Lambda":
        hint = (
            "Code in a file is not run: load the model in Keras and give it live, where you trust the file."
        )
    if not _KERAS_OWN.fullmatch(layer.class_name):
        own = (
            f"A class of your own: custom_objects={{{layer.class_name!r}: f}}, where f(config, arrays) "
            f"returns an rnnrt layer."
        )
        hint = " ".join(filter(None, (did_you_mean(layer.class_name, sorted(KNOWN)), own)))
    return UnsupportedModelError(
        f"the layer class {layer.class_name!r} is not supported",
        where=layer.where,
        expected=f"one of {', '.join(sorted(KNOWN))}",
        fix=hint,
    )
