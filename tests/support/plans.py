"""Writes the files and samples of every case for the programs of tests/c, which run them without Python."""

from __future__ import annotations

import numpy as np
from record_hashes import CASES, SAMPLES
from sample_graphs import graph_with_every_layer

import rnnrt
from rnnrt import lowering
from rnnrt.format import file
from rnnrt.lowered import Lowered


def write(path):
    """For answers.c. Per case: its name in 64 bytes, the number of samples, and each sample with the .rnnrt
    file for its length.
    """
    with open(path, "wb") as opened:
        for case in CASES:
            model = rnnrt.Model(case.graph())
            answered = []
            for batch, frames in SAMPLES:
                try:
                    x = case.sample(batch, frames)
                    answered.append((x, model(x)))
                except rnnrt.ShapeError:
                    continue
            opened.write(case.name.encode().ljust(64, b"\0"))
            opened.write(np.int32(len(answered)).tobytes())
            for x, y in answered:
                made = y.shape[1] if y.ndim == 3 else 1
                width = x.shape[2] if x.ndim == 3 else 1
                sizes = [x.shape[0], x.shape[1], width, made, y.shape[-1], x.size]
                opened.write(np.array(sizes, np.int32).tobytes())
                opened.write(np.ascontiguousarray(x, "<f4").tobytes())
                content = file_of(case.graph(), x.shape[1])
                opened.write(np.int32(len(content) // 4).tobytes() + content)


def write_files(folder):
    """Writes a .rnnrt file of every case, and one of every layer; their paths."""
    graphs = {case.name: case.graph() for case in CASES} | {"every_layer": graph_with_every_layer()}
    for name, graph in graphs.items():
        (folder / f"{name}.rnnrt").write_bytes(file_of(graph, 20))
    return sorted(folder.iterdir())


def file_of(graph, length):
    """The bytes of a file of the graph; where it needs to know how long its input is, of one for ``length``
    frames.
    """
    if lowering.descs_of(graph)[2]:
        graph = lowering.with_length(graph, length)
    return b"".join(file.encode(graph, "a case", lower=Lowered))
