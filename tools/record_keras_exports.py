"""Records what tf2onnx and TensorFlow's TFLite converter write of the Keras counterparts of the networks of
record_onnx.py, and what Keras answers: tests/data/keras_exports.tar.xz, which the tests read without them.

    python tools/record_keras_exports.py [destination]

Needs tensorflow 2.15 and tf2onnx. Files are NETWORK.tf2onnx13.onnx and NETWORK.tf2onnx17.onnx (of that opset,
batch and time left open), NETWORK.open.tflite (one row, time left open: with recurrent layers the converter
takes no open batch) and NETWORK.seven.tflite (one row of seven frames; eight of conv_lstm). A file that a
converter does not make is said and left out. NETWORK.npz holds the answers, by "batch time output".
"""

import io
import os
import sys
import tarfile
import warnings
from pathlib import Path

import numpy as np

os.environ["TF_CPP_MIN_LOG_LEVEL"], os.environ["CUDA_VISIBLE_DEVICES"] = "3", ""
import tensorflow as tf
import tf2onnx

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from keras_exports import BATCHES, SHAPES, TIMES, sample

K = tf.keras.layers


class HandCell(K.Layer):
    """A GRU written by hand."""

    state_size = output_size = 8

    def build(self, shape):
        self.i, self.h = K.Dense(24), K.Dense(24)
        self.i.build(shape)
        self.h.build((None, 8))

    def call(self, x, states):
        a, b = tf.split(self.i(x), 3, 1), tf.split(self.h(states[0]), 3, 1)
        z, r = tf.sigmoid(a[0] + b[0]), tf.sigmoid(a[1] + b[1])
        h = (1 - z) * tf.tanh(a[2] + r * b[2]) + z * states[0]
        return h, [h]


def lstm_states(x, h, c):
    first, *state = K.LSTM(8, return_sequences=True, return_state=True)(x, initial_state=[h, c])
    second, *state = K.LSTM(8, return_sequences=True, return_state=True)(first, initial_state=state)
    return [K.Dense(3)(second), *state]


def tcn(x):
    for width, dilation in ((8, 1), (8, 2), (8, 4)):
        conv = {"filters": width, "kernel_size": 3, "padding": "causal", "activation": "relu"}
        y = K.Conv1D(**conv, dilation_rate=dilation)(K.Conv1D(**conv, dilation_rate=dilation)(x))
        x = K.ReLU()(K.Add()([y, x if x.shape[-1] == width else K.Conv1D(width, 1)(x)]))
    return K.Conv1D(3, 1)(x)


def conv_lstm(x):
    y = K.BatchNormalization()(K.Conv1D(8, 8, strides=4, padding="same")(x))
    y = K.LSTM(8, return_sequences=True)(K.Activation("gelu")(y))
    return K.Conv1DTranspose(5, 8, strides=4, padding="same")(y)


def norm_gru(x):
    y = K.GRU(8, return_sequences=True)(K.LayerNormalization()(K.Dense(8, "swish")(x)))
    return K.Activation("log_softmax")(K.Dense(3)(K.GlobalAveragePooling1D()(y)))


def both(layer):
    return K.Bidirectional(layer)


NETWORKS = {
    "lstm": lambda x: K.Dense(3)(K.LSTM(8, return_sequences=True)(K.LSTM(8, return_sequences=True)(x))),
    "lstm_last": lambda x: K.Dense(3)(both(K.LSTM(8))(both(K.LSTM(8, return_sequences=True))(x))),
    "lstm_states": lstm_states,
    "gru": lambda x: K.Dense(3)(K.GRU(8)(K.GRU(8, return_sequences=True)(x))),
    "gru_both_ways": lambda x: K.Dense(3)(both(K.GRU(8, return_sequences=True))(x)),
    "rnn": lambda x: K.Dense(3)(K.SimpleRNN(8, activation="relu")(x)),
    "cell_loop": lambda x: K.Dense(3)(K.RNN(K.LSTMCell(8), return_sequences=True)(x)),
    "hand_gru": lambda x: K.RNN(HandCell(), return_sequences=True)(x),
    "embedded": lambda x: K.Dense(3)(both(K.LSTM(8))(K.Embedding(20, 6, mask_zero=True)(x))),
    "tcn": tcn,
    "conv_lstm": conv_lstm,
    "norm_gru": norm_gru,
}


def network(name, rows, frames):
    """A network with weights of its own, the same for any number of rows and frames."""
    inputs = []
    for port, shape in zip("xhc", SHAPES[name]):
        ids = shape.endswith("ids")
        sizes = [frames if n == "t" else int(n) for n in shape.split()[1:] if n != "ids"]
        inputs.append(tf.keras.Input(sizes, rows, port, "int32" if ids else "float32"))
    outputs = NETWORKS[name](*inputs)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    named = [K.Activation("linear", name=n)(y) for n, y in zip(("y", "hn", "cn"), outputs)]
    made = tf.keras.Model(inputs, named)
    for k, weight in enumerate(made.weights):
        array = np.random.RandomState(k).standard_normal(weight.shape) * 0.4
        weight.assign(np.abs(array) + 0.5 if "variance" in weight.name else array)
    return made


def onnx_file(name, opset):
    made = network(name, None, None)
    signature = [tf.TensorSpec(i.shape, i.dtype, name=n) for n, i in zip("xhc", made.inputs)]
    return tf2onnx.convert.from_keras(made, signature, opset=opset)[0].SerializeToString()


def tflite_file(name, frames):
    return tf.lite.TFLiteConverter.from_keras_model(network(name, 1, frames)).convert()


def answers(name):
    """{"batch time output": float32} of Keras."""
    made, found = network(name, None, None), {}
    for batch in BATCHES:
        for time in TIMES:
            outputs = made(
                sample(name, batch, time) if len(SHAPES[name]) > 1 else sample(name, batch, time)[0]
            )
            outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
            found |= {f"{batch} {time} {k}": y.numpy() for k, y in enumerate(outputs)}
    return found


def main(destination):
    warnings.simplefilter("ignore")
    with tarfile.open(destination, "w:xz", preset=9) as archive:

        def add(name, content):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))

        for name in NETWORKS:
            frames = 8 if name == "conv_lstm" else 7
            ways = {f"tf2onnx{n}.onnx": lambda name=name, n=n: onnx_file(name, n) for n in (13, 17)}
            ways["open.tflite"] = lambda name=name: tflite_file(name, None)
            ways["seven.tflite"] = lambda name=name, frames=frames: tflite_file(name, frames)
            for way, make in ways.items():
                try:
                    add(f"{name}.{way}", make())
                except Exception as error:  # noqa: BLE001 - what a converter does not take
                    print(f"{name}.{way} is not made: {type(error).__name__}: {str(error)[:160]}")
            file = io.BytesIO()
            np.savez_compressed(file, **answers(name))
            add(f"{name}.npz", file.getvalue())
            print(name, flush=True)
    size = Path(destination).stat().st_size
    print(f"{destination}: {size:,} bytes, tensorflow {tf.__version__}, tf2onnx {tf2onnx.__version__}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1] / "tests/data/keras_exports.tar.xz")
