"""Who runs the work of tools/bench_peers.py, and in which forms: rnnrt first, then its peers.

One function a contender, which returns its forms, {how it is called: Form}. A peer reads the network from
what tools/onnx_graphs.py writes, or is built here of its own layers with the same weights, and has everything
done beforehand that a user can do beforehand: input in its own axes, states and outputs in arrays that are
there. What a peer needs is imported where it is used.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np

import rnnrt
from rnnrt import layers as L
from rnnrt.errors import UnsupportedModelError


@dataclass(frozen=True)
class Form:
    """``call`` does the work once. ``answer``: what it answers to the sample, (batch, frames, features); of a
    stream to the frames of the sample one by one, from its beginning.
    """

    call: object
    answer: np.ndarray


def difference(a, b):
    """The largest one, over the answer's size where that is above 1: the residual network's answers are in
    the thousands.
    """
    assert a.shape == b.shape, (a.shape, b.shape)
    return float(np.abs(a.astype(np.float64) - b).max() / max(1.0, np.abs(b).max()))


# ---- rnnrt -------------------------------------------------------------------------------------------------


def ours(work, model=None):
    """rnnrt: a step into a given array and into a fresh one; whole sequences in the engine's own axes, and of
    convolutional networks in PyTorch's, (batch, channels, time).
    """
    graph, x = work.graph(), work.sample()
    model = model or rnnrt.from_graph(graph)
    if work.threads > 1:
        model = model.with_options(num_threads=work.threads)
    if work.steps:
        frame, into, fresh, heard = x[0, 0], model.stream(), model.stream(), model.stream()
        answer = np.array([heard.step(frame) for frame in x[0]])[None]
        out = np.empty_like(into.step(frame))
        return {
            "step(x, out=y)": Form(lambda: into.step(frame, out=out), answer),
            "step(x)": Form(lambda: fresh.step(frame), answer),
        }
    forms = {"model(x)": Form(lambda: model(x), model(x))}
    convolves = any(isinstance(layer, L.Conv1D) for layer in graph.layers)
    if convolves and graph.signals[graph.outputs[0].value].time:
        first, turned = channels_first(graph), np.ascontiguousarray(x.transpose(0, 2, 1))
        forms["model(x) bft"] = Form(lambda: first(turned), first(turned).transpose(0, 2, 1))
    return forms


def channels_first(graph):
    """The model with PyTorch's axes of a convolution, (batch, channels, time), in and out."""
    layers = [replace(x, axes="bft") if isinstance(x, L.Input) else x for x in graph.layers]
    return rnnrt.Model(rnnrt.Graph(layers, outputs=[replace(o, axes="bft") for o in graph.outputs]))


def on_blas(work):
    """rnnrt's plans with matrix products on SciPy's BLAS."""
    forms = ours(work, rnnrt.from_graph(work.graph()).with_options(backend="blas"))
    return dict(list(forms.items())[:1])


# ---- onnxruntime -------------------------------------------------------------------------------------------


def written(work):
    import onnx_graphs

    graph = work.graph()
    return onnx_graphs.step(graph) if work.steps else onnx_graphs.whole(graph, work.batch, work.frames)


def by_onnxruntime(work):
    """``session.run``, and arrays bound once (IO binding), which a step's states go round in."""
    import onnxruntime

    model, x = written(work), work.sample()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = work.threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.model, options, providers=["CPUExecutionProvider"])
    if work.steps:
        return {"run": _stepped(_Fed(session, model, x), x), "bound": _stepped(_Bound(session, model, x), x)}
    feed = {"x": model.arranged(x)}
    value = onnxruntime.OrtValue.ortvalue_from_numpy
    binding, plain = session.io_binding(), session.run(None, feed)[0]
    result = value(np.zeros_like(plain))
    binding.bind_ortvalue_input("x", value(feed["x"]))
    binding.bind_ortvalue_output(model.output, result)
    session.run_with_iobinding(binding)
    return {
        "run": Form(lambda: session.run(None, feed), model.restored(plain)),
        "bound": Form(lambda: session.run_with_iobinding(binding), model.restored(result.numpy())),
    }


class _Fed:
    """A stream by ``session.run``, which takes the states it gave."""

    def __init__(self, session, model, x):
        self.session = session
        self.names = [model.output, *(o for o in model.outputs if o != model.output)]
        self.back = [(self.names.index(f"{n}_out"), f"{n}_in") for n in model.states]
        self.feed = {f"{n}_in": np.zeros(shape, np.float32) for n, shape in model.states.items()}

    def step(self, frame):
        self.feed["x"] = frame.reshape(1, 1, -1)
        made = self.session.run(self.names, self.feed)
        for k, name in self.back:
            self.feed[name] = made[k]
        return made[0]


class _Bound:
    """A stream by two bindings: what one writes the other reads."""

    def __init__(self, session, model, x):
        import onnxruntime

        value = onnxruntime.OrtValue.ortvalue_from_numpy
        self.session, self.x = session, value(x[0, 0].reshape(1, 1, -1).copy())
        states = [{n: value(np.zeros(s, np.float32)) for n, s in model.states.items()} for _ in range(2)]
        self.bindings, self.made, self.turn = [], [], 0
        shape = session.run(None, _Fed(session, model, x).feed | {"x": x[0, 0].reshape(1, 1, -1)})[0].shape
        for into, out in (states, states[::-1]):
            binding = session.io_binding()
            binding.bind_ortvalue_input("x", self.x)
            results = {f"{n}_out": array for n, array in out.items()}
            results.setdefault(model.output, value(np.zeros(shape, np.float32)))
            for name, array in into.items():
                binding.bind_ortvalue_input(f"{name}_in", array)
            for name in model.outputs:
                binding.bind_ortvalue_output(name, results[name])
            self.bindings.append(binding)
            self.made.append(results[model.output])

    def step(self, frame):
        self.x.update_inplace(frame.reshape(1, 1, -1))
        self.session.run_with_iobinding(self.bindings[self.turn])
        made, self.turn = self.made[self.turn], 1 - self.turn
        return made.numpy()


def _stepped(stream, x):
    """A stream's Form: it hears the sample, and is then given its first frame again and again."""
    frame, answer = x[0, 0].copy(), [np.array(stream.step(frame.copy())).ravel() for frame in x[0]]
    return Form(lambda: stream.step(frame), np.array(answer)[None])


# ---- OpenVINO ----------------------------------------------------------------------------------------------


def by_openvino(work):
    """An inference request whose arrays are shared with it; two that take turns where there are states."""
    import openvino

    model, x = written(work), work.sample()
    # float32 is said: where a processor has bfloat16, OpenVINO would take that
    options = {"INFERENCE_NUM_THREADS": work.threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
    options["INFERENCE_PRECISION_HINT"] = "f32"
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model.model), "CPU", options)
    if work.steps:
        return {"infer": _stepped(_Requests(compiled, model, x), x)}
    request, feed = compiled.create_infer_request(), {"x": model.arranged(x)}
    plain = np.array(request.infer(feed)[0])
    return {
        "infer": Form(
            lambda: request.infer(feed, share_inputs=True, share_outputs=True), model.restored(plain)
        )
    }


class _Requests:
    def __init__(self, compiled, model, x):
        import openvino

        shared = lambda array: openvino.Tensor(array, shared_memory=True)
        self.x = x[0, 0].reshape(1, 1, -1).copy()
        states = [{n: np.zeros(s, np.float32) for n, s in model.states.items()} for _ in range(2)]
        self.requests, self.made, self.turn, self.states = [], [], 0, states  # a request holds no array
        for into, out in (states, states[::-1]):
            request = compiled.create_infer_request()
            request.set_tensor("x", shared(self.x))
            for name in model.states:
                request.set_tensor(f"{name}_in", shared(into[name]))
                request.set_tensor(f"{name}_out", shared(out[name]))
            self.requests.append(request)
            self.made.append(request.get_tensor(model.output).data)

    def step(self, frame):
        self.x[...] = frame
        self.requests[self.turn].infer()
        made, self.turn = self.made[self.turn], 1 - self.turn
        return made


# ---- PyTorch -----------------------------------------------------------------------------------------------


def by_torch(work):
    """Eager modules and functions of torch in ``inference_mode``."""
    import torch

    torch.set_num_threads(work.threads)
    graph, x = work.graph(), work.sample()
    network = _TorchNetwork(graph, torch)
    if work.steps:
        return {"module": _stepped(network, x)}
    given = torch.from_numpy(np.ascontiguousarray(x.transpose(["btf".index(a) for a in network.axes])))

    def call():
        with torch.inference_mode():
            return network(given, network.axes)

    made, axes = call()
    return {"module": Form(call, made.numpy().transpose([axes.index(a) for a in "btf"]))}


class _TorchNetwork:
    """The layers of a graph as torch has them; between those of other axes views are turned."""

    def __init__(self, graph, torch):
        self.graph, self.torch, self.states = graph, torch, {}
        self.axes = "bft" if graph.consumers(graph.inputs[0])[0].kind == "conv1d" else "tbf"
        self.layers = {x.name: getattr(self, f"_{x.kind}")(x) for x in graph.layers if x.kind != "input"}

    def __call__(self, x, axes):
        values = {self.graph.inputs[0]: (x, axes)}
        for layer in self.graph.layers:
            if layer.kind != "input":
                values[layer.name] = self.layers[layer.name](*(values[name] for name in layer.inputs))
        return values[self.graph.outputs[0].value]

    def step(self, frame):
        with self.torch.inference_mode():
            return self(self.torch.from_numpy(frame.reshape(1, 1, -1)), "tbf")[0].numpy()

    def _tensor(self, array):
        return None if array is None else self.torch.from_numpy(np.array(array))

    def _activated(self, layer):
        name = layer.activation.name
        return (lambda y: y) if name == "linear" else getattr(self.torch, name)

    def _conv1d(self, layer):
        weight, bias = self._tensor(layer.weight.transpose(0, 2, 1)), self._tensor(layer.bias)
        functional, activated = self.torch.nn.functional, self._activated(layer)
        left, right = layer.padding
        options = {"stride": layer.stride, "dilation": layer.dilation, "groups": layer.groups}

        def run(value):
            x = _turned(value, "bft")
            if left != right:
                x = functional.pad(x, (left, right))
            padding = left if left == right else 0
            return activated(functional.conv1d(x, weight, bias, padding=padding, **options)), "bft"

        return run

    def _dense(self, layer):
        weight, bias, activated = self._tensor(layer.weight), self._tensor(layer.bias), self._activated(layer)

        def run(value):
            axes = value[1] if value[1] != "bft" else "btf"
            return activated(self.torch.nn.functional.linear(_turned(value, axes), weight, bias)), axes

        return run

    def _activation(self, layer):
        activated = self._activated(layer)
        return lambda value: (activated(value[0]), value[1])

    def _add(self, layer):
        return lambda a, b: (a[0] + _turned(b, a[1]), a[1])

    def _cell(self, layer, kind, order):
        if layer.norm != "none":
            raise UnsupportedModelError("torch has no such cell", where=layer.where)
        features, units = layer.weight.shape[1], layer.units
        module = getattr(self.torch.nn, kind)(features, units)
        gates = lambda array: np.concatenate([np.split(array, len(order))[g] for g in order])
        zeros = np.zeros(len(order) * units, np.float32)
        biases = [zeros if b is None else b for b in (layer.bias, getattr(layer, "recurrent_bias", None))]
        arrays = [layer.weight, layer.recurrent_weight, *biases]
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        module.load_state_dict({n: self._tensor(gates(a)) for n, a in zip(names, arrays)})

        def run(value):
            x = _turned(value, "tbf")
            if len(x) > 1:
                return module(x)[0], "tbf"
            made, self.states[layer.name] = module(x, self.states.get(layer.name))
            return made, "tbf"

        return run

    def _lstm(self, layer):
        return self._cell(layer, "LSTM", (0, 1, 2, 3))

    def _gru(self, layer):
        if not layer.reset_after:
            raise UnsupportedModelError("torch's GRU resets after the product", where=layer.where)
        return self._cell(layer, "GRU", (1, 0, 2))  # z r n here, r z n there

    def _rnn(self, layer):
        return self._cell(layer, "RNN", (0,))


def _turned(value, axes):
    x, have = value
    return x if have == axes else x.permute([have.index(a) for a in axes])


# ---- LiteRT ------------------------------------------------------------------------------------------------

#: The folder of the files that tools/bench_tflite.py makes, or None.
tflite_folder = None


def tflite_file(work):
    """The name of the file of some Work."""
    return f"{work.case.name}_{'step' if work.steps else f'{work.batch}x{work.frames}'}.tflite"


def by_litert(work):
    """``invoke``, arrays set and got; and written and read where the interpreter keeps them."""
    from ai_edge_litert.interpreter import Interpreter

    path = tflite_folder and tflite_folder / tflite_file(work)
    if path is None or not path.exists():
        raise UnsupportedModelError("tools/bench_tflite.py made no file for LiteRT")
    interpreter, x = Interpreter(str(path), num_threads=work.threads), work.sample()
    interpreter.allocate_tensors()
    into = sorted(interpreter.get_input_details(), key=lambda d: ("state" in d["name"], d["name"]))
    out = [d["index"] for d in interpreter.get_output_details()]
    if work.steps:
        return {"invoke": _stepped(_Invoked(interpreter, [d["index"] for d in into], out), x)}
    read, write = interpreter.tensor(out[0]), interpreter.tensor(into[0]["index"])  # views of a moment

    def plain():
        interpreter.set_tensor(into[0]["index"], x)
        interpreter.invoke()
        return interpreter.get_tensor(out[0])

    def in_place():
        write()[...] = x
        interpreter.invoke()
        return read()[0, 0, 0]

    interpreter.reset_all_variables()  # the fused LSTM would go on from the call before
    answer = plain()
    return {"invoke": Form(plain, answer), "in place": Form(in_place, answer)}


class _Invoked:
    """A stream by ``invoke``, which takes the states it gave where the interpreter keeps them."""

    def __init__(self, interpreter, into, out):
        self.interpreter = interpreter
        self.given = [interpreter.tensor(index) for index in into]
        self.made = [interpreter.tensor(index) for index in out]
        for state in self.given[1:]:
            state()[...] = 0

    def step(self, frame):
        self.given[0]()[...] = frame
        self.interpreter.invoke()
        for state, made in zip(self.given[1:], self.made[1:]):
            state()[...] = made()
        return self.made[0]().copy()


# ---- Keras -------------------------------------------------------------------------------------------------


def by_keras(work):
    """``predict`` of a textbook network, which is what its users call; on the backend of KERAS_BACKEND."""
    from train_demo import network

    model, x = network(work.file.stem), work.sample()
    with warnings.catch_warnings(
        action="ignore"
    ):  # of the textbook's own cell, whose weights come with a call
        model.predict(x, verbose=0)
    model.load_weights(work.file)
    return {"predict": Form(lambda: model.predict(x, verbose=0), model.predict(x, verbose=0))}


#: {peer: (its forms of some Work, what it needs installed by import name)}
PEERS = {
    "onnxruntime": (by_onnxruntime, ("onnxruntime", "onnx")),
    "openvino": (by_openvino, ("openvino", "onnx")),
    "litert": (by_litert, ("ai_edge_litert",)),
    "torch": (by_torch, ("torch",)),
    "keras": (by_keras, ("keras", "torch", "h5py")),
    "blas": (on_blas, ("scipy",)),
}
