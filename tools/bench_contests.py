"""What tools/bench_peers.py times: networks on rnnrt and on a peer, which must give the same answer.

One function a peer and way of calling; it returns a Contest. What a peer needs is imported where it is used.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from case_layers import conv, dense, one, stack
from cases import Case

import rnnrt
from rnnrt import layers as L

ROOT = Path(__file__).resolve().parent.parent
FRAMES = 100  # of a whole sequence, and of the streams whose answers are compared


@dataclass(frozen=True)
class Contest:
    """What one row times: {label: call} of rnnrt, the peer's call, and how far the two answers are apart (see
    difference).
    """

    ours: dict
    theirs: object
    error: float


def recurrent_case(kind, units):
    """One layer of ``units`` that reads as many features, as stacked layers do."""
    return Case(f"{kind.kind}_{units}", one(kind, units), features=units)


def wavenet():
    """Eight causal dilated convolutions of 20 channels, and a 1x1 one to 10."""
    dilated = [
        lambda b, x, r, d=d: conv(b, x, r, 20, 2, dilation=d, padding=(d, 0), activation="relu")
        for d in (1, 2, 4, 8) * 2
    ]
    return Case("wavenet", stack(*dilated, lambda b, x, r: conv(b, x, r, 10, 1)), features=1)


def tcn():
    """Eight residual blocks relu(x + relu(conv(relu(conv(x))))) of 64 channels, dilated 1 to 128."""

    def block(b, x, r, dilation):
        y = x
        for _ in range(2):
            y = conv(b, y, r, 64, 3, dilation=dilation, padding=(2 * dilation, 0), activation="relu")
        return b.add(L.Activation, "relu", b.add(L.Add, "add", x, y), activation="relu")

    return Case("tcn", stack(*[partial(block, dilation=2**k) for k in range(8)]), features=64)


def wide_convolutions():
    def layer(b, x, r):
        return conv(b, x, r, 128, 3, padding="same", activation="relu")

    return Case("wide_convolutions", stack(*[layer] * 4), features=128)


def convolution(features, out, taps, groups=1):
    """One causal convolution."""
    name = f"conv_{features}_{out}_{taps}_{groups}"
    return Case(
        name,
        lambda b, x, r: conv(b, x, r, out, taps, groups=groups, padding=(taps - 1, 0)),
        features=features,
    )


def separable():
    """Eight depthwise convolutions of 64 channels, each followed by one of a single tap."""
    layers = [
        lambda b, x, r: conv(b, x, r, 64, 3, groups=64, padding=(2, 0)),
        lambda b, x, r: conv(b, x, r, 64, 1, activation="relu"),
    ]
    return Case("separable", stack(*layers * 8), features=64)


def strided():
    """Four convolutions of stride 2, from 1 channel to 32, 64, 64 and 64."""
    layers = [
        lambda b, x, r, n=n: conv(b, x, r, n, 4, stride=2, padding=(1, 1), activation="relu")
        for n in (32, 64, 64, 64)
    ]
    return Case("strided", stack(*layers), features=1)


def few_outputs():
    return Case("few_outputs", lambda b, x, r: dense(b, x, r, 4), features=128)


def difference(a, b):
    """The largest one, over the answer's size where that is above 1: the residual network's answers are in
    the thousands.
    """
    assert a.shape == b.shape, (a.shape, b.shape)
    return float(np.abs(a.astype(np.float64) - b).max() / max(1.0, np.abs(b).max()))


def stepped(stream, x):
    """Answers of ``stream`` to the frames of x (1, time, features): (1, time, features)."""
    return np.array([stream.step(frame) for frame in x[0]])[None]


def session_of(written):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(written.model, options, providers=["CPUExecutionProvider"])


def step_calls(model, frame):
    """{label: call}: one frame into a live stream, into a given array and into a fresh one."""
    into, fresh = model.stream(), model.stream()
    out = np.empty_like(into.step(frame))
    return {"step(x, out=y)": lambda: into.step(frame, out=out), "step(x)": lambda: fresh.step(frame)}


def onnx_step(case):
    import onnx_graphs

    graph = case.graph()
    model, written = rnnrt.from_graph(graph), onnx_graphs.step(graph)
    session, x = session_of(written), case.sample(1, FRAMES)
    names = [written.output, *(o for o in written.outputs if o != written.output)]
    back = [(names.index(f"{n}_out"), f"{n}_in") for n in written.states]

    def feed_of(frame):
        return {"x": frame.reshape(1, 1, -1)} | {
            f"{n}_in": np.zeros(shape, np.float32) for n, shape in written.states.items()
        }

    def step(feed):
        made = session.run(names, feed)
        for k, name in back:
            feed[name] = made[k]
        return made[0]

    feed, theirs = feed_of(x[0, 0]), []
    for frame in x[0]:
        feed["x"] = frame.reshape(1, 1, -1)
        theirs.append(step(feed).ravel())
    live = feed_of(x[0, 0])
    return Contest(
        step_calls(model, x[0, 0]),
        lambda: step(live),
        difference(stepped(model.stream(), x)[0], np.array(theirs)),
    )


def channels_first(graph):
    """The model with PyTorch's axes of a convolution, (batch, channels, time), in and out."""
    layers = [replace(x, axes="bft") if isinstance(x, L.Input) else x for x in graph.layers]
    return rnnrt.Model(rnnrt.Graph(layers, outputs=[replace(o, axes="bft") for o in graph.outputs]))


def onnx_whole(case, batch=1, frames=FRAMES):
    import onnx_graphs

    graph = case.graph()
    model, written = rnnrt.from_graph(graph), onnx_graphs.whole(graph, batch, frames)
    session, x = session_of(written), case.sample(batch, frames)
    feed = {"x": written.arranged(x)}
    ours = {"model(x)": lambda: model(x)}
    if (
        any(isinstance(layer, L.Conv1D) for layer in graph.layers)
        and graph.signals[graph.outputs[0].value].time
    ):
        first, turned = channels_first(graph), np.ascontiguousarray(x.transpose(0, 2, 1))
        ours["model(x) bft"] = lambda: first(turned)
    return Contest(
        ours,
        lambda: session.run(None, feed),
        difference(model(x), written.restored(session.run(None, feed)[0])),
    )


def torch_lstm(units, batch):
    import torch

    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    case = recurrent_case(L.LSTM, units)
    graph = case.graph()
    module, held = torch.nn.LSTM(units, units), graph["lstm"]
    weights = {
        "weight_ih_l0": held.weight,
        "weight_hh_l0": held.recurrent_weight,
        "bias_ih_l0": held.bias,
        "bias_hh_l0": 0 * held.bias,
    }
    module.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights.items()})
    model, x = rnnrt.from_graph(graph), case.sample(batch, FRAMES)
    time_major = torch.from_numpy(np.ascontiguousarray(x.transpose(1, 0, 2)))
    return Contest(
        {"model(x)": lambda: model(x)},
        lambda: module(time_major),
        difference(model(x), module(time_major)[0].numpy().transpose(1, 0, 2)),
    )


def keras_textbook(name):
    import torch
    from train_demo import network

    torch.set_num_threads(1)
    path = ROOT / "rnnrt" / "demo" / f"{name}.keras"
    model, x = (
        rnnrt.from_keras(path),
        np.random.default_rng(0).standard_normal((1, FRAMES, 1)).astype(np.float32),
    )
    with warnings.catch_warnings(
        action="ignore"
    ):  # of the textbook's own cell, which has its weights only after a first call
        theirs = network(name)
        theirs.predict(x, verbose=0)
    theirs.load_weights(path)
    return Contest(
        {"model(x)": lambda: model(x)},
        lambda: theirs.predict(x, verbose=0),
        difference(model(x), theirs.predict(x, verbose=0)),
    )


def on_blas(case, batch=None):
    """Our own kernels beside the same plan on SciPy's BLAS: one step where ``batch`` is None, else whole
    sequences.
    """
    native = rnnrt.from_graph(case.graph())
    blas = native.with_options(backend="blas")
    x = case.sample(batch or 1, FRAMES)
    if batch is None:
        call = "step(x, out=y)"
        theirs = step_calls(blas, x[0, 0])[call]
        return Contest(
            {call: step_calls(native, x[0, 0])[call]},
            theirs,
            difference(stepped(native.stream(), x), stepped(blas.stream(), x)),
        )
    return Contest({"model(x)": lambda: native(x)}, lambda: blas(x), difference(native(x), blas(x)))
