"""Arguments of PyTorch's operators in the form that operators of the table take: windows, options of
convolutions, types and divisors. Imports no torch.
"""

from __future__ import annotations

from ...errors import UnsupportedModelError
from ..axes.sizes import Size
from ..axes.values import Harmless, Tensor
from .layers import (
    average_window_options,
    conv1d_options,
    conv2d_options,
    conv_transpose1d_options,
    conv_transpose2d_options,
    max_window_options,
    normalized_size,
    one,
    pair,
)


def cast_type(x, given=(), dtype=None):
    """The type among what ``Tensor.to`` was given: a type, a device, another tensor, or several of these."""
    for value in given:
        if not isinstance(value, (Harmless, Tensor, str, bool, type(None))):
            raise UnsupportedModelError("is not a type, a device or a tensor", found=str(value))
    words = [getattr(v, "word", v) for v in (*given, dtype) if isinstance(v, (Harmless, str))]
    types = [w.removeprefix("torch.") for w in words if w.startswith("torch.") and not w.endswith("_format")]
    types += [w for w in words if w in ("bool", "float32")]  # of another tensor
    like = next((v for v in given if isinstance(v, Tensor)), None)
    return {"x": x, "type": types[0] if types else None, "like": like}


def convolution(x, weight, bias, **options):
    return {"x": x, "weight": weight, "bias": bias} | conv1d_options("conv1d", **options)


def transposed_convolution(x, weight, bias, **options):
    return {"x": x, "weight": weight, "bias": bias} | conv_transpose1d_options("conv_transpose1d", **options)


def convolution2d(x, weight, bias, **options):
    return {"x": x, "weight": weight, "bias": bias} | conv2d_options("conv2d", **options)


def transposed_convolution2d(x, weight, bias, **options):
    return {"x": x, "weight": weight, "bias": bias} | conv_transpose2d_options("conv_transpose2d", **options)


def max_windows(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    if return_indices:
        raise UnsupportedModelError("max_pool2d with return_indices is not supported")
    if whole := _of_sizes(kernel_size, stride, padding):
        return {"x": x, "windows": whole}
    axes = _of_axes("max_pool2d", kernel_size, stride, padding)
    dilations = pair(dilation, "dilation", "max_pool2d")
    windows = [max_window_options("max_pool2d", *own, ceil_mode, d) for own, d in zip(axes, dilations)]
    return {"x": x, "windows": windows}


def average_windows(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    if whole := _of_sizes(kernel_size, stride, padding):
        return {"x": x, "windows": whole}
    axes = _of_axes("avg_pool2d", kernel_size, stride, padding)
    return {
        "x": x,
        "windows": [average_window_options("avg_pool2d", *own, ceil_mode, count_include_pad) for own in axes],
    }


def _of_sizes(size, stride, padding):
    """The windows of a pool over all of an axis or two, whose sizes forward asks for; None of another."""
    pairs = isinstance(size, (tuple, list)) and len(size) == 2
    if not pairs or not any(isinstance(n, Size) for n in size) or stride not in (None, (), [], size):
        return None
    return [{"size": n, "stride": n} for n in size] if padding in (0, (0, 0), [0, 0]) else None


def _of_axes(where, size, stride, padding):
    """(size, stride, padding) of each of two axes."""
    size = pair(size, "kernel_size", where)
    stride = size if stride in (None, (), []) else pair(stride, "stride", where)
    return list(zip(size, stride, pair(padding, "padding", where)))


def numbers_of_axes(x, output_size, return_indices=False):
    if return_indices:
        raise UnsupportedModelError("adaptive_max_pool2d with return_indices is not supported")
    sizes = output_size if isinstance(output_size, (tuple, list)) else (output_size, output_size)
    return {"x": x, "sizes": tuple(sizes)}


def picture_windows(x, kernel_size, dilation=1, padding=0, stride=1):
    """The windows that torch's unfold takes of the last two axes."""
    options = {"kernel": kernel_size, "dilation": dilation, "padding": padding, "stride": stride}
    return {"x": x} | {name: pair(value, name, "unfold") for name, value in options.items()}


def _of_a_size(kernel_size=None, stride=None, padding=0, **others):
    """The one window of a pool as long as the sequence: the size that forward asks for; None of another."""
    first = lambda n: n[0] if isinstance(n, (tuple, list)) and len(n) == 1 else n
    size, stride = first(kernel_size), first(stride)
    whole = isinstance(size, Size) and stride in (None, (), [], size) and padding in (0, (0,), [0])
    return {"size": size, "stride": size, "padding": (0, 0)} if whole else None


def max_window(x, dilation=1, return_indices=False, **options):
    if return_indices:
        raise UnsupportedModelError("MaxPool1d with return_indices is not supported")
    if whole := _of_a_size(**options):
        return {"x": x} | whole
    return {"x": x} | max_window_options("max_pool1d", dilation=dilation, **options)


def average_window(x, **options):
    if whole := _of_a_size(**options):
        return {"x": x} | whole
    return {"x": x} | average_window_options("avg_pool1d", **options)


def number_of_frames(x, output_size, return_indices=False):
    """Adaptive pooling, to so many frames."""
    if return_indices:
        raise UnsupportedModelError("return_indices is not supported")
    return {"x": x, "frames": one(output_size, "output_size", "adaptive pooling")}


def scale_of(x, size=None, scale_factor=None, mode="nearest", align_corners=None, **others):
    """Upsampling by a factor; what else may be said changes nothing then."""
    if size is not None:
        raise UnsupportedModelError("upsampling to a size is not supported", fix="Give scale_factor instead.")
    if align_corners:
        raise UnsupportedModelError("align_corners=True is not supported")
    if isinstance(scale_factor, (tuple, list)) and len(scale_factor) == 1:
        scale_factor = scale_factor[0]
    return {"x": x, "times": scale_factor, "mode": mode}


def correction_of(x, axes=None, correction=None, keep=False, unbiased=None):
    """A variance's divisor: N - 1 unless something else is said. ``axes``: or, in their place, unbiased."""
    if isinstance(axes, bool):
        axes, unbiased = None, axes
    if isinstance(correction, bool):
        correction = int(correction)
    if unbiased is not None:
        correction = int(bool(unbiased))
    return {"x": x, "axes": axes, "correction": 1 if correction is None else correction, "keep": keep}


def scaled_norm(size, **arguments):
    return arguments | {"size": normalized_size(size, "rms_norm")}


def over_features(size, **arguments):
    if isinstance(size, (tuple, list)) and len(size) > 1 and all(type(n) is int for n in size):
        return arguments | {"size": tuple(size)}
    return arguments | {"size": normalized_size(size, "layer_norm")}


def fixed_table(x, table, padding_idx=None, max_norm=None):
    """An embedding's table; what stops a gradient does not matter, what rewrites the table while it is read
    does.
    """
    if max_norm is not None:
        raise UnsupportedModelError("an Embedding with max_norm is not supported")
    return {"x": x, "table": table}


def index_of(x, index):
    """What one of aten's index operators takes, None for all of an axis, as Python writes it."""
    return {"x": x, "index": tuple(slice(None) if part is None else part for part in index)}
