"""TFLite's convolutions and pools over two axes, one of which has size one: ONNX's, with the channels in
front. A dilated convolution that is written as one over every n-th frame, between SPACE_TO_BATCH_ND and
BATCH_TO_SPACE_ND, is one operator again.
"""

from __future__ import annotations

from ...errors import ModelFileError, UnsupportedModelError
from ..axes.sizes import Size
from ..onnx.folding import integers
from ..onnx.moves import Frozen, sizes_of

_IN_FRONT, _BEHIND = [0, 3, 1, 2], [0, 2, 3, 1]
_PADDING = {0: "SAME_UPPER", 1: "VALID"}


def _strides(own):
    return {"strides": [own.stride_h, own.stride_w], "auto_pad": _padding(own)}


def _padding(own):
    if own.padding not in _PADDING:
        raise ModelFileError("is not a kind of padding", found=str(own.padding))
    return _PADDING[own.padding]


def _over_channels(scope, op, name, x, arrays, fused, **attributes):
    """A node over channels in front, its result with the channels behind."""
    turned = scope.part("Transpose", x, perm=_IN_FRONT)
    made = scope.part(name, turned, *arrays, **attributes)
    scope.result(op, "Transpose", (made,), fused, perm=_BEHIND)


def _filter(scope, op, axes):
    """The weights with axes in ONNX's order."""
    weight = scope.known(op.inputs[1], "weights")
    if weight.ndim != 4 or weight.dtype.kind != "f":
        raise UnsupportedModelError("its weights must have four axes", found=f"{weight.dtype} {weight.shape}")
    return weight.transpose(axes)


def _weights(scope, op, weight):
    bias = op.inputs[2] if len(op.inputs) > 2 else None
    return [scope.constant(weight), *([scope.name(bias)] if bias is not None else [])]


def _convolution(scope, op):
    own = op.options
    arrays = _weights(scope, op, _filter(scope, op, (0, 3, 1, 2)))
    options = _strides(own) | {"dilations": [own.dilation_h, own.dilation_w]}
    _over_channels(scope, op, "Conv", scope.name(op.inputs[0]), arrays, own.fused, **options)


def _by_channel(scope, op):
    """A filter for every channel: weights (1, height, width, channels * multiplier)."""
    own = op.options
    weight = _filter(scope, op, (3, 0, 1, 2))
    if own.depth_multiplier < 1 or len(weight) % own.depth_multiplier or weight.shape[1] != 1:
        raise ModelFileError("depth_multiplier does not fit its weights", found=str(own.depth_multiplier))
    options = _strides(own) | {"dilations": [own.dilation_h, own.dilation_w]}
    options["group"] = len(weight) // own.depth_multiplier
    arrays = _weights(scope, op, weight)
    _over_channels(scope, op, "Conv", scope.name(op.inputs[0]), arrays, own.fused, **options)


def _transposed(scope, op):
    """Inputs: the shape of the result, weights (out, height, width, in), x, a bias. Its frames are those of
    x times the stride, or for VALID as many as the windows reach.
    """
    own = op.options
    shape, _, x = op.inputs[:3]
    weight = _filter(scope, op, (3, 0, 1, 2))
    bias = op.inputs[3] if len(op.inputs) > 3 else None
    strides, pads, extra = [own.stride_h, own.stride_w], [], []
    for taps, stride in zip(weight.shape[2:], strides):
        over = taps - stride
        same = _padding(own) == "SAME_UPPER"
        pads.append((max(over, 0) // 2, max(over, 0) - max(over, 0) // 2) if same else (0, 0))
        extra.append(max(-over, 0))
    arrays = [scope.constant(weight), *([scope.name(bias)] if bias is not None else [])]
    more = [0 if _padding(own) == "SAME_UPPER" else max(n - s, 0) for n, s in zip(weight.shape[2:], strides)]
    checked = scope.part(LENGTHS, scope.name(x), scope.name(shape), strides=strides, more=more)
    _over_channels(
        scope,
        op,
        "ConvTranspose",
        checked,
        arrays,
        own.fused,
        strides=strides,
        pads=[p for p, _ in pads] + [p for _, p in pads],
        output_padding=extra,
    )


LENGTHS = "TfliteLengths"


def lengths(reader, net, node, given, values):
    """The input of a transposed convolution, whose result must be as long as its windows make it."""
    x, shape = given
    own, target = node.attributes, integers(shape, "the shape of a TRANSPOSE_CONV")
    sizes = sizes_of(net, x)
    if len(target) != len(sizes) or len(sizes) != 4:
        raise ModelFileError("its shape must be of four axes", found=str(target))
    for k, stride, more in zip((1, 2), own["strides"], own["more"]):
        size, wanted = sizes[k], target[k]
        if isinstance(size, Size) and isinstance(wanted, int):
            length = net.builder.signal(x.references[0]).length
            if length is None and x.axes[k] == "t":
                raise Frozen(x, [(wanted - more) // stride])
            size = length
        open_ = isinstance(size, Size)  # a multiple of a Size is known, a sum is not
        expected = size * stride if open_ else size * stride + more
        if open_ and more or wanted != expected:
            raise UnsupportedModelError(
                "a TRANSPOSE_CONV of this shape is not supported",
                expected=f"{size} frames times {stride}, and {more} more",
                found=str(wanted),
            )
    return [x]


def _pool(name):
    def word(scope, op):
        own = op.options
        options = _strides(own) | {"kernel_shape": [own.filter_h, own.filter_w]}
        _over_channels(scope, op, name, scope.name(op.inputs[0]), [], own.fused, **options)

    return word


# ---- dilated convolutions written with batches -------------------------------------------------------------


def _dilated(scope, op):
    """The operators from SPACE_TO_BATCH_ND to BATCH_TO_SPACE_ND as one dilated convolution."""
    x, block, pads = op.inputs
    steps = scope.numbers(block, "block")
    chain = _only(scope, op.outputs[0], ("EXPAND_DIMS", "RESHAPE"))
    convolution = chain and _only(scope, chain.outputs[0], ("CONV_2D", "DEPTHWISE_CONV_2D"))
    back = convolution and _only(scope, convolution.outputs[0], ("SQUEEZE", "RESHAPE"))
    last = back and _only(scope, back.outputs[0], ("BATCH_TO_SPACE_ND",))
    if len(x.stated) != 3 or len(steps) != 1 or last is None or steps[0] < 1:
        raise UnsupportedModelError("is supported around a dilated convolution of frames alone")
    own, weight = convolution.options, scope.known(convolution.inputs[1], "weights")
    plain = (own.padding, own.stride_w, own.stride_h, own.dilation_w, own.dilation_h) == (1, 1, 1, 1, 1)
    axis = 1 if weight.ndim == 4 and weight.shape[1] == 1 else 2
    shapes = [chain.outputs[0].stated, convolution.outputs[0].stated]
    fits = all(len(s) == 4 and s[axis] == 1 for s in shapes) and len(back.outputs[0].stated) == 3
    if not plain or not fits or weight.shape[axis] != 1 or scope.numbers(last.inputs[1], "block") != steps:
        raise UnsupportedModelError("is supported around a dilated convolution of frames alone")
    before, after = _zeros(scope, pads, last.inputs[2])
    scope.done |= {chain, convolution, back, last}
    value = scope.name(x)
    if before or after:
        value = scope.part("Pad", value, scope.whole([0, before, 0, 0, after, 0]), mode="constant")
    image = scope.part("Unsqueeze", value, scope.whole([axis]))
    dilations = [steps[0], 1] if axis == 2 else [1, steps[0]]
    depthwise = convolution.word != "CONV_2D"
    weight = _filter(scope, convolution, (3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
    options = {"dilations": dilations, "strides": [1, 1], "auto_pad": "VALID"}
    if depthwise:
        options["group"] = len(weight) // max(own.depth_multiplier, 1)
    made = scope.part("Transpose", image, perm=_IN_FRONT)
    made = scope.part("Conv", made, *_weights(scope, convolution, weight), **options)
    made = scope.part("Transpose", made, perm=_BEHIND)
    made = scope.part("Squeeze", made, scope.whole([axis]))
    scope.result(last, "Identity", (made,), own.fused)


def _zeros(scope, pads, crops):
    """The zeros before and after the frames that a crop behind does not take off again."""
    if pads is crops:  # however many there are, they make frames that are cut off
        return 0, 0
    (left, right), (first, last) = (scope.known(v, "paddings").reshape(2).tolist() for v in (pads, crops))
    if first or last > right or min(left, right) < 0:
        raise UnsupportedModelError(
            "paddings and crops that do not fit are not supported", found=str((first, last))
        )
    return left, right - last


def _only(scope, value, words):
    """The one operator that reads a value, if it is one of these."""
    users = scope.users.get(value, [])
    alone = len(users) == 1 and value not in scope.graph.outputs and users[0].inputs[0] is value
    return users[0] if alone and users[0].word in words else None


WORDS = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _by_channel,
    "TRANSPOSE_CONV": _transposed,
    "AVERAGE_POOL_2D": _pool("AveragePool"),
    "MAX_POOL_2D": _pool("MaxPool"),
    "SPACE_TO_BATCH_ND": _dilated,
}
