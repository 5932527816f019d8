"""The networks of tools/bench_peers.py as .tflite files, for its LiteRT rows:

    pip install tensorflow-cpu==2.15.1 and this package, in an environment of their own
    python tools/bench_tflite.py FOLDER              writes one file a row
    python tools/bench_peers.py --tflite FOLDER      with ai_edge_litert among the peers

The layers are Keras's with the same weights, converted for the batch and the frames of the row. An LSTM over
whole sequences becomes LiteRT's fused operator; a step has its states as inputs and outputs. Rows that Keras
or its converter cannot state are named and left out.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from bench_peers import ROWS
from bench_rivals import tflite_file

from rnnrt.errors import UnsupportedModelError


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(exist_ok=True)
    for row in ROWS:
        work = row.make()
        path = folder / tflite_file(work)
        if path.exists():
            continue
        try:
            path.write_bytes(converted(work))
            print(f"{row.name}: {path}", flush=True)
        except Exception as error:  # noqa: BLE001 - whatever the converter cannot do
            print(f"{row.name}: left out: {str(error).splitlines()[0][:150]}", flush=True)


def converted(work):
    graph = work.graph()
    features = work.sample().shape[-1]
    network = _Steps(graph) if work.steps else _Network(graph)
    if work.steps:
        arguments = [tf.TensorSpec((1, features), tf.float32, name="x"), *network.specs()]
    else:
        arguments = [tf.TensorSpec((work.batch, work.frames, features), tf.float32, name="x")]
    network(*(tf.zeros(spec.shape) for spec in arguments))  # makes the layers' weights
    function = tf.function(network.__call__, autograph=False).get_concrete_function(*arguments)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], network)
    return converter.convert()


class _Network(tf.Module):
    """A graph of rnnrt in Keras's layers, (batch, time, features) throughout."""

    def __init__(self, graph):
        super().__init__()
        self.graph = graph
        self.made = {x.name: getattr(self, f"_{x.kind}")(x) for x in graph.layers if x.kind != "input"}

    def __call__(self, x):
        values = {self.graph.inputs[0]: x}
        for layer in self.graph.layers:
            if layer.kind != "input":
                values[layer.name] = self.made[layer.name](*(values[name] for name in layer.inputs))
        return values[self.graph.outputs[0].value]

    def _conv1d(self, layer):
        left, right = layer.padding
        pad = tf.keras.layers.ZeroPadding1D((left, right)) if left or right else lambda x: x
        (_, taps, _), bias = layer.weight.shape, layer.bias
        options = {"strides": layer.stride, "use_bias": bias is not None, "activation": layer.activation.name}
        kernel = np.array(layer.weight).transpose(1, 2, 0)  # (taps, features of a group, out)
        if layer.groups > 1 and layer.groups == layer.weight.shape[0]:
            run = tf.keras.layers.DepthwiseConv1D(taps, **options)
            kernel = kernel.transpose(0, 2, 1)
        else:
            run = tf.keras.layers.Conv1D(
                kernel.shape[-1], taps, dilation_rate=layer.dilation, groups=layer.groups, **options
            )
        run.build((None, None, layer.weight.shape[2] * layer.groups))
        run.set_weights([kernel] + ([] if bias is None else [np.array(bias)]))
        return lambda x: run(pad(x))

    def _dense(self, layer):
        run = tf.keras.layers.Dense(
            layer.weight.shape[0], activation=layer.activation.name, use_bias=layer.bias is not None
        )
        run.build((None, layer.weight.shape[1]))
        run.set_weights([np.array(layer.weight).T] + ([] if layer.bias is None else [np.array(layer.bias)]))
        return run

    def _activation(self, layer):
        return tf.keras.activations.get(layer.activation.name)

    def _add(self, layer):
        return lambda a, b: a + b

    def _recurrent(self, layer, kind, gates, **options):
        if layer.norm != "none":
            raise UnsupportedModelError("Keras has no such cell", where=layer.where)
        run = kind(layer.units, return_sequences=True, **options)
        run.build((None, None, layer.weight.shape[1]))
        zeros = np.zeros(gates * layer.units, np.float32)
        bias = zeros if layer.bias is None else np.array(layer.bias)
        if options.get("reset_after"):
            again = layer.recurrent_bias
            bias = np.stack([bias, zeros if again is None else np.array(again)])
        run.set_weights([np.array(layer.weight).T, np.array(layer.recurrent_weight).T, bias])
        return run

    def _lstm(self, layer):
        return self._recurrent(layer, tf.keras.layers.LSTM, 4)

    def _gru(self, layer):
        return self._recurrent(layer, tf.keras.layers.GRU, 3, reset_after=bool(layer.reset_after))

    def _rnn(self, layer):
        return self._recurrent(layer, tf.keras.layers.SimpleRNN, 1)


class _Steps(_Network):
    """One frame (1, features) and the states of every recurrent layer in, the answer and these out."""

    def specs(self):
        recurrent = {name: run for name, run in self.made.items() if hasattr(run, "cell")}
        self.counts = {n: 2 if isinstance(run, tf.keras.layers.LSTM) else 1 for n, run in recurrent.items()}
        return [
            tf.TensorSpec((1, self.made[name].units), tf.float32, name=f"state_{k}_{j}")
            for k, (name, count) in enumerate(self.counts.items())
            for j in range(count)
        ]

    def __call__(self, x, *states):
        values, states, after = {self.graph.inputs[0]: x}, list(states), []
        for layer in self.graph.layers:
            if layer.kind == "input":
                continue
            run, given = self.made[layer.name], [values[name] for name in layer.inputs]
            if layer.name not in self.counts:
                values[layer.name] = run(*given)
                continue
            own = [states.pop(0) for _ in range(self.counts[layer.name])]
            values[layer.name], made = run.cell(*given, own)
            after += made if isinstance(made, (list, tuple)) else [made]
        return (values[self.graph.outputs[0].value], *after)


if __name__ == "__main__":
    main()
