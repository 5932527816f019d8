"""Writes the plans and samples of every case for tests/c/answers.c, which runs them without Python."""

from __future__ import annotations

import numpy as np
from record_hashes import CASES, SAMPLES

import rnnrt
from rnnrt import _engine, lowering, passes

SIZES = [
    "input_size",
    "output_size",
    "timed",
    "units",
    "kernel_size",
    "stride",
    "dilation",
    "groups",
    "pad_left",
    "pad_right",
    "same",
    "length",
    "reverse",
    "reset_after",
    "norm",
    "count_padding",
    "per_step",
    "states",
    "mask",
    "masked_output",
]
ARRAYS = [
    "weight",
    "recurrent_weight",
    "bias",
    "recurrent_bias",
    "gamma",
    "beta",
    "projection",
    "mean",
    "start",
]
NONE = -1


def write(path):
    """Per case: its name in 64 bytes, the number of samples, and each sample with the plan for its length."""
    with open(path, "wb") as file:
        for case in CASES:
            model = rnnrt.Model(case.graph())
            answered = []
            for batch, frames in SAMPLES:
                try:
                    x = case.sample(batch, frames)
                    answered.append((x, model(x)))
                except rnnrt.ShapeError:
                    continue
            file.write(case.name.encode().ljust(64, b"\0"))
            file.write(np.int32(len(answered)).tobytes())
            for x, y in answered:
                made = y.shape[1] if y.ndim == 3 else 1
                width = x.shape[2] if x.ndim == 3 else 1
                words = [x.shape[0], x.shape[1], width, made, y.shape[-1], *array(x)]
                words += plan(passes.optimise(case.graph()), x.shape[1])
                file.write(np.array(words, np.int32).tobytes())


def plan(graph, length):
    """The words of a plan: its rows, then its outputs."""
    rows, outputs, needs_length = lowering.descs_of(graph)
    if needs_length:
        rows, outputs, _ = lowering.descs_of(lowering.with_length(graph, length))
    words = [len(rows)]
    for row in rows:
        words += [_engine.KINDS[row["kind"]], len(row["input"]), *row["input"]]
        ones = {"stride": 1, "dilation": 1, "groups": 1}
        words += [row.get(name, ones.get(name, 0)) for name in SIZES]
        for name in ("activation", "recurrent_activation"):
            function, parameter = row.get(name, ("linear", 0.0))
            words += [_engine.FUNCTIONS[function], *bits(parameter)]
        words += bits(row.get("epsilon", 0.0)) + bits(row.get("value", 0.0))
        for name in ARRAYS:
            words += array(row.get(name))
        words += array(row.get("index"), np.int32)
        words += [1, *plan(row["inner"], None)] if "inner" in row else [0]
    return [*words, len(outputs), *outputs]


def array(a, dtype=np.float32):
    if a is None:
        return [NONE]
    a = np.ascontiguousarray(a, dtype)
    return [a.size, *a.view(np.int32).ravel().tolist()]


def bits(number):
    return np.array([number], np.float32).view(np.int32).tolist()
