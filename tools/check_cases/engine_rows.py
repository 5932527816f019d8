"""Graphs built by hand: digits, states, delays, fixed lengths, long calls, plans that took too long."""

from __future__ import annotations

import io
import json
import resource
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
from outcome import Row, compare, need

import rnnrt
from rnnrt import layers as L
from rnnrt import reference

RNG = np.random.default_rng(0)


def _weights(*shape):
    return (RNG.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)


def _model(*layers, width=2, length=None):
    """A model of one input and the given (kind, fields) in a row."""
    builder = L.GraphBuilder()
    value = builder.input("x", (width,), length=length)
    for k, (kind, fields) in enumerate(layers):
        value = builder.add(kind, f"l{k}", value, **fields)
    builder.output("y", value)
    return rnnrt.from_graph(builder.graph())


def rows(folder):
    yield from _digits(folder)
    yield from _states()
    yield from _time()
    yield from _calls()
    yield from _plans()


# ---- digits ------------------------------------------------------------------------------------------------


def _digits(folder):
    for mean, std in ((100, 1), (1013, 5), (1000, 1), (1e4, 1), (290, 10), (30, 3)):

        def run(mean=mean, std=std):
            builder = L.GraphBuilder()
            x = builder.input("x", (16,))
            statistics = {"mean": np.full(16, mean), "variance": np.full(16, std**2)}
            norm = builder.add(L.BatchNormalization, "bn", x, **statistics)
            builder.output("y", builder.add(L.Dense, "fc", norm, weight=_weights(32, 16)))
            graph = builder.graph()
            given = (RNG.standard_normal((4, 50, 16)) * std + mean).astype(np.float32)
            expected = reference.run(graph, {"x": given})[0]["y"]
            scale = (1 / np.sqrt(graph["bn"].variance + np.float32(1e-3))).astype(np.float32)
            plain = ((given - graph["bn"].mean) * scale) @ graph["fc"].weight.T
            return _within(rnnrt.from_graph(graph)(given), plain, expected)

        yield Row(f"engine/batch norm, mean {mean:g} std {std:g}, then Dense", run)

    for mean, std in ((100, 1), (1000, 1), (1000, 0.1)):

        def run(mean=mean, std=std):
            import torch

            convolution, norm = torch.nn.Conv1d(64, 32, 3), torch.nn.BatchNorm1d(32)
            convolution.bias.data += mean
            norm.running_mean.copy_(convolution.bias.data)
            norm.running_var.fill_(std * std)
            module = torch.nn.Sequential(convolution, norm).eval()
            given = torch.from_numpy((RNG.standard_normal((4, 64, 50)) * std).astype(np.float32))
            model = rnnrt.from_torch(module)
            with torch.no_grad():
                plain, expected = module(given).numpy(), module.double()(given.double()).numpy()
            return _within(model(given.numpy()), plain, expected)

        yield Row(f"engine/Conv1d, then batch norm, mean {mean:g} std {std:g}", run)

    capture = folder.parent / "models" / "wild" / "byod_fuzz15.json"
    if capture.exists():
        yield Row("engine/an amp of high gain, 12 inputs", lambda: _amp(json.loads(capture.read_text())))


def _within(found, plain, expected):
    """Promise 1: the error against float64 is at most 1e-5 or twice that of plain float32."""
    error, theirs = np.abs(found - expected).max(), np.abs(plain - expected).max()
    allowed = max(1e-5, 2 * theirs)
    need(error <= allowed, f"error {error:.1e}, allowed {allowed:.1e}")
    return f"error {error:.1e}, allowed {allowed:.1e}"


def _amp(capture):
    import torch

    torch.set_num_threads(1)
    state = {name: torch.tensor(values) for name, values in capture["state_dict"].items()}
    inputs, units = capture["model_data"]["input_size"], state["rec.weight_hh_l0"].shape[1]
    lstm = torch.nn.LSTM(inputs, units, batch_first=True)
    lstm.load_state_dict({k.removeprefix("rec."): v for k, v in state.items() if k.startswith("rec.")})
    model = rnnrt.from_torch({k: v.numpy() for k, v in state.items()}, spec="rec: LSTM\nlin: Linear")
    worst = 0.0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        t = np.arange(6000) / 48000
        pitch = 82 * 2 ** rng.uniform(0, 2)
        wave = rng.uniform(0.1, 0.9) * np.sin(2 * np.pi * pitch * t) * np.exp(-3 * t)
        x = (wave + 0.02 * rng.standard_normal(6000)).astype(np.float32)[:, None]
        x = np.concatenate([x, np.full((6000, inputs - 1), rng.uniform(0, 1), np.float32)], 1)

        def answer(dtype, x=x):
            with torch.no_grad():
                h = lstm.to(dtype)(torch.from_numpy(x[None]).to(dtype))[0][0]
                return torch.nn.functional.linear(
                    h, state["lin.weight"].to(dtype), state["lin.bias"].to(dtype)
                )

        expected, plain = answer(torch.float64).numpy(), answer(torch.float32).numpy()
        error, theirs = np.abs(model(x) - expected).max(), np.abs(plain - expected).max()
        worst = max(worst, error / max(1e-5, 2 * theirs))
    need(worst <= 1, f"{worst:.2f} times the promised error")
    return f"{worst:.2f} of the promised error"


# ---- states ------------------------------------------------------------------------------------------------


def _lstm(width=1, units=3):
    weights = {"weight": _weights(4 * units, width), "recurrent_weight": _weights(4 * units, units)}
    return (L.LSTM, weights)


def _states():
    def foreign():
        stream = _model(_lstm(2)).stream()
        said = []
        for value in (
            range(64),
            [0] * 64,
            "a" * 64,
            bytearray(64),
            np.zeros(64, np.uint8),
            3,
            None,
            object(),
        ):
            try:
                stream.state = value
            except rnnrt.RnnrtError as error:
                said.append(type(error).__name__)
            else:
                need(False, f"a state of {type(value).__name__} was taken")
        return ", ".join(sorted(set(said)))

    def forged():
        """A State whose bytes were exchanged by hand."""
        model = _model(_lstm(2))
        stream = model.stream()
        state = stream.state
        names = [
            n for n in dir(state) if not n.startswith("__") and isinstance(getattr(state, n, None), bytes)
        ]
        for name in names:
            try:
                setattr(state, name, range(len(getattr(state, name))))
                stream.state = state
            except (rnnrt.RnnrtError, AttributeError, TypeError) as error:
                need(
                    isinstance(error, (rnnrt.RnnrtError, AttributeError)), f"{type(error).__name__}: {error}"
                )
        return f"{len(names)} fields tried"

    def edited():
        model, x = _model(_lstm()[0:2], width=1), RNG.standard_normal((6, 1)).astype(np.float32)
        h, c = np.full(3, 0.5, np.float32), np.full(3, 0.25, np.float32)
        expected = model(x, initial_state={"l0/h": h, "l0/c": c})
        stream = model.stream()
        state = stream.state
        state.arrays()["l0/h"][:], state.arrays()["l0/c"][:] = h, c
        stream.state = state
        first = compare(stream.push(x), expected, "as stream.state", 0)
        return f"{first}; {compare(model(x, initial_state=state), expected, 'as initial_state', 0)}"

    gru = (L.GRU, {"weight": _weights(12, 3), "recurrent_weight": _weights(12, 4)})
    windowed = lambda: _model((L.Conv1D, {"weight": _weights(3, 3, 2), "padding": (2, 0)}), gru)
    x = RNG.standard_normal((20, 2)).astype(np.float32)

    def without_windows():
        model = windowed()
        _, state = model(x[:10], return_state=True)
        stream = model.stream()
        stream.state = state
        return compare(stream.push(x[10:]), model(x)[10:])

    def with_windows():
        model = windowed()
        stream = model.stream()
        stream.push(x[:10])
        return compare(model(x[10:], initial_state=stream.state), model(x)[10:])

    def flipped():
        model = windowed()
        stream = model.stream()
        stream.push(x[:10])
        data = stream.state.to_bytes()
        for _ in range(2000):
            at, bit = RNG.integers(len(data)), 1 << int(RNG.integers(8))
            broken = data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]
            try:
                stream.state = rnnrt.State.from_bytes(broken)
            except rnnrt.RnnrtError:
                continue
            need(False, f"bytes with bit {bit} of byte {at} turned were taken")
        return "2,000 flipped bits refused"

    yield Row("engine/stream.state = another type", foreign)
    yield Row("engine/a State with forged bytes", forged)
    yield Row("engine/an edited State", edited)
    says = ("window", "remembers frames")
    yield Row("engine/a State without windows, as stream.state", without_windows, "must", says)
    yield Row("engine/a stream's State, as initial_state", with_windows, "may", ("window", "state"))
    yield Row("engine/State bytes with one bit turned", flipped)


# ---- time --------------------------------------------------------------------------------------------------


def _time():
    strided = (
        {"taps": 5, "stride": 4, "padding": (1, 1)},
        {"taps": 5, "stride": 3, "padding": (2, 2)},
        {"taps": 4, "stride": 2, "padding": (1, 2)},
        {"taps": 3, "stride": 5, "padding": (0, 2)},
        {"taps": 8, "stride": 3, "padding": (0, 7)},
        {"taps": 41, "dilation": 25, "padding": (500, 500)},
    )
    for fields in strided:

        def run(fields=fields):
            fields = dict(fields)
            taps = fields.pop("taps")
            model = _model((L.Conv1D, {"weight": _weights(1, taps, 1), **fields}), width=1)
            return _delay(model, taps * fields.get("dilation", 1) + 40)

        yield Row(f"engine/delay of {fields}", run)
    for residual in (False, True):
        for count in (2, 9, 12):

            def run(residual=residual, count=count):
                builder = L.GraphBuilder()
                value = builder.input("x", (2,))
                weight = np.full((2, 41, 2), 0.01, np.float32)
                for k in range(count):
                    name = f"c{k}"
                    made = builder.add(L.Conv1D, name, value, weight=weight, dilation=25, padding=(500, 500))
                    value = builder.add(L.Add, f"a{k}", value, made) if residual else made
                builder.output("y", value)
                delay = rnnrt.from_graph(builder.graph()).delay
                need(delay == count * 500, f"delay {delay}, it looks {count * 500} frames ahead")
                return f"delay {delay}"

            yield Row(f"engine/delay of {count} wide convolutions{', residual' * residual}", run)

    def fixed():
        fields = {"weight": _weights(3, 4, 2), "stride": 2, "padding": "same"}
        stream = _model((L.Conv1D, fields), length=10).stream()
        stream.push(_weights(7, 2))
        return str(stream.flush().shape)

    def two_inputs():
        builder = L.GraphBuilder()
        x, z = builder.input("x", (2,)), builder.input("z", (2,), length=5)
        pooled = builder.add(L.MaxPool1D, "p", x, size=3, stride=2, padding="same")
        both = builder.add(L.Last, "l", pooled), builder.add(L.Flatten, "f", z)
        builder.output("y", builder.add(L.Concatenate, "cat", *both))
        model = rnnrt.from_graph(builder.graph())
        given = {"x": _weights(1, 9, 2), "z": _weights(1, 5, 2)}
        return compare(model(*given.values()), reference.run(model.graph, given)[0]["y"])

    def encoder():
        builder = L.GraphBuilder()
        source, target = builder.input("enc", (3,)), builder.input("dec", (4,))
        builder.add(L.LSTM, "e", source, weight=_weights(20, 3), recurrent_weight=_weights(20, 5))
        weights = {"weight": _weights(20, 4), "recurrent_weight": _weights(20, 5)}
        builder.output("y", builder.add(L.LSTM, "d", target, "e:h", "e:c", **weights))
        model = rnnrt.from_graph(builder.graph())
        given = {"enc": _weights(1, 9, 3), "dec": _weights(1, 5, 4)}
        return compare(model(*given.values()), reference.run(model.graph, given)[0]["y"])

    def short(join):
        builder = L.GraphBuilder()
        x = builder.input("x", (2,))
        value = builder.add(L.Last, "last", builder.add(L.Conv1D, "c", x, weight=np.ones((2, 3, 2))))
        if join:
            value = builder.add(L.Concatenate, "cat", value, builder.input("z", (3,), time=False))
        builder.output("y", value)
        stream = rnnrt.from_graph(builder.graph()).stream(**({"inputs": {"z": np.ones(3)}} if join else {}))
        stream.push(np.ones((2, 2), np.float32))
        return str(stream.flush().shape)

    def step_out():
        builder = L.GraphBuilder()
        x = builder.input("x", (2,))
        builder.output("a", x)
        builder.output("b", builder.add(L.Dense, "d", x, weight=_weights(2, 2)))
        stream = rnnrt.from_graph(builder.graph()).stream()
        return str(stream.step(np.zeros(2, np.float32), out=3))

    yield Row("engine/7 frames into a stream of length 10", fixed, "must", ("10", "length"))
    yield Row("engine/two inputs, one of fixed length", two_inputs)
    yield Row("engine/encoder and decoder of different length", encoder, "may", ("length",))
    yield Row(
        "engine/too short a stream, beside an input without time", lambda: short(True), "may", ("short",)
    )
    yield Row("engine/too short a stream", lambda: short(False), "may", ("short",))
    yield Row("engine/step(out=3) of two outputs", step_out, "must", ("out",))


def _delay(model, longest):
    """``delay`` against its definition: the smallest d such that, for every t, the running stream has after t
    + d frames emitted all that a flush after t would have."""
    running, flushed = [], []
    for frames in range(1, longest):
        stream = model.stream()
        running.append(len(stream.push(np.zeros((frames, 1), np.float32))))
        try:
            flushed.append(running[-1] + len(stream.flush()))
        except rnnrt.RnnrtError:
            flushed.append(0)
    usable = longest // 2
    expected = next(d for d in range(usable) if all(running[t + d] >= flushed[t] for t in range(usable)))
    need(model.delay == expected, f"delay {model.delay}, it is {expected}")
    return f"delay {expected}"


# ---- calls -------------------------------------------------------------------------------------------------

_INTERRUPTED = """
import numpy as np, os, signal, sys, threading, time
import rnnrt
from rnnrt import layers as L
rng = np.random.default_rng(0)
w = lambda *s: (rng.standard_normal(s) / np.sqrt(s[-1])).astype(np.float32)
b = L.GraphBuilder(); y = b.input("x", (64,))
b.output("y", b.add(L.LSTM, "l", y, weight=w(1024, 64), recurrent_weight=w(1024, 256), reverse=REVERSE))
m = rnnrt.from_graph(b.graph()); x = w(60000, 64); asked = []
def ask():
    time.sleep(0.3); asked.append(time.time()); os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=ask).start()
try:
    CALL
except KeyboardInterrupt:
    print(time.time() - asked[0]); sys.exit(0)
print("finished")
"""


def _interrupted(call, reverse=False):
    code = textwrap.dedent(_INTERRUPTED).replace("CALL", call).replace("REVERSE", str(reverse))
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    need(done.returncode == 0, (done.stderr or "no output").strip().splitlines()[-1])
    text = done.stdout.strip()
    need(text != "finished", "the call finished before the signal")
    need(float(text) < 0.3, f"answered after {float(text):.2f} s")
    return f"answered after {float(text):.2f} s"


def _stall(model, chunk, width):
    """The longest time for which another Python thread stood still during push(out=)."""
    stream, out = model.stream(), np.empty((len(chunk), width), np.float32)
    gaps, stop = [], threading.Event()

    def tick():
        last = time.perf_counter()
        while not stop.is_set():
            time.sleep(0.001)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    thread = threading.Thread(target=tick)
    thread.start()
    time.sleep(0.1)
    gaps.clear()
    start = time.perf_counter()
    stream.push(chunk, out=out)
    seconds = time.perf_counter() - start
    stop.set()
    thread.join()
    need(max(gaps, default=0) < max(0.1, seconds / 4), f"a stall of {max(gaps):.2f} s in {seconds:.2f} s")
    return f"{seconds:.2f} s, longest stall {max(gaps, default=0):.2f} s"


def _calls():
    yield Row("engine/Ctrl-C in a call", lambda: _interrupted("m(x)"))
    yield Row("engine/Ctrl-C in a call of a backward LSTM", lambda: _interrupted("m(x)", True))
    yield Row("engine/Ctrl-C in push", lambda: _interrupted("m.stream().push(x)"))

    def pooling():
        model = _model((L.AveragePool1D, {"size": 50, "stride": 1}), width=256)
        return _stall(model, np.zeros((20000, 256), np.float32), 256)

    yield Row("engine/the GIL during push of a pooling", pooling)

    def idle():
        model = _model(_lstm(16, 256), (L.Last, {}), width=16)
        x = np.zeros((8000, 3, 16), np.float32)
        model(x[:1])
        before = _resident()
        threads = [threading.Thread(target=lambda: model(x)) for _ in range(8)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        kept = _resident() - before
        need(kept < 100, f"{kept:.0f} MiB kept after eight calls at once")
        return f"{kept:.0f} MiB kept"

    yield Row("engine/memory kept by idle calls", idle)


def _resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


# ---- plans -------------------------------------------------------------------------------------------------


def _plans():
    for levels, stride in ((4, 2), (8, 2), (6, 3), (12, 2)):

        def run(levels=levels, stride=stride):
            builder = L.GraphBuilder()
            value = builder.input("x", (4,))
            for k in range(levels):
                pools = [
                    builder.add(kind, f"p{k}{kind.kind}", value, size=2, stride=stride)
                    for kind in (L.MaxPool1D, L.AveragePool1D)
                ]
                value = builder.add(L.Add, f"a{k}", *pools)
            builder.output("y", value)
            graph, start = builder.graph(), time.perf_counter()
            model = rnnrt.from_graph(graph)
            seconds = time.perf_counter() - start
            need(seconds < 0.1, f"planned in {seconds:.2f} s")
            need(model.streamable, "does not stream")
            return f"planned in {seconds * 1e3:.1f} ms"

        yield Row(f"engine/{levels} joined levels of pooling, stride {stride}", run)

    def lengths():
        fields = {"weight": _weights(64, 5, 40), "stride": 2, "padding": "same"}
        gru = lambda width: (
            L.GRU,
            {"weight": _weights(1536, width), "recurrent_weight": _weights(1536, 512)},
        )
        model = _model((L.Conv1D, fields), gru(64), gru(512), (L.Last, {}), width=40)
        x = _weights(130, 40)
        seconds = lambda frames: _seconds(lambda: model(x[:frames]))
        one = min(seconds(129) for _ in range(8))
        many = sorted(seconds(frames) for frames in range(100, 130))[15]
        need(many < 1.5 * one + 0.002, f"a new length {many * 1e3:.1f} ms, a known one {one * 1e3:.1f} ms")
        return f"a new length {many * 1e3:.1f} ms, a known one {one * 1e3:.1f} ms"

    yield Row("engine/a new length with strided 'same'", lengths)

    def heap():
        import h5py

        from rnnrt.importers.containers import hdf5

        memory = io.BytesIO()
        with h5py.File(memory, "w") as file:
            file.attrs["backend"] = "tensorflow"
            file["w"] = np.zeros(4, "f4")
        data = bytearray(memory.getvalue())
        heap = data.find(b"GCOL\x01")
        with h5py.File(io.BytesIO(data), "r") as file:
            at = file["w"].id.get_offset()
        data[at : at + 16] = np.array([0x7F000000, heap, 0, 1], "<u4").tobytes()
        hdf5.read(bytes(data), "f.h5")
        return "read"

    yield Row("engine/HDF5 weights that look like a heap reference", heap)


def _seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
