"""The calls of a PyTorch program that compute: layers, activations, sums, pools, each from a Network and the
call's own arguments.

Names, order and defaults of arguments are those of torch.nn.functional, torch and the aten operators, which
agree where they share a name. Weights come as Constants. What a call cannot honour it refuses.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ...errors import UnsupportedModelError
from ...layers import (
    Activation,
    Add,
    Affine,
    Concatenate,
    Dense,
    GlobalAveragePool,
    GlobalMaxPool,
    Multiply,
    Reshape,
    Select,
    Softmax,
)
from ..axes.shapes import SHAPES, over_time
from ..axes.values import Constant, Lengths, Refused, Size, StateInput, Tensor, Zeros
from . import layers

#: name of the call -> f(network, *arguments, **options); the layout calls too
CALLS = dict(SHAPES)


def call(*names):
    def register(function):
        CALLS.update(dict.fromkeys(names, function))
        return function

    return register


def _tensors(**constants):
    """Tensors by name for a function of layers.py; absent ones left out."""
    wrong = [
        name for name, value in constants.items() if value is not None and not isinstance(value, Constant)
    ]
    if wrong:
        raise UnsupportedModelError(f"the {wrong[0]} must be a parameter or a buffer of the module")
    return {name: value.array for name, value in constants.items() if value is not None}


# ---- activations -------------------------------------------------------------------------------------------


def _activation(word):
    def apply(net, input, *options, **named):
        names = (*layers.elementwise_options(word), "inplace")
        named |= dict(zip(names, options))
        return activation(net, input, word, **named)

    return apply


def activation(net, x, word, **options):
    """An elementwise activation by its torch name; in place it ends the life of its input."""
    function = layers.elementwise(word, **options)
    made = x if function.name == "linear" else net.layered(x, Activation, activation=function)
    if options.get("inplace") and made is not x:
        net.overwrite(x, word)
    return made


def _in_place(word, function):
    def apply(net, input, *arguments, **options):
        made = function(net, input, *arguments, **options)
        net.overwrite(input, word)
        return made

    return apply


for _word in layers.FUNCTIONS:
    if _word.islower():
        CALLS[_word] = _activation(_word)


@call("clamp", "clip")
def clamp(net, input, min=None, max=None):
    if min == 0 and max is None:
        return activation(net, input, "relu")
    if min is None or max is None:
        raise UnsupportedModelError("clamp is supported from -1 to 1 and from 0 up", found=f"{min} to {max}")
    return activation(net, input, "hardtanh", min_val=min, max_val=max)


@call("softmax")
def softmax(net, input, dim=None, _stacklevel=3, dtype=None, **options):
    if dtype is not None or options or _stacklevel not in (3, None):
        raise UnsupportedModelError("softmax with a dtype is not supported")
    if dim is None or input.axes[net.axis(input, dim)] != "f":
        raise UnsupportedModelError("softmax is supported over the features", found=f"dim {dim} of {input}")
    return net.layered(input, Softmax)


@call("glu")
def glu(net, input, dim=-1):
    """a * sigmoid(b), a and b the halves of the features."""
    if input.axes[net.axis(input, dim)] != "f" or net.signal(input).width % 2:
        raise UnsupportedModelError(
            "glu is supported over an even number of features", found=f"dim {dim} of {input}"
        )
    half = net.signal(input).width // 2
    first = net.layered(input, Select, index=range(half))
    gate = activation(net, net.layered(input, Select, index=range(half, 2 * half)), "sigmoid")
    return net.made(net.add(Multiply, first.reference, gate.reference), input.axes, input.clock)


@call("dropout", "dropout1d", "feature_dropout")
def dropout(net, input, p=0.5, training=True, inplace=False):
    """The identity, where it is told ``training=self.training``: a model is read as it is after
    ``eval()``.
    """
    if training and p:
        raise UnsupportedModelError(
            "drops out after eval(), too (training=True, its default)", fix="Give it training=self.training."
        )
    return input


@call("alpha_dropout", "feature_alpha_dropout")
def alpha_dropout(net, input, p=0.5, training=False, inplace=False):
    return dropout(net, input, p, training, inplace)


# ---- sums and products -------------------------------------------------------------------------------------


@call("add", "add_", "iadd")
def add(net, input, other, *, alpha=1):
    if alpha != 1:
        raise UnsupportedModelError("add with alpha is not supported", found=str(alpha))
    if isinstance(input, Tensor) and isinstance(other, Tensor):
        return _merged(net, Add, input, other)
    x, constant = (input, other) if isinstance(input, Tensor) else (other, input)
    return _affine(net, x, 1.0, constant)


@call("mul", "multiply", "mul_", "imul")
def mul(net, input, other):
    if isinstance(input, Size) or isinstance(other, Size):
        return input * other
    if isinstance(input, Tensor) and isinstance(other, Tensor):
        return _merged(net, Multiply, input, other)
    x, constant = (input, other) if isinstance(input, Tensor) else (other, input)
    return _affine(net, x, constant, 0.0)


@call("sub", "subtract", "sub_", "isub")
def sub(net, input, other, *, alpha=1):
    return add(
        net, input, mul(net, other, -1.0) if isinstance(other, Tensor) else _negative(other), alpha=alpha
    )


@call("rsub")
def rsub(net, input, other, *, alpha=1):
    return sub(net, other, input, alpha=alpha)


@call("div", "truediv", "true_divide", "divide", "div_", "itruediv")
def div(net, input, other, *, rounding_mode=None):
    if not isinstance(input, Tensor) or isinstance(other, Tensor) or rounding_mode is not None:
        raise UnsupportedModelError("only a tensor by a constant can be divided")
    return _affine(net, input, 1.0 / _numbers(other), 0.0)


@call("neg", "negative")
def neg(net, input):
    return mul(net, input, -1.0) if isinstance(input, Tensor) else _negative(input)


def _negative(value):
    return Constant(value.name, -value.array) if isinstance(value, Constant) else -value


def _numbers(value):
    """A constant in float64, its axes kept."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, Constant):
        return value.array.astype(np.float64)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return np.float64(value)
    raise UnsupportedModelError(
        "only tensors, parameters and plain numbers can be added and multiplied", found=str(value)
    )


def _affine(net, x, scale, offset):
    """scale * x + offset: numbers, or Constants that broadcast over batch and time."""
    if not isinstance(x, Tensor):
        raise UnsupportedModelError("sizes can only be multiplied", found=str(x))
    scale, offset = _numbers(scale), _numbers(offset)
    width = net.signal(x).width
    vectors = []
    for array in (scale, offset):
        shape = (1,) * (len(x.axes) - array.ndim) + array.shape
        if len(shape) != len(x.axes) or any(
            n != 1 and (a != "f" or n != width) for n, a in zip(shape, x.axes)
        ):
            raise UnsupportedModelError(
                "a constant must be one number or one number a feature",
                expected=str(x),
                found=str(array.shape),
            )
        vectors.append(np.broadcast_to(array.reshape(-1), (width,)))
    if net.signal(x).features:
        return net.layered(x, Affine, scale=vectors[0], offset=vectors[1])
    reference = net.add(
        Affine, net.add(Reshape, x.reference, features=(1,)), scale=vectors[0], offset=vectors[1]
    )
    return net.made(net.add(Reshape, reference, features=()), x.axes, x.clock)


def _together(tensors):
    """Whether tensors have a frame for every frame of the others, given inputs of one length."""
    return len({x.clock and x.clock[1:] for x in tensors}) == 1


def _merged(net, kind, first, second):
    """A sum or product of two tensors; one feature may stand for all, as torch broadcasts."""
    first, second = net.single(first), net.single(second)
    if first.axes != second.axes or "s" in first.axes:
        raise UnsupportedModelError("the tensors must have the same axes", found=f"{first} and {second}")
    if not _together((first, second)):
        raise UnsupportedModelError("the tensors run over different frames", found=f"{first} and {second}")
    widths = [net.signal(x).width for x in (first, second)]
    for k, (x, width) in enumerate(zip((first, second), widths)):
        if "f" in x.axes and width == 1 and widths[1 - k] > 1:
            spread = net.layered(x, Select, index=(0,) * widths[1 - k])
            first, second = (spread, second) if k == 0 else (first, spread)
    return net.made(net.add(kind, first.reference, second.reference), first.axes, first.clock)


@call("cat", "concat", "concatenate")
def cat(net, tensors, dim=0):
    if not tensors or any(not isinstance(x, Tensor) for x in tensors):
        raise UnsupportedModelError("only tensors can be concatenated", found=", ".join(map(str, tensors)))
    first = tensors[0]
    position = net.axis(first, dim)
    if any(x.axes != first.axes for x in tensors) or first.axes[position] not in ("f", "s"):
        raise UnsupportedModelError(
            "tensors can be concatenated over their features",
            found=f"dim {dim} of {', '.join(map(str, tensors))}",
        )
    if first.axes[position] == "s":
        return dataclasses.replace(
            first, references=tuple(r for x in tensors for r in x.references), root=object()
        )
    if not _together(tensors):
        raise UnsupportedModelError(
            "the tensors run over different frames", found=", ".join(map(str, tensors))
        )
    return net.made(net.add(Concatenate, *(x.reference for x in tensors)), first.axes, first.clock)


# ---- layers ------------------------------------------------------------------------------------------------


@call("linear")
def linear(net, input, weight, bias=None):
    x = net.featured(input)
    return net.made(
        layers.add_linear(net.builder, net.name, x.reference, _tensors(weight=weight, bias=bias)),
        x.axes,
        x.clock,
    )


@call("matmul", "mm")
def matmul(net, input, other):
    if not isinstance(input, Tensor) or not isinstance(other, Constant) or other.array.ndim != 2:
        raise UnsupportedModelError("only a product with a parameter of two axes is supported")
    x = net.featured(input)
    return net.layered(x, Dense, weight=other.array.T)


@call("addmm")
def addmm(net, input, mat1, mat2):
    return add(net, matmul(net, mat1, mat2), input)


@call("embedding")
def embedding(
    net, input, weight, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, sparse=False
):
    if not isinstance(input, Tensor) or not net.is_ids(input):
        raise UnsupportedModelError("an Embedding must read whole numbers given as input", found=str(input))
    tensors = _tensors(weight=weight)
    padding_idx = None if padding_idx == -1 else padding_idx  # aten's word for none
    made = layers.add_embedding(
        net.builder, net.name, input.reference, tensors, padding_idx=padding_idx, max_norm=max_norm
    )
    return net.made(made, (*input.axes, "f"), input.clock)


@call("conv1d")
def conv1d(net, input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, padding_mode="zeros"):
    x = net.arranged(input, "bft")
    tensors = _tensors(weight=weight, bias=bias)
    options = {
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
        "padding_mode": padding_mode,
    }
    made = layers.add_conv1d(net.builder, net.name, x.reference, tensors, **options)
    if any(x.padding):
        made = _with_padding(net, made, x.padding)
    return net.made(made, "bft", net.after(x.clock, made))


def _with_padding(net, made, extra):
    """The convolution just added, with the zeros that F.pad put around its input."""
    layer = net.builder.layers[-1]
    fields = {f.name: getattr(layer, f.name) for f in dataclasses.fields(layer)}
    fields["padding"] = tuple(own + more for own, more in zip(layer.padding, extra))
    return net.builder.add(type(layer), fields.pop("name"), *fields.pop("inputs"), **fields)


@call("pad", "constant_pad_nd")
def pad(net, input, pad, mode="constant", value=None):
    """Zeros before and after a (batch, features, time) tensor, kept until the convolution that reads it."""
    if (
        mode != "constant"
        or value not in (None, 0)
        or len(pad) != 2
        or not all(isinstance(n, int) and n >= 0 for n in pad)
    ):
        raise UnsupportedModelError(
            "only zeros before and after the frames can be padded",
            found=f"{pad}, mode={mode!r}, value={value}",
        )
    x = net.arranged(input, "bft")
    return dataclasses.replace(x, padding=tuple(own + more for own, more in zip(x.padding, pad)))


@call("batch_norm")
def batch_norm(
    net,
    input,
    running_mean,
    running_var,
    weight=None,
    bias=None,
    training=False,
    momentum=0.1,
    eps=1e-5,
    cudnn_enabled=True,
):
    if training:
        raise UnsupportedModelError(
            "a batch_norm with each batch's own statistics (training=True) is not supported"
        )
    x = net.arranged(input, "bf", "bft") if input.axes not in (("bt", "f"), ("tb", "f")) else input
    tensors = _tensors(running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    return net.made(
        layers.add_batch_norm(net.builder, net.name, x.reference, tensors, eps=eps), x.axes, x.clock
    )


@call("layer_norm")
def layer_norm(net, input, normalized_shape, weight=None, bias=None, eps=1e-5, cudnn_enable=True):
    x = net.featured(input)
    tensors = _tensors(weight=weight, bias=bias)
    made = layers.add_layer_norm(
        net.builder, net.name, x.reference, tensors, eps=eps, normalized_shape=normalized_shape
    )
    return net.made(made, x.axes, x.clock)


# ---- pooling -----------------------------------------------------------------------------------------------


@call("max_pool1d")
def max_pool1d(
    net, input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    x = net.arranged(input, "bft")
    options = {
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "ceil_mode": ceil_mode,
        "return_indices": return_indices,
    }
    made = layers.add_max_pool(net.builder, net.name, x.reference, kernel_size=kernel_size, **options)
    return net.made(made, "bft", net.after(x.clock, made))


@call("avg_pool1d")
def avg_pool1d(net, input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    x = net.arranged(input, "bft")
    options = {
        "stride": stride,
        "padding": padding,
        "ceil_mode": ceil_mode,
        "count_include_pad": count_include_pad,
    }
    made = layers.add_average_pool(net.builder, net.name, x.reference, kernel_size=kernel_size, **options)
    return net.made(made, "bft", net.after(x.clock, made))


@call("adaptive_avg_pool1d")
def adaptive_avg_pool1d(net, input, output_size):
    x = net.arranged(input, "bft")
    return net.made(
        layers.add_global_pool(net.builder, net.name, x.reference, kind="average", output_size=output_size),
        "bf1",
        None,
    )


@call("adaptive_max_pool1d")
def adaptive_max_pool1d(net, input, output_size, return_indices=False):
    x = net.arranged(input, "bft")
    if return_indices:
        raise UnsupportedModelError("return_indices is not supported")
    return net.made(
        layers.add_global_pool(net.builder, net.name, x.reference, kind="max", output_size=output_size),
        "bf1",
        None,
    )


@call("mean")
def mean(net, input, dim=None, keepdim=False, *, dtype=None):
    if dtype is not None:
        raise UnsupportedModelError("mean with a dtype is not supported")
    return over_time(net, input, GlobalAveragePool, dim, keepdim)


@call("amax")
def amax(net, input, dim=None, keepdim=False):
    return over_time(net, input, GlobalMaxPool, dim, keepdim)


# ---- recurrence --------------------------------------------------------------------------------------------


def rnn(net, x, initial, tensors, *, kind, batch_first, nonlinearity="tanh"):
    """A torch RNN, GRU or LSTM: (output, h_n), an LSTM (output, (h_n, c_n)). ``tensors``: arrays by PyTorch's
    names.
    """
    order = "bt" if batch_first else "tb"
    x = net.arranged(x, *((order + "f",) if not x.packed else ("btf", "tbf")))
    count, directions, _, _ = layers.rnn_sizes(tensors, net.name)
    given, arguments = _initial(net, initial, kind, count * directions)
    options = {"kind": kind, "nonlinearity": nonlinearity, "initial": given, "packed": x.packed}
    made = layers.add_rnn(net.builder, net.name, x.reference, tensors, **options)
    for word, argument in zip("hc", arguments):
        net.states.append((argument, [f"{layer}/{word}" for layer in made.layers]))
    sequence = dataclasses.replace(net.made(made.sequence, x.axes, x.clock), packed=x.packed, ended=x.packed)
    stacks = [
        Tensor(tuple(r for layer in s for r in layer), ("s", "b", "f"))
        for s in ((made.h, made.c) if kind == "LSTM" else (made.h,))
    ]
    return (sequence, tuple(stacks) if kind == "LSTM" else stacks[0])


def _initial(net, initial, kind, cells):
    """(references to the initial states, one tuple a cell, or None where they are zero or the caller's to
    give; the arguments of forward that the caller gives, h first)."""
    if initial is None:
        return None, ()
    if isinstance(initial, StateInput) and kind == "LSTM":
        initial = tuple(dataclasses.replace(initial, path=(*initial.path, k)) for k in range(2))
    parts = (initial,) if kind != "LSTM" else tuple(initial) if isinstance(initial, (tuple, list)) else ()
    if len(parts) != (2 if kind == "LSTM" else 1):
        raise UnsupportedModelError(
            "the initial state is not supported",
            expected="(h_0, c_0)" if kind == "LSTM" else "h_0",
            found=str(initial),
        )
    if all(isinstance(p, StateInput) for p in parts):
        return None, parts
    if any(isinstance(p, Constant) and not p.array.any() for p in parts):
        parts = tuple(Zeros(p.array.shape) if isinstance(p, Constant) else p for p in parts)
    if all(isinstance(p, Zeros) for p in parts):
        for part in parts:
            if len(part.shape) != 3 or part.shape[0] != cells or part.shape[1] != Size(("b",)):
                raise UnsupportedModelError(
                    "the zeros of the initial state do not follow the input's batch",
                    expected=f"({cells}, x.size(0), hidden_size)",
                    found=str(part.shape),
                )
        return None, ()
    stacks = []
    for part in parts:
        if not isinstance(part, Tensor):
            raise UnsupportedModelError(
                "the initial state must be zeros, an argument of forward, or made from other layers",
                found=str(part),
            )
        if part.axes == ("1", "b", "f"):
            part = part.view(("s", "b", "f"))
        if part.axes != ("s", "b", "f") or len(part.references) != cells:
            raise UnsupportedModelError(
                "the initial state does not fit", expected=f"({cells}, batch, hidden_size)", found=str(part)
            )
        stacks.append(part.references)
    return list(zip(*stacks)), ()


@call("pack_padded_sequence")
def pack_padded_sequence(net, input, lengths, batch_first=False, enforce_sorted=True):
    """Frames past a row's length no longer count: nothing behind reads them, so a tensor cut to the longest
    row is as good.
    """
    if not isinstance(lengths, Lengths):
        raise UnsupportedModelError(
            "the lengths of a packed sequence must be an argument of forward", found=str(lengths)
        )
    if input.clock is not None:
        input = dataclasses.replace(input, clock=input.clock._replace(longest=False))
    x = net.arranged(input, "btf" if batch_first else "tbf")
    if net.lengths not in (None, lengths.name):
        raise UnsupportedModelError(
            "sequences packed with lengths of their own are not supported",
            expected=f"{net.lengths!r} everywhere",
            found=repr(lengths.name),
        )
    if net.packing is not None and net.packing[1:] != x.clock[1:]:
        raise UnsupportedModelError("the same lengths are counted in different frames")
    net.lengths, net.packing = lengths.name, x.clock
    return dataclasses.replace(x, packed=True)


@call("pad_packed_sequence")
def pad_packed_sequence(net, sequence, batch_first=False, padding_value=0.0, total_length=None):
    if not isinstance(sequence, Tensor) or not sequence.packed or padding_value != 0:
        raise UnsupportedModelError(
            "only a packed sequence can be padded, and with zeros",
            found=f"{sequence}, padding_value={padding_value}",
        )
    whole = Size((("t", sequence.clock),))
    longest = Size((("t", sequence.clock._replace(longest=True)),))
    if total_length is not None and total_length not in (whole, longest):
        raise UnsupportedModelError(
            "total_length must be the input's number of frames", found=str(total_length)
        )
    if not sequence.ended:
        sequence = sequence.view(references=(layers.add_ended(net.builder, net.name, sequence.reference),))
    axes = ("b", "t", "f") if batch_first else ("t", "b", "f")
    clock = sequence.clock._replace(longest=total_length != whole)
    return dataclasses.replace(sequence, axes=axes, clock=clock, packed=False), Lengths(net.lengths)


# ---- what only makes zeros ---------------------------------------------------------------------------------


@call("zeros")
def zeros(net, *size, dtype=None, layout=None, device=None, pin_memory=False, requires_grad=False):
    shape = size[0] if len(size) == 1 and isinstance(size[0], (tuple, list)) else size
    return Zeros(tuple(shape))


@call("new_zeros")
def new_zeros(net, input, *size, **options):
    return zeros(net, *size)


@call("zeros_like")
def zeros_like(net, input, **options):
    return (
        Zeros(tuple(net.sizes(input)))
        if isinstance(input, Tensor)
        else input
        if isinstance(input, Zeros)
        else Refused("zeros_like is not supported here")
    )


for _name in (
    "relu",
    "sigmoid",
    "tanh",
    "leaky_relu",
    "elu",
    "selu",
    "silu",
    "hardtanh",
    "hardswish",
    "hardsigmoid",
    "relu6",
    "clamp",
    "exp",
    "neg",
):
    CALLS[_name + "_"] = _in_place(_name + "_", CALLS[_name])
for _name in ("add_", "iadd", "mul_", "imul", "sub_", "isub", "div_", "itruediv"):
    CALLS[_name] = _in_place(_name, CALLS[_name])
