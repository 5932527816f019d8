"""Graph -> graph, each pass exact up to rounding: the same outputs under the same names from fewer layers.

Names of inputs, of outputs and of the layers that hold a state stay; other layers may vanish. New weights are
computed in float64; where they would leave float32's range the layers are left as they are.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict

import numpy as np

from .graph import Graph
from .layers import (
    Activation,
    Add,
    Affine,
    BatchNormalization,
    Concatenate,
    Conv1D,
    Dense,
    Input,
    Reshape,
    Reverse,
    Scan,
    Select,
    TimeDistributed,
)
from .layers.function import LINEAR
from .layers.recurrent import Recurrent
from .lifting import cut_products, lift


def optimise(graph: Graph, lifted=True) -> Graph:
    """``graph`` after every pass; with ``lifted`` false the known cells among its scans stay scans."""
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # what leaves float32's range is looked at, not warned of
        for one in PASSES:
            if one is optimise_inner:
                graph = one(graph, lifted)
            elif lifted or one is not lift:
                graph = one(graph)
    return graph


def optimise_inner(graph: Graph, lifted=True) -> Graph:
    """Every pass on the graphs inside TimeDistributed and Scan layers."""
    return graph.replace(
        [
            dataclasses.replace(x, graph=optimise(x.graph, lifted))
            if isinstance(x, (TimeDistributed, Scan))
            else x
            for x in graph.layers
        ]
    )


def drop_trivial(graph: Graph) -> Graph:
    """Without layers that change nothing."""
    kept, alias = {}, {}
    for layer in graph.layers:
        same = _unchanged(layer := _rewired(layer, alias), kept, graph.signals)
        if same is None:
            kept[layer.name] = layer
        else:
            alias[layer.name] = same
    return _rebuilt(graph, kept, alias)


def fold_batch_norm(graph: Graph) -> Graph:
    """Batch normalisations taken into the products before them, or else into those after them.

    Before: into a Dense or Conv1D that has no activation and that nothing else reads. After: into each Dense,
    recurrent layer and Conv1D without padding, if those are all that read it (zeros padded in front of a
    Conv1D were never normalised), and if that costs no digits (see FOLDED_FROM_ZERO). A fold into the product
    before costs none: what cancels in W x + b against the mean is rounded before it cancels where the two are
    apart, too, and in the fold the bias and the mean cancel in float64.
    """
    return _fold_into_readers(_absorb(graph, _scaled_output))


def fuse_activation(graph: Graph) -> Graph:
    """An activation taken into the Dense or Conv1D before it, where nothing else reads that."""
    return _absorb(graph, _activated)


def drop_dead(graph: Graph) -> Graph:
    """Without layers that reach no output; inputs stay."""
    needed = {_layer_of(output.value) for output in graph.outputs}
    for layer in reversed(graph.layers):
        if layer.name in needed:
            needed.update(map(_layer_of, layer.inputs))
    return graph.replace([x for x in graph.layers if x.name in needed or isinstance(x, Input)])


#: In this order: what is dead or trivial would count as a reader and stand in the way of folding.
PASSES = (
    optimise_inner,
    lift,
    cut_products,
    drop_trivial,
    drop_dead,
    fold_batch_norm,
    fuse_activation,
)


# ---- rewriting ---------------------------------------------------------------------------------------------


def _layer_of(reference):
    return reference.partition(":")[0]


def _rewired(layer, alias):
    """The layer reading what ``alias`` {reference: reference} puts in place of its inputs."""
    inputs = tuple(alias.get(r, r) for r in layer.inputs)
    return layer if inputs == layer.inputs else dataclasses.replace(layer, inputs=inputs)


def _rebuilt(graph, layers, alias):
    outputs = [dataclasses.replace(o, value=alias.get(o.value, o.value)) for o in graph.outputs]
    return graph.replace(layers.values(), outputs=outputs)


def _absorb(graph, joined):
    """Lets layers be taken into the layer they read, where they alone read it and ``joined(layer before,
    layer)`` is one.
    """
    uses = Counter(_layer_of(r) for x in graph.layers for r in x.inputs)
    uses.update(_layer_of(output.value) for output in graph.outputs)
    kept, alias = {}, {}
    for layer in graph.layers:
        layer = _rewired(layer, alias)
        before = kept.get(layer.inputs[0]) if len(layer.inputs) == 1 else None
        one = joined(before, layer) if before is not None and uses[before.name] == 1 else None
        if one is None:
            kept[layer.name] = layer
        else:
            kept[before.name], alias[layer.name] = one, before.name
            uses[before.name] = uses[layer.name]
    return _rebuilt(graph, kept, alias)


def _unchanged(layer, kept, signals):
    """The reference whose value this layer repeats, or None."""
    match layer:
        case Activation(activation=function) if function == LINEAR:
            return layer.inputs[0]
        case Reshape(features=features) if (
            features == signals[layer.name].features == signals[layer.inputs[0]].features
        ):
            return layer.inputs[0]
        case Select(index=index) if index == tuple(range(signals[layer.inputs[0]].width)):
            return layer.inputs[0]
        case Concatenate() | Add() if len(layer.inputs) == 1:
            return layer.inputs[0]
        case Reverse() if isinstance(kept.get(layer.inputs[0]), Reverse):
            return kept[layer.inputs[0]].inputs[0]
    return None


# ---- batch normalisation and activations -------------------------------------------------------------------


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
    affine = _scale_and_offset(layer)
    if affine is None or not isinstance(product, (Dense, Conv1D)) or product.activation != LINEAR:
        return None
    scale, offset = affine
    rows = scale.reshape((-1,) + (1,) * (product.weight.ndim - 1))
    bias = 0.0 if product.bias is None else product.bias.astype(np.float64)
    return _with_weights(product, product.weight * rows, bias * scale + offset)


def _scaled_input(product, reference, scale, offset):
    """W (scale x + offset) + b as one product, x coming in by ``reference``; or None."""
    if (
        not isinstance(product, (Dense, Conv1D, Recurrent))
        or product.inputs[0] != reference
        or product.inputs.count(reference) > 1
    ):
        return None
    weight = product.weight.astype(np.float64)
    if isinstance(product, Conv1D):
        if product.padding != (0, 0):
            return None
        outputs, _, per_group = weight.shape
        group = np.arange(outputs) // (outputs // product.groups)
        scale, offset = scale.reshape(-1, 1, per_group)[group], offset.reshape(-1, 1, per_group)[group]
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
        for reference in dict.fromkeys(layer.inputs):
            readers[reference].append(layer.name)
    shown = {output.value for output in graph.outputs}
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
    if (
        isinstance(layer, Activation)
        and isinstance(product, (Dense, Conv1D))
        and product.activation == LINEAR
    ):
        return dataclasses.replace(product, activation=layer.activation)
    return None
