"""A rnnrt graph as an ONNX model, node by node: the same weights for onnxruntime to run.

Written for the benchmarks, so that the peer gets its best plain form: fixed shapes, every layer in the axes
its operator wants, no transpose that could be left to the caller. A chain or DAG of Conv1D, Dense, the three
recurrent cells, Activation and Add; anything else is refused by name. Operators and their axes: the ONNX
operator reference, opset 17.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from rnnrt.errors import UnsupportedModelError
from rnnrt.graph import Graph
from rnnrt.layers import Layer

OPSET = 17
FUNCTIONS = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}
OPERATORS = {"rnn": "RNN", "gru": "GRU", "lstm": "LSTM"}


@dataclass(frozen=True)
class OnnxModel:
    """A serialised model with one input "x" and one main output.

    ``axes_in`` and ``axes_out`` order b(atch), t(ime) and f(eatures); a "1" is an axis of one. ``states``:
    {name: shape} of what a step takes and gives back under the same name with "_in" and "_out" appended;
    empty for a whole sequence. ``outputs``: the names a run returns.
    """

    model: bytes
    axes_in: str
    axes_out: str
    output: str
    outputs: tuple[str, ...]
    states: dict[str, tuple[int, ...]]

    def arranged(self, x: np.ndarray) -> np.ndarray:
        """(batch, time, features) in ``axes_in``, contiguous."""
        return np.ascontiguousarray(x.transpose(["btf".index(a) for a in self.axes_in]))

    def restored(self, y: np.ndarray) -> np.ndarray:
        """The main output as (batch, time, features)."""
        axes = self.axes_out.replace("1", "")
        return y.reshape([n for n, a in zip(y.shape, self.axes_out) if a != "1"]).transpose(
            [axes.index(a) for a in "btf"]
        )


def whole(graph: Graph, batch: int, frames: int) -> OnnxModel:
    """``graph`` over ``frames`` frames of ``batch`` sequences that start from zero states."""
    return _Writer(graph, batch, frames, stepping=False).model()


def step(graph: Graph) -> OnnxModel:
    """One frame of one sequence through ``graph``, every recurrent state an input and an output."""
    return _Writer(graph, 1, 1, stepping=True).model()


class _Writer:
    """Nodes, weights and states gathered layer by layer; ``values``: reference -> (ONNX name, axes)."""

    def __init__(self, graph, batch, frames, stepping):
        self.graph, self.batch, self.frames, self.stepping = graph, batch, frames, stepping
        self.nodes, self.weights, self.values, self.states = [], [], {}, {}

    def model(self):
        (name,), (output,) = self.graph.inputs, self.graph.outputs
        first = self.graph.consumers(name)[0]
        axes_in = "bft" if first.kind == "conv1d" else "tbf"
        self.values[name] = ("x", axes_in)
        for layer in self.graph.layers:
            if layer.kind != "input":
                writer = getattr(self, f"_{'recurrent' if layer.kind in OPERATORS else layer.kind}", None)
                if writer is None:
                    raise UnsupportedModelError("this layer is not written as ONNX here", where=layer.where)
                self.values[layer.name] = writer(layer)
        made, axes_out = self.values[output.value]
        sizes = {"b": self.batch, "t": self.frames, "f": self.graph.signals[name].width}
        given = [_value("x", [sizes[a] for a in axes_in])] + [
            _value(f"{n}_in", shape) for n, shape in self.states.items()
        ]
        outputs = list(dict.fromkeys([made, *(f"{n}_out" for n in self.states)]))
        written = helper.make_graph(
            self.nodes, "network", given, [_value(n, None) for n in outputs], self.weights
        )
        model = helper.make_model(written, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
        return OnnxModel(
            model.SerializeToString(), axes_in, axes_out, made, tuple(outputs), dict(self.states)
        )

    # ---- what layers are written with ----------------------------------------------------------------------
    def node(self, operator, inputs, name, **attributes):
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def weight(self, name, array):
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def value(self, reference, axes):
        """The value in ``axes``, transposed once where its producer made other ones."""
        name, have = self.values[reference]
        if have == "t1bf" and axes != have:
            name, have = (
                self.node("Squeeze", [name, self.weight(f"{name}.axis", np.array([1]))], f"{name}.squeezed"),
                "tbf",
            )
        if have != axes:
            name = self.node("Transpose", [name], f"{name}.{axes}", perm=[have.index(a) for a in axes])
        self.values[reference] = (name, axes)
        return name

    def activated(self, layer: Layer, name):
        if layer.activation.name == "linear":
            return name
        if layer.activation.name not in FUNCTIONS:
            raise UnsupportedModelError(
                f"the activation {layer.activation} is not written as ONNX here", where=layer.where
            )
        return self.node(FUNCTIONS[layer.activation.name], [name], f"{layer.name}.activated")

    # ---- layers: each returns (ONNX name, axes) ------------------------------------------------------------
    def _conv1d(self, layer):
        inputs = [
            self.value(layer.inputs[0], "bft"),
            self.weight(f"{layer.name}.w", layer.weight.transpose(0, 2, 1)),
        ]
        if layer.bias is not None:
            inputs.append(self.weight(f"{layer.name}.b", layer.bias))
        made = self.node(
            "Conv",
            inputs,
            layer.name,
            strides=[layer.stride],
            dilations=[layer.dilation],
            group=layer.groups,
            pads=list(layer.padding),
        )
        return self.activated(layer, made), "bft"

    def _dense(self, layer):
        axes = self.values[layer.inputs[0]][1]
        axes = axes if axes in ("tbf", "btf") else "tbf"
        made = self.node(
            "MatMul",
            [self.value(layer.inputs[0], axes), self.weight(f"{layer.name}.w", layer.weight.T)],
            layer.name,
        )
        if layer.bias is not None:
            made = self.node(
                "Add", [made, self.weight(f"{layer.name}.b", layer.bias)], f"{layer.name}.biased"
            )
        return self.activated(layer, made), axes

    def _activation(self, layer):
        name, axes = self.values[layer.inputs[0]]
        return self.activated(layer, name), axes

    def _add(self, layer):
        if len(layer.inputs) != 2:
            raise UnsupportedModelError(
                "a sum of other than two is not written as ONNX here", where=layer.where
            )
        axes = self.values[layer.inputs[0]][1]
        return self.node("Add", [self.value(r, axes) for r in layer.inputs], layer.name), axes

    def _recurrent(self, layer):
        plain = (
            layer.norm == "none"
            and not layer.reverse
            and layer.activation.name == "tanh"
            and len(layer.inputs) == 1
        )
        if (
            not plain
            or getattr(layer, "projection", None) is not None
            or getattr(layer, "recurrent_activation", layer.activation).name not in ("sigmoid", "tanh")
        ):
            raise UnsupportedModelError("only the plain cell is written as ONNX here", where=layer.where)
        rows = _iofc if layer.kind == "lstm" else (lambda array: array)
        zeros = np.zeros(layer.weight.shape[0], np.float32)
        biases = [
            zeros if b is None else rows(b) for b in (layer.bias, getattr(layer, "recurrent_bias", None))
        ]
        x = self.value(layer.inputs[0], "tbf")
        inputs = [
            x,
            self.weight(f"{layer.name}.w", rows(layer.weight)[None]),
            self.weight(f"{layer.name}.r", rows(layer.recurrent_weight)[None]),
            self.weight(f"{layer.name}.b", np.concatenate(biases)[None]),
        ]
        outputs = [f"{layer.name}.y"]
        if self.stepping:  # the state after one step is the answer, so Y itself need not be made
            names = [f"{layer.name}_{s}" for s in layer.states]
            self.states |= dict.fromkeys(names, (1, self.batch, layer.units))
            inputs += ["", *(f"{n}_in" for n in names)]
            outputs = ["", *(f"{n}_out" for n in names)]
        attributes = {"linear_before_reset": int(layer.reset_after)} if layer.kind == "gru" else {}
        self.nodes.append(
            helper.make_node(
                OPERATORS[layer.kind], inputs, outputs, name=layer.name, hidden_size=layer.units, **attributes
            )
        )
        return (outputs[1], "tbf") if self.stepping else (outputs[0], "t1bf")


def _iofc(ifgo):
    """Rows of gates i f g o in ONNX's order i o f c."""
    i, f, g, o = np.split(ifgo, 4)
    return np.concatenate([i, o, f, g])


def _value(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
