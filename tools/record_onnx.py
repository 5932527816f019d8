"""Records what both of PyTorch's ONNX exporters write of twelve networks, and what the networks answer:
tests/data/onnx_exports.tar.xz, which the tests read without PyTorch and ONNX.

    python tools/record_onnx.py [destination]

Needs torch, onnx and onnxscript; takes some minutes. Files are NETWORK.WAY.onnx: ``old11`` to ``old20`` of
the exporter over TorchScript, ``new18`` to ``new23`` of that over torch.export, an "s" behind it where all
sizes were fixed. NETWORK.npz holds float64 answers as float32, by "batch time output"; inputs are ``sample``.
Descriptions and paths that the exporters write are taken out.
"""

import io
import logging
import sys
import tarfile
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from onnx_exports import BATCHES, SHAPES, TIMES, WAYS, sample


class Lstm(nn.Module):
    def __init__(self, last=False, **options):
        super().__init__()
        self.rnn = nn.LSTM(5, 8, 2, batch_first=True, **options)
        self.fc, self.last = nn.Linear(16 if options else 8, 3), last

    def forward(self, x):
        y, _ = self.rnn(x)
        return self.fc(y[:, -1] if self.last else y)


class LstmStates(Lstm):
    def forward(self, x, h, c):
        y, (h, c) = self.rnn(x, (h, c))
        return self.fc(y), h, c


class Gru(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.fc = nn.GRU(5, 8, 2, batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        return self.fc(self.rnn(x)[1][-1])


class BidirectionalGru(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.fc = nn.GRU(5, 8, bidirectional=True), nn.Linear(16, 3)

    def forward(self, x):
        return self.fc(self.rnn(x)[0])


class Rnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.fc = nn.RNN(5, 8, nonlinearity="relu", batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        return self.fc(self.rnn(x)[1][0])


class CellLoop(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.fc = nn.LSTMCell(5, 8), nn.Linear(8, 3)

    def forward(self, x):
        h, c, made = x.new_zeros(x.size(0), 8), x.new_zeros(x.size(0), 8), []
        for t in range(x.size(1)):
            h, c = self.cell(x[:, t], (h, c))
            made.append(self.fc(h))
        return torch.stack(made, 1)


class HandGru(nn.Module):
    def __init__(self):
        super().__init__()
        self.i, self.h = nn.Linear(5, 24), nn.Linear(8, 24)

    def forward(self, x):
        h, made = x.new_zeros(x.shape[0], 8), []
        for t in range(x.shape[1]):
            a, b = self.i(x[:, t]).chunk(3, 1), self.h(h).chunk(3, 1)
            z, r = torch.sigmoid(a[0] + b[0]), torch.sigmoid(a[1] + b[1])
            h = (1 - z) * torch.tanh(a[2] + r * b[2]) + z * h
            made.append(h)
        return torch.stack(made, 1)


class Embedded(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.rnn = nn.Embedding(20, 6), nn.LSTM(6, 8, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(16, 3)

    def forward(self, x):
        _, (h, _) = self.rnn(self.table(x))
        return self.fc(torch.cat([h[0], h[1]], 1))


class Block(nn.Module):
    def __init__(self, inputs, outputs, dilation):
        super().__init__()
        norm, self.pad = nn.utils.parametrizations.weight_norm, 2 * dilation
        self.first = norm(nn.Conv1d(inputs, outputs, 3, dilation=dilation))
        self.second = norm(nn.Conv1d(outputs, outputs, 3, dilation=dilation))
        self.down = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x):
        y = F.relu(self.first(F.pad(x, (self.pad, 0))))
        return F.relu(F.relu(self.second(F.pad(y, (self.pad, 0)))) + self.down(x))


class Tcn(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(Block(5, 8, 1), Block(8, 8, 2), Block(8, 8, 4), nn.Conv1d(8, 3, 1))

    def forward(self, x):
        return self.blocks(x)


class ConvLstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv1d(5, 8, 8, stride=4, padding=2), nn.BatchNorm1d(8)
        self.rnn = nn.LSTM(8, 8, batch_first=True)
        self.up = nn.ConvTranspose1d(8, 5, 8, stride=4, padding=2)

    def forward(self, x):
        y = F.gelu(self.norm(self.conv(x))).transpose(1, 2)
        return self.up(self.rnn(y)[0].transpose(1, 2))


class NormGru(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.norm, self.rnn = nn.Linear(5, 8), nn.LayerNorm(8), nn.GRU(8, 8, batch_first=True)
        self.out = nn.Linear(8, 3)

    def forward(self, x):
        y, _ = self.rnn(self.norm(F.silu(self.fc(x))))
        return F.log_softmax(self.out(y.mean(1)), -1)


NETWORKS = {
    "lstm": Lstm,
    "lstm_last": lambda: Lstm(last=True, bidirectional=True),
    "lstm_states": LstmStates,
    "gru": Gru,
    "gru_both_ways": BidirectionalGru,
    "rnn": Rnn,
    "cell_loop": CellLoop,
    "hand_gru": HandGru,
    "embedded": Embedded,
    "tcn": Tcn,
    "conv_lstm": ConvLstm,
    "norm_gru": NormGru,
}


def module(name):
    torch.manual_seed(0)
    made = NETWORKS[name]().eval()
    for part in made.modules():
        if isinstance(part, nn.BatchNorm1d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
    return made


def exported(name, way, opset, fixed, path):
    """The file that an exporter writes, its descriptions taken out."""
    shapes = SHAPES[name]
    given = tuple(torch.from_numpy(x) for x in sample(name, 2, 8 if name == "conv_lstm" else 7))
    names = ["x", "h", "c"][: len(given)]
    open_axes = {
        n: {k: a for k, a in enumerate(shape.split()) if a in ("b", "t")} for n, shape in zip(names, shapes)
    }
    options = {"input_names": names, "opset_version": opset, "dynamo": way == "new"}
    options["output_names"] = ["y", "hn", "cn"][: len(given)]
    if way == "old":
        options["dynamic_axes"] = None if fixed else open_axes
    else:
        kinds = {"b": torch.export.Dim.DYNAMIC, "t": torch.export.Dim.AUTO}
        dims = tuple({k: kinds[a] for k, a in axes.items()} for axes in open_axes.values())
        options |= {"dynamic_shapes": None if fixed else dims, "external_data": False, "verbose": False}
    torch.onnx.export(module(name), given, path, **options)
    return _bare(onnx.load(path)).SerializeToString()


def _bare(model):
    """The model without what the exporter says about itself and this machine."""
    del model.metadata_props[:]
    _bare_graph(model.graph)
    return model


def _bare_graph(graph):
    graph.doc_string = ""
    del graph.value_info[:], graph.metadata_props[:]
    for item in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        item.doc_string = ""
        if hasattr(item, "metadata_props"):
            del item.metadata_props[:]
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _bare_graph(attribute.g)


def answers(name):
    """{"batch time output": float32} of the network in float64; without lengths it cannot take."""
    found = {}
    for batch in BATCHES:
        for time in TIMES:
            given = [torch.from_numpy(x) for x in sample(name, batch, time)]
            given = [x.double() if x.is_floating_point() else x for x in given]
            try:
                with torch.no_grad():
                    made = module(name).double()(*given)
            except RuntimeError:  # shorter than a window
                continue
            made = made if isinstance(made, tuple) else (made,)
            found |= {f"{batch} {time} {k}": y.float().numpy() for k, y in enumerate(made)}
    return found


def main(destination):
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    with tarfile.open(destination, "w:xz", preset=9) as archive, tempfile.TemporaryDirectory() as folder:

        def add(name, content):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))

        for name in NETWORKS:
            for way, opset, fixed in WAYS:
                path = Path(folder) / "m.onnx"
                add(f"{name}.{way}{opset}{'s' * fixed}.onnx", exported(name, way, opset, fixed, path))
            file = io.BytesIO()
            np.savez_compressed(file, **answers(name))
            add(f"{name}.npz", file.getvalue())
            print(name, flush=True)
    size = Path(destination).stat().st_size
    print(f"{destination}: {size:,} bytes, torch {torch.__version__}, onnx {onnx.__version__}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1] / "tests/data/onnx_exports.tar.xz")
