"""Records what torch.export.save writes of the networks of record_onnx.py and of some that step:
tests/data/pt2_VERSION.tar.xz, which the tests read without PyTorch. What the networks answer is in
onnx_exports.tar.xz.

    python tools/record_pt2.py [NETWORK ...]

Needs torch and onnx. Files are NETWORK.WAY.pt2: ``fixed`` with the sizes of an example (batch 2, 7 frames),
``open`` with what torch.export can leave open. STEP.npz holds the answers of the networks that step. Sample
inputs, which are pickles, and stack traces are taken out.
"""

import io
import json
import logging
import sys
import tarfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import torch
from record_onnx import NETWORKS, module, sample
from torch import nn

WAYS = ("fixed", "open")
_LEFT_OUT = ("sample_inputs/", "serialized_example_inputs", "serialization_id")


class Cells(nn.Module):
    """One step of a GRU and of an RNN on it."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.GRUCell(5, 8), nn.RNNCell(8, 6, nonlinearity="relu")
        self.fc = nn.Linear(6, 3)

    def forward(self, x, h, k):
        h = self.first(x, h)
        k = self.second(h, k)
        return {"y": self.fc(k), "h": h, "k": k}


class StackedCells(nn.Module):
    """One step of two LSTMs whose states come as one tensor."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.fc = nn.LSTMCell(5, 8), nn.LSTMCell(8, 8), nn.Linear(8, 3)

    def forward(self, x, h, c):
        a, b = self.first(x, (h[0], c[0]))
        p, q = self.second(a, (h[1], c[1]))
        return self.fc(p), torch.stack([a, p]), torch.stack([b, q])


STEPS = {"cells": (Cells, [(8,), (6,)], 0), "stacked_cells": (StackedCells, [(2, 8), (2, 8)], 1)}


def stepping(name):
    torch.manual_seed(0)
    return STEPS[name][0]().eval()


def state_of(name, batch):
    """States that are zero."""
    _, shapes, place = STEPS[name]
    return [torch.zeros((*s[:place], batch, *s[place:])) for s in shapes]


def exported(network, given, way):
    """What torch.export.save writes, without what it says of this machine."""
    auto = torch.export.Dim.AUTO
    sizes = torch.utils._pytree.tree_map(lambda x: {k: auto for k in range(x.ndim)}, given)
    held = io.BytesIO()
    program = torch.export.export(network, given, dynamic_shapes=sizes if way == "open" else None)
    torch.export.save(program, held)
    return _bare(held)


def _bare(held):
    made = io.BytesIO()
    with zipfile.ZipFile(held) as source, zipfile.ZipFile(made, "w") as copy:
        for name in source.namelist():
            content = source.read(name)
            if any(word in name for word in _LEFT_OUT):
                continue
            if name.endswith("model.json") or name == "serialized_exported_program.json":
                content = json.dumps(_without_traces(json.loads(content))).encode()
            copy.writestr(zipfile.ZipInfo(name), content)
    return made.getvalue()


def _without_traces(tree):
    if isinstance(tree, dict):
        private = ("stack_trace", "from_node", "nn_module_stack", "source_fn_stack", "torch_fn")
        return {key: _without_traces(value) for key, value in tree.items() if key not in private}
    return [_without_traces(item) for item in tree] if isinstance(tree, list) else tree


def steps(name):
    """{"x": (frames, batch, 5), "y": the answers to them one after the other}."""
    network, state = stepping(name), state_of(name, 2)
    x, answers = torch.randn(6, 2, 5, generator=torch.Generator().manual_seed(1)), []
    for frame in x:
        with torch.no_grad():
            made = network(frame, *state)
        made = list(made.values()) if isinstance(made, dict) else list(made)
        answers.append(made[0].numpy())
        state = made[1:]
    return {"x": x.numpy(), "y": np.stack(answers)}


def main(names):
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    version = ".".join(torch.__version__.split(".")[:2])
    destination = Path(__file__).parents[1] / f"tests/data/pt2_{version}.tar.xz"
    with tarfile.open(destination, "w:xz", preset=9) as archive:

        def add(name, content):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))

        for name in names or (*NETWORKS, *STEPS):
            for way in WAYS:
                if name in STEPS:
                    given = (torch.randn(2, 5), *state_of(name, 2))
                    add(f"{name}.{way}.pt2", exported(stepping(name), given, way))
                    continue
                given = tuple(torch.from_numpy(x) for x in sample(name, 2, 8 if name == "conv_lstm" else 7))
                add(f"{name}.{way}.pt2", exported(module(name), given, way))
            if name in STEPS:
                file = io.BytesIO()
                np.savez_compressed(file, **steps(name))
                add(f"{name}.npz", file.getvalue())
            print(name, flush=True)
    print(f"{destination}: {destination.stat().st_size:,} bytes, torch {torch.__version__}")


if __name__ == "__main__":
    main(sys.argv[1:])
