"""Whether a network answers as it should: sample inputs, who answered them, the distance of two answers, and
how much is allowed.

Inputs made up for any purpose are made here. They are drawn from the network's own statistics where it has
them (a norm at an input says what its numbers look like, an embedding how many ids there are), for a fault
that only shows on real inputs shows on no others.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from math import prod

import numpy as np

from . import reference, timing
from .errors import ShapeError, VerificationError
from .graph import Graph
from .layers import BatchNormalization, Embedding, Input, Multiply, NotEqual, TimeDistributed

#: A framework may sum in another order than the reference does in float32: by how much more its error may
#: then be called rounding.
ROUNDING = 8
#: Who answered, where it was not somebody from outside.
OWN, USER = "reference", "the user's samples"
NOT_COMPARED = "rnnrt's own reading: not compared"
#: Above this much float32 has no digits left to tell unit scale from: a statistic beyond it is not a scale
#: that inputs have.
_LARGEST_SCALE = 1e18


# ---- sample inputs -----------------------------------------------------------------------------------------


def sample_inputs(graph: Graph, seed=0, time: int | None = None, batch: int = 2) -> dict[str, np.ndarray]:
    """A small sample of inputs, {name: float32 array}, canonical axes (batch, time, *features) or (batch,
    *features).

    ``time``: frames of an input that has no length of its own; by default enough to fill every window. Ids
    are whole numbers that every embedding has; other numbers are normal, with the mean and variance of a
    batch normalisation that reads the input.
    """
    generator = np.random.default_rng(seed)
    time = time or _enough_frames(graph)
    return {name: sample_input(graph, name, batch, time, generator) for name in graph.inputs}


def sample_input(graph: Graph, name: str, batch: int, time: int | None, generator) -> np.ndarray:
    """One of ``sample_inputs``; ``generator``: a numpy.random.Generator, which is drawn from once. Raises
    ShapeError where it is larger than the memory of this machine."""
    layer, signal = graph[name], graph.signals[name]
    shape = (batch,) + ((signal.length or time,) if signal.time else ()) + signal.features
    size, memory = 12 * prod(shape), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory:  # 8 bytes a number while it is drawn, 4 after that
        raise ShapeError(
            "the sample does not fit into this machine's memory",
            where=f"input {name!r}",
            found=f"{shape}, {size:,} bytes",
            expected=f"at most {memory:,}",
            fix="Take a smaller batch, time or chunk.",
        )
    if name in (
        counts := graph.metadata.get("row_lengths", {})
    ):  # the longest row first, as packing may want
        timed, *window = counts[name]
        most = longest_row(graph, graph.signals[timed].length or time, window)
        return np.maximum(most - np.arange(batch), 1).astype(np.float32)
    tables = [len(c.weight) for c in graph.consumers(name) if isinstance(c, Embedding)]
    if layer.ids or tables:
        ids = generator.integers(0, min(tables or _table_sizes(graph), default=1), shape).astype(np.float32)
        return _some_masked(graph, name, ids, generator)
    if name in graph.mask_inputs:  # at least one frame a row is real, and some come before it
        real = generator.random(shape) < 0.75
        real[:, 0], real[:, min(1, shape[1] - 1)] = False, True
        return real.astype(np.float32)
    numbers = generator.standard_normal(shape)
    norm = input_norm(graph, name)
    if norm is not None:
        numbers = numbers * np.sqrt(np.maximum(np.asarray(norm.variance, np.float64), 0)) + norm.mean
    return _some_masked(graph, name, numbers.astype(np.float32), generator)


def _some_masked(graph, name, numbers, generator):
    """``numbers`` with frames among them that a mask of the input passes over: where each may be masked, the
    first of the first row is, and no row is masked throughout.
    """
    value = next((c.value for c in graph.consumers(name) if isinstance(c, NotEqual)), None)
    if value is not None and graph.signals[name].time and numbers.shape[1] > 1:
        masked = generator.random(numbers.shape[:2]) < 0.25
        masked[0, 0], masked[:, -1] = True, False
        numbers[masked] = value
    return numbers


def input_norm(graph: Graph, name: str) -> BatchNormalization | None:
    """The batch normalisation whose statistics are those of the input ``name``: one that reads it, feature by
    feature.
    """
    masked = [c for c in graph.consumers(name) if isinstance(c, Multiply) and c.inputs[0] == name]
    behind = [layer for c in masked for layer in graph.consumers(c.name)]  # of an input that is masked to 0
    for layer in [*graph.consumers(name), *behind]:
        if isinstance(layer, BatchNormalization) and graph.signals[name].features == layer.mean.shape:
            scale = np.concatenate([layer.mean, layer.variance])
            if np.isfinite(scale).all() and np.abs(scale).max() < _LARGEST_SCALE:
                return layer
    return None


def longest_row(graph: Graph, frames: int, window=None) -> int:
    """The greatest length a row of so many frames may have: windows before the packing change what lengths
    count; ``window``: (span, stride) of those, by default as the graph has them.
    """
    span, stride = window or graph.metadata.get("packing", (1, 1))
    return max((frames - span) // stride + 1, 0)


def full_lengths(graph: Graph, inputs) -> np.ndarray | None:
    """(batch,) lengths of rows that are all full, for a network that does not run without lengths; else
    None.
    """
    if "lengths_input" not in graph.metadata:
        return None
    timed = [name for name in graph.inputs if graph.signals[name].time]
    batch, frames = inputs[(timing.counted_by_lengths(graph) or timed)[0]].shape[:2]
    return np.full(batch, longest_row(graph, frames))


def reference_sample(graph: Graph, seed=0):
    """``sample_inputs`` and what the float64 reference answers to them, float32: ({name: array}, {name:
    array}).
    """
    inputs = sample_inputs(graph, seed)
    with np.errstate(over="ignore", invalid="ignore"):
        outputs, _ = reference.run(graph, inputs)
        return inputs, {name: np.asarray(array, np.float32) for name, array in outputs.items()}


def _table_sizes(graph):
    for layer in graph.layers:
        if isinstance(layer, Embedding):
            yield layer.weight.shape[0]
        elif isinstance(layer, TimeDistributed):
            yield from _table_sizes(layer.graph)


def _enough_frames(graph):
    """Frames that fill every window of the graph at least once: a power of two from 16 to 65,536."""
    if all(graph[name].length is not None or not graph[name].time for name in graph.inputs):
        return None
    for time in (1 << n for n in range(4, 17)):
        layers = [
            replace(x, length=x.length or time) if isinstance(x, Input) and x.time else x
            for x in graph.layers
        ]
        try:
            graph.replace(layers)
        except ShapeError as error:
            refused = error
        else:
            return time
    raise refused


# ---- what was assumed --------------------------------------------------------------------------------------


def answered_by(by: str, graph: Graph) -> str:
    """Who answered a golden sample, in words: ``by`` as a file has it. A graph built by hand was not read
    from anywhere.
    """
    if by != OWN:
        return by
    return NOT_COMPARED if graph.metadata.get("source") else "the float64 reference"


def assumptions(graph: Graph, by: str = OWN) -> tuple[str, ...]:
    """What was taken for granted about a network, a sentence each: what its importer assumed, what its
    weights look like, and whether anybody from outside answered its sample (``by``)."""
    found = list(graph.metadata.get("assumptions") or ())
    found += not_finite(graph)
    for layer in _layers(graph):
        if isinstance(layer, BatchNormalization) and not layer.mean.any() and (layer.variance == 1).all():
            found.append(
                f"layer {layer.name!r}: its statistics are mean 0 and variance 1 exactly, as before any "
                f"training"
            )
    for name in graph.inputs:
        norm = input_norm(graph, name)
        if norm is not None and (norm.mean.any() or (norm.variance != 1).any()):
            deviation = np.sqrt(np.maximum(norm.variance, 0))
            found.append(
                f"input {name!r} is expected on the scale of layer {norm.name!r}: mean {_range(norm.mean)}, "
                f"standard deviation {_range(deviation)}"
            )
    if answered_by(by, graph) == NOT_COMPARED:
        found.append(f"{NOT_COMPARED} with answers of the framework (verify(x, y) takes yours)")
    return tuple(dict.fromkeys(found))


def not_finite(graph: Graph) -> list[str]:
    """A sentence for every tensor of weights, or start of a sequence, that holds NaN or inf."""
    found = []
    for name, array in _tensors(graph):
        if np.isfinite(array).all():
            continue
        nan, inf = int(np.isnan(array).sum()), int(np.isinf(array).sum())
        counts = " and ".join(f"{n} {word}" for n, word in ((nan, "NaN"), (inf, "inf")) if n)
        found.append(f"the tensor {name!r} holds {counts} among {array.size:,} numbers")
    return found


def _tensors(graph: Graph) -> Iterator:
    """(name, array) of all that a graph and the graphs inside it hold."""
    for layer in graph.layers:
        for field in layer.arrays:
            if getattr(layer, field) is not None:
                yield f"{layer.name}/{field}", getattr(layer, field)
        inner = getattr(layer, "graph", None)
        if isinstance(inner, Graph):
            yield from _tensors(inner)
    yield from graph.start.items()


def _layers(graph: Graph) -> Iterator:
    for layer in graph.layers:
        yield layer
        inner = getattr(layer, "graph", None)
        if isinstance(inner, Graph):
            yield from _layers(inner)


def _range(values):
    low, high = float(np.min(values)), float(np.max(values))
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"


# ---- judging answers ---------------------------------------------------------------------------------------


def distance(expected, found) -> float:
    """The largest difference, relative to the largest expected magnitude where that is above 1; equal
    infinities and NaN do not count as a difference.
    """
    same = (expected == found) | (np.isnan(expected) & np.isnan(found))
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0.0, np.abs(np.asarray(expected, np.float64) - found)).max(initial=0.0)
    return float(difference / max(1.0, np.abs(expected[np.isfinite(expected)]).max(initial=0.0)))


def allowances(graph, inputs, outputs, by) -> dict[str, float]:
    """{output name: twice the float32 error of who answered}, as ``distance`` measures it; of the reference:
    of its float32 run.

    A framework's error is what it is off the float64 reference, as far as rounding explains that: of a
    network imported wrongly it is off as well, but far more than a float32 run of the reference is.
    """
    exact, rounded = (reference.run(graph, inputs, dtype=t)[0] for t in (np.float64, np.float32))
    rounding = {name: distance(exact[name], y) for name, y in rounded.items()}
    if by == "reference":
        return {name: 2 * error for name, error in rounding.items()}
    return {name: 2 * min(distance(exact[name], y), ROUNDING * rounding[name]) for name, y in outputs.items()}


def check(graph: Graph, inputs, outputs, made, by: str, tolerance: float = 1e-5) -> float:
    """The largest distance of ``made`` from ``outputs`` ({name: array} in the same axes); ``inputs`` are
    canonical.

    Raises VerificationError where an answer has another shape, where what ``by`` answered is not finite (it
    verifies nothing), and above both ``tolerance`` and what float32 allows (``allowances``).
    """
    errors = {}
    for name, wanted in outputs.items():
        where, y = f"output {name!r}", made[name]
        if wanted.shape != y.shape:
            raise VerificationError(
                "the answer has another shape", where=where, expected=str(wanted.shape), found=str(y.shape)
            )
        if not np.isfinite(wanted).all():
            raise VerificationError(
                "the sample's answer is not finite, so it verifies nothing",
                where=where,
                found=f"{np.isnan(wanted).sum()} NaN and {np.isinf(wanted).sum()} inf of {wanted.size:,} "
                f"numbers",
                fix="; ".join(not_finite(graph)) or None,
            )
        errors[name] = distance(wanted, y)
    if not all(error <= tolerance for error in errors.values()):
        allowed = allowances(graph, inputs, outputs, by)
        for name, error in errors.items():
            if not error <= max(tolerance, allowed[name]):
                raise VerificationError(
                    f"the answer of {by} is not reproduced",
                    where=f"output {name!r}",
                    expected=f"an error of at most {max(tolerance, allowed[name]):.2g}",
                    found=f"{error:.2g}",
                    fix=None
                    if by in (OWN, USER)
                    else "Please report it; convert(..., golden='reference') writes the file all the same.",
                )
    return max(errors.values())
