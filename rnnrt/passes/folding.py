"""Batch normalisations, sums and activations taken into the products beside them."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict

import numpy as np

from ..graph import Graph
from ..layers import Activation, Add, Affine, BatchNormalization, Conv1D, Conv2D, ConvTranspose1D, Dense
from ..layers.base import layer_of
from ..layers.function import LINEAR
from ..layers.recurrent import Recurrent
from .rewriting import absorb

#: Layers that are activation(W x + b), whatever the frames of x are.
_PRODUCTS = (Dense, Conv1D, Conv2D, ConvTranspose1D)


def fold_batch_norm(graph: Graph) -> Graph:
    """Batch normalisations taken into the products before them, or else into those after them.

    Before: into a Dense or a convolution that has no activation and that nothing else reads. After:
    into each Dense, recurrent layer and convolution without padding, if those are all that read it (zeros
    that are padded were never normalised), and if that costs no digits (see FOLDED_FROM_ZERO). A fold
    into the product before costs none: what cancels in W x + b against the mean is rounded before it cancels
    where the two are apart, too, and in the fold the bias and the mean cancel in float64.
    """
    return _fold_into_readers(absorb(graph, _scaled_output))


def fuse_sum(graph: Graph) -> Graph:
    """The sum of a product of single frames and something else taken into the product, where nothing else
    reads that.
    """
    uses = Counter(layer_of(r) for x in graph.layers for r in x.reads)
    uses.update(layer_of(output.value) for output in graph.outputs)
    layers = {x.name: x for x in graph.layers}
    for layer in graph.layers:
        if layer.kind != Add.kind or len(layer.inputs) != 2 or layer.name in graph.decisive:
            continue
        for source, other in (layer.inputs, layer.inputs[::-1]):
            product = layers.get(source)
            if product is not None and uses[source] == 1 and _is_of_single_frames(product):
                weight = product.weight.reshape(len(product.weight), -1)
                inputs = (*product.inputs, other)
                layers[layer.name] = Dense(layer.name, inputs, weight=weight, bias=product.bias)
                del layers[source]
                break
    return graph.replace(layers.values())


def _is_of_single_frames(layer):
    """Whether it is W x + b of one frame at a time, and no more."""
    if isinstance(layer, Conv1D):
        one_tap = layer.weight.shape[1] == 1 and layer.stride == layer.groups == 1
        return one_tap and layer.padding in ("same", (0, 0)) and layer.activation == LINEAR
    return isinstance(layer, Dense) and len(layer.inputs) == 1 and layer.activation == LINEAR


def fuse_activation(graph: Graph) -> Graph:
    """An activation taken into the product before it, where nothing else reads that."""
    return absorb(graph, _activated)


def _scale_and_offset(layer):
    """(scale, offset) in float64 of a layer that is one scale and offset a feature, else None."""
    if isinstance(layer, BatchNormalization):
        return layer.affine()
    if isinstance(layer, Affine):
        return layer.scale.astype(np.float64), layer.offset.astype(np.float64)
    return None


#: How far, in standard deviations, an input's mean may be from zero for its normalisation to be folded into
#: what reads it. Apart, x - mean is all but exact; folded, the reader sums W x, which is larger than W (x -
#: mean), and rounds at that size before the bias takes the mean away. Measured over products of 4 to 512
#: inputs, the folded error is about 1 + mean / std times that of float32 as written: at most 1.7 times at 1,
#: 3 at 2, 10 at 10, 30 at 30; apart it is 1 to 2 times at any mean.
FOLDED_FROM_ZERO = 1.0


def _keeps_digits(layer):
    """Whether what reads the layer's input in its place loses no digits that matter: promise 1 for inputs
    with the layer's own statistics. Of a plain scale and offset nothing is known but that its output should
    be of order 1."""
    if isinstance(layer, BatchNormalization):
        return bool((np.abs(layer.mean) <= FOLDED_FROM_ZERO * layer.deviation).all())
    return bool((np.abs(layer.offset) <= FOLDED_FROM_ZERO).all())


def _scaled_output(product, layer):
    """scale (W x + b) + offset as one product, or None."""
    affine, plain = _scale_and_offset(layer), isinstance(product, _PRODUCTS) and len(product.inputs) == 1
    if affine is None or not plain or product.activation != LINEAR:
        return None
    scale, offset = affine
    rows = scale.reshape((-1,) + (1,) * (product.weight.ndim - 1))
    bias = 0.0 if product.bias is None else product.bias.astype(np.float64)
    return _with_weights(product, product.weight * rows, bias * scale + offset)


def _scaled_input(product, reference, scale, offset):
    """W (scale x + offset) + b as one product, x coming in by ``reference``; or None."""
    if (
        not isinstance(product, (Dense, Conv1D, Conv2D, Recurrent))
        or product.inputs[0] != reference
        or product.inputs.count(reference) > 1
    ):
        return None
    weight = product.weight.astype(np.float64)
    if isinstance(product, (Conv1D, Conv2D)):
        if product.padding != (0, 0) or getattr(product, "bin_padding", (0, 0)) != (0, 0):
            return None
        outputs, *taps, per_group = weight.shape
        group, each = np.arange(outputs) // (outputs // product.groups), (-1, *(1 for _ in taps), per_group)
        scale, offset = scale.reshape(each)[group], offset.reshape(each)[group]
    bias = 0.0 if product.bias is None else product.bias.astype(np.float64)
    return _with_weights(product, weight * scale, bias + (weight * offset).reshape(len(weight), -1).sum(1))


def _with_weights(product, weight, bias):
    weight, bias = weight.astype(np.float32), bias.astype(np.float32)
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        return None
    return dataclasses.replace(product, weight=weight, bias=bias)


def _fold_into_readers(graph):
    layers, readers = {x.name: x for x in graph.layers}, defaultdict(list)
    for layer in graph.layers:
        for reference in dict.fromkeys(layer.reads):
            readers[reference].append(layer.name)
    shown = {output.value for output in graph.outputs} | graph.decisive
    for layer in reversed(graph.layers):
        affine = _scale_and_offset(layer)
        if affine is None or layer.name in shown or not readers[layer.name] or not _keeps_digits(layer):
            continue
        folded = [_scaled_input(layers[name], layer.name, *affine) for name in readers[layer.name]]
        if None in folded:
            continue
        source = layer.inputs[0]
        for product in folded:
            layers[product.name] = dataclasses.replace(product, inputs=(source, *product.inputs[1:]))
        readers[source] = [name for name in readers[source] if name != layer.name] + readers[layer.name]
        del layers[layer.name]
    return graph.replace(layers.values())


def _activated(product, layer):
    """activation(W x + b) as one product, or None."""
    if isinstance(layer, Activation) and isinstance(product, _PRODUCTS) and product.activation == LINEAR:
        return dataclasses.replace(product, activation=layer.activation)
    return None
