"""Models as values, checkpoints, typed programs, a wrong spec, practices that deserve a word."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
from outcome import Row, compare, need

import rnnrt


def rows(folder):
    yield from _values()
    yield from _practice()
    yield Row("use/a wrong spec is not blessed by verify", _wrong_spec)
    yield Row("use/a masked network is not cut silently", _mask_cut)
    yield Row("use/typed.py under mypy --strict", lambda: _typed(folder / "use" / "typed.py"), "may")
    yield Row("use/a gated stack as in NAM", _gated, "may")
    yield from _checkpoints()


def _keras(*layers, shape=(None, 3)):
    import keras

    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input(shape), *layers])


def _saved(model, name="m.keras"):
    model.save(name)
    return name


def _values():
    def model():
        from keras import layers as K

        embedding = K.Embedding(22, 16)
        made = _keras(embedding, K.Bidirectional(K.LSTM(32)), K.Dense(1), shape=(None,))
        return rnnrt.from_keras(_saved(made))

    x = np.random.default_rng(0).integers(1, 21, (4, 30))

    def same(function):
        first = model()
        return compare(function(first)(x), first(x), tolerance=0)

    def cloud(value):
        import cloudpickle

        return cloudpickle.loads(cloudpickle.dumps(value))

    def loky():
        import joblib

        first = model()
        results = joblib.Parallel(n_jobs=2)(joblib.delayed(first)(x) for _ in range(3))
        return compare(results[2], first(x), tolerance=0)

    def dumped():
        import joblib

        first = model()
        memory = io.BytesIO()
        joblib.dump(first, memory)
        memory.seek(0)
        return compare(joblib.load(memory)(x), first(x), tolerance=0)

    yield Row("use/pickle of a model", lambda: same(lambda m: pickle.loads(pickle.dumps(m))))
    yield Row("use/copy of a model", lambda: same(copy.copy))
    yield Row("use/deepcopy of a model", lambda: same(copy.deepcopy))
    yield Row("use/cloudpickle of a model", lambda: same(cloud))
    yield Row("use/joblib.dump of a model", dumped)
    yield Row("use/joblib.Parallel, loky", loky)

    def forward():
        from keras import layers as K

        return rnnrt.from_keras(_saved(_keras(K.LSTM(5, return_sequences=True)))).stream()

    def stream(function):
        return str(function(forward()))

    for name, function in (("pickle", pickle.dumps), ("copy", copy.copy), ("deepcopy", copy.deepcopy)):
        yield Row(f"use/{name} of a stream", lambda f=function: stream(f), "must", ("state",))

    def state():
        stream = forward()
        stream.push(np.ones((4, 3), np.float32))
        return f"{len(pickle.loads(pickle.dumps(stream.state)).to_bytes())} bytes"

    yield Row("use/pickle of a State", state)


def _wrong_spec():
    import torch
    from torch import nn

    torch.manual_seed(0)
    parts = {"rnn": nn.GRU(8, 32, batch_first=True), "norm": nn.LayerNorm(32), "fc": nn.Linear(32, 3)}
    state = {f"{p}.{k}": v for p, part in parts.items() for k, v in part.state_dict().items()}
    model = rnnrt.from_torch(state, spec="rnn: GRU\nlast\nnorm: LayerNorm\nrelu\nfc: Linear")
    x = torch.randn(4, 20, 8)
    with torch.no_grad():
        y = parts["fc"](parts["norm"](parts["rnn"](x)[0][:, -1]))
    said = " ".join(model.assumptions)
    need("not compared" in said, f"model.assumptions do not say that nothing was compared: {said}")
    try:
        model.verify(x.numpy(), y.numpy())
    except rnnrt.VerificationError as error:
        return f"verify(x, y): {error}"
    need(False, "verify(x, y) of another network's answer passed")


def _mask_cut():
    from keras import layers as K

    layers = K.Embedding(50, 8, mask_zero=True), K.GRU(9, return_sequences=True), K.GRU(7)
    network = _keras(*layers, shape=(None,))
    path = _saved(network, "masked.keras")
    ids = np.random.default_rng(1).integers(1, 50, (4, 12))
    ids[:, 7:] = 0
    expected = np.asarray(network.predict(ids, verbose=0))
    try:
        return compare(rnnrt.from_keras(path)(ids), expected)
    except rnnrt.UnsupportedModelError as error:
        text = str(error)
    try:
        model = rnnrt.from_keras(path, inputs=[network.layers[1].name])
    except rnnrt.RnnrtError as error:
        return f"the cut is refused: {error}"
    said = " ".join(model.assumptions)
    need("mask" in said, f"the cut drops the mask without a word (the refusal said: {text})")
    return f"said: {said}"


def _typed(path):
    command = [sys.executable, "-m", "mypy", "--strict", str(path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    need("No module named mypy" not in done.stderr, "mypy is not installed")
    text = path.read_text().splitlines()
    planted = {k for k, line in enumerate(text, 1) if "bad: int" in line or "every_stp" in line}
    found = {int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line}
    need(found == planted, f"errors in lines {sorted(found)}, planted in {sorted(planted)}: {done.stdout}")
    return f"only its deliberate mistakes, in lines {sorted(planted)}"


def _gated():
    import torch
    from torch import nn

    class Layer(nn.Module):
        def __init__(self, channels, dilation):
            super().__init__()
            self.conv = nn.Conv1d(channels, 2 * channels, 3, dilation=dilation)
            self.mix, self.one = nn.Conv1d(1, 2 * channels, 1), nn.Conv1d(channels, channels, 1)
            self.pad = (2 * dilation, 0)

        def forward(self, x, given):
            z = self.conv(nn.functional.pad(x, self.pad)) + self.mix(given)
            a, b = z.chunk(2, 1)
            z = torch.tanh(a) * torch.sigmoid(b)
            return x + self.one(z), z

    class Stack(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = nn.Conv1d(1, 8, 1), nn.Conv1d(8, 1, 1)
            self.layers = nn.ModuleList(Layer(8, 2**k) for k in range(6))

        def forward(self, x):
            h, skip = self.first(x), 0
            for layer in self.layers:
                h, z = layer(h, x)
                skip = skip + z
            return self.head(skip)

    stack, x = Stack().eval(), torch.randn(1, 1, 500)
    with torch.no_grad():
        return compare(rnnrt.from_torch(stack)(x.numpy()), stack(x).numpy())


def _checkpoints():
    """What Lightning's checkpoints hold beside the weights."""
    import argparse
    import collections
    import datetime
    import enum
    import functools

    import torch
    from torch import nn

    torch.manual_seed(0)
    parts = {"rnn": nn.GRU(8, 16, batch_first=True), "fc": nn.Linear(16, 3)}
    state = {f"{p}.{k}": v for p, part in parts.items() for k, v in part.state_dict().items()}
    x = torch.randn(4, 20, 8)
    with torch.no_grad():
        y = parts["fc"](parts["rnn"](x)[0][:, -1]).numpy()
    mode = enum.Enum("Mode", {"A": 1}, module="__main__")
    sys.modules["__main__"].Mode = mode
    extras = {
        "plain": {"hidden": 32, "lr": 1e-3},
        "namespace": argparse.Namespace(hidden=32),
        "numpy float": {"lr": np.float64(1e-3)},
        "numpy array": {"mean": np.zeros(3)},
        "enum": {"m": mode.A},
        "partial": {"opt": functools.partial(torch.optim.AdamW, lr=1e-3)},
        "dtype": {"d": torch.float32, "dev": torch.device("cpu"), "s": torch.Size([1])},
        "defaultdict": {"d": collections.defaultdict(list)},
        "counter": {"d": collections.Counter("a")},
        "loss": {"criterion": nn.CrossEntropyLoss()},
        "set": {"d": {1, 2}, "t": datetime.datetime.now(), "c": complex(1, 2), "r": range(3)},
        "path": {"out": Path("runs")},
    }
    for name, extra in extras.items():

        def run(name=name, extra=extra):
            path = f"{name.replace(' ', '_')}.ckpt"
            torch.save({"state_dict": state, "epoch": 1, "hyper_parameters": extra}, path)
            model = rnnrt.from_torch(path, spec="rnn: GRU\nlast\nfc: Linear")
            return compare(model(x.numpy()), y)

        yield Row(f"use/a checkpoint with {name}", run, "may")


def _practice():
    import torch
    from keras import layers as K
    from torch import nn

    def said(model, *words):
        text = " ".join(model.assumptions)
        need(any(word in text.lower() for word in words), f"not a word of {' or '.join(words)}: {text!r}")
        need(words[0] in model.summary().lower() or text[:40] in model.summary(), "summary() does not say it")
        return text

    def untrained():
        norm, lstm = nn.BatchNorm1d(3), nn.LSTM(3, 8, batch_first=True)
        state = {f"bn.{k}": v.numpy() for k, v in norm.state_dict().items()}
        state |= {f"l.{k}": v.numpy() for k, v in lstm.state_dict().items()}
        return said(rnnrt.from_torch(state, spec="bn: BatchNorm1d\nl: LSTM"), "trained", "statistics")

    def stateful():
        import keras

        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input(batch_shape=(2, 9, 3)), K.LSTM(5, stateful=True), K.Dense(1)])
        return said(rnnrt.from_keras(_saved(model, "stateful.keras")), "stateful")

    def no_bias():
        model = _keras(K.GRU(5, reset_after=False, use_bias=False), shape=(9, 3))
        model.save_weights("g.weights.h5")
        return said(rnnrt.from_keras("g.weights.h5", spec="GRU use_bias=False"), "reset_after")

    def unscaled():
        model = _keras(K.Normalization(mean=[1.0, 2, 3], variance=[4.0, 5, 6]), K.LSTM(4), shape=(9, 3))
        return compare(
            rnnrt.from_keras(_saved(model, "n.keras"))(np.ones((2, 9, 3), np.float32)),
            np.asarray(model.predict(np.ones((2, 9, 3), np.float32), verbose=0)),
        )

    def not_finite():
        lstm = nn.LSTM(3, 8, batch_first=True)
        with torch.no_grad():
            lstm.weight_hh_l0[0, 0] = float("nan")
        state = {f"l.{k}": v.numpy() for k, v in lstm.state_dict().items()}
        model = rnnrt.from_torch(state, spec="l: LSTM")
        text = said(model, "nan", "finite")
        try:
            model.verify()
        except rnnrt.VerificationError:
            return text
        need(False, "verify() of a network with NaN weights passed")

    yield Row("use/a batch norm that was never trained", untrained)
    yield Row("use/stateful=True", stateful)
    yield Row("use/a GRU without bias, reset_after not said", no_bias, "may", ("reset_after",))
    yield Row("use/Normalization with given statistics", unscaled, "may", ("Normalization",))
    yield Row("use/weights with NaN", not_finite)

    def one_nan():
        from rnnrt import layers as L

        builder = L.GraphBuilder()
        x = builder.input("x", (1,))
        rng = np.random.default_rng(0)
        weights = {
            "weight": rng.standard_normal((32, 1)),
            "recurrent_weight": rng.standard_normal((32, 8)) / 4,
        }
        builder.output("y", builder.add(L.LSTM, "l", x, **weights))
        stream = rnnrt.from_graph(builder.graph()).stream(batch_size=2)
        frames = np.ones((2, 5, 1), np.float32)
        frames[1, 2] = np.nan
        stream.push(frames)
        need(hasattr(stream, "finite"), "stream.finite is not there yet")
        need(list(stream.finite) == [True, False], f"stream.finite is {stream.finite}")
        stream.reset(rows=[1])
        need(
            np.isfinite(stream.push(np.ones((2, 5, 1), np.float32))).all(),
            "reset(rows=) did not bring it back",
        )
        return "stream.finite says which row"

    yield Row("use/one NaN frame", one_nan)
