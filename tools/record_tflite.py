"""Records TFLite files that converters write, and what LiteRT answers to them and to files written by hand.

    python tools/record_tflite.py convert FOLDER     in an environment with TensorFlow; once for each version
    python tools/record_tflite.py answer FOLDER      in one with ai_edge_litert

The first writes NAME.tflite of some twenty Keras networks, with a number of frames that is open ("open"),
seven ("seven"), and three rows of seven ("rows"), NAME.VERSION.FORM. The second writes
tests/data/tflite_files.tar.xz (files and answers to ``tflite_files.sample``) and
tests/data/tflite_answers.npz (of tests/support/tflite_networks.py).
"""

import io
import os
import sys
import tarfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT)]
FORMS = {"open": (None, 1), "seven": (7, 1), "rows": (7, 3)}


def networks(keras):
    """{name: its layers, made anew}."""
    layers = keras.layers
    return {
        "lstm": lambda: [layers.LSTM(3, return_sequences=True), layers.Dense(2)],
        "lstm_last": lambda: [layers.LSTM(3), layers.Dense(2, "softmax")],
        "gru": lambda: [layers.GRU(3, return_sequences=True)],
        "gru_before": lambda: [layers.GRU(3, reset_after=False), layers.Dense(2)],
        "rnn": lambda: [layers.SimpleRNN(3, return_sequences=True)],
        "lstm_both": lambda: [layers.Bidirectional(layers.LSTM(3, return_sequences=True))],
        "gru_both": lambda: [layers.Bidirectional(layers.GRU(3))],
        "masked": lambda: [layers.Masking(0.0), layers.LSTM(3, return_sequences=True)],
        "masked_gru": lambda: [layers.Masking(0.0), layers.GRU(3)],
        "lstm_hard": lambda: [layers.LSTM(3, activation="relu", recurrent_activation="hard_sigmoid")],
        "stateful": lambda: [layers.LSTM(3, stateful=True, return_sequences=True)],
        "unrolled": lambda: [layers.LSTM(3, unroll=True, return_sequences=True), layers.Dense(2)],
        "conv": lambda: [
            layers.Conv1D(4, 3, padding="causal", dilation_rate=2, activation="relu"),
            layers.Conv1D(3, 3, padding="same"),
        ],
        "conv_stride": lambda: [
            layers.Conv1D(4, 3, strides=2, activation="tanh"),
            layers.BatchNormalization(),
            layers.MaxPooling1D(2),
            layers.GlobalAveragePooling1D(),
            layers.Dense(2),
        ],
        "separable": lambda: [
            layers.SeparableConv1D(4, 3, padding="same"),
            layers.DepthwiseConv1D(3),
            layers.ReLU(6.0),
        ],
        "transposed": lambda: [layers.Conv1DTranspose(3, 4, strides=2, padding="same")],
        "norm": lambda: [
            layers.Dense(6, "swish"),
            layers.LayerNormalization(),
            layers.Dense(4, "gelu"),
            layers.PReLU(shared_axes=[1]),
        ],
    }


def convert(folder):
    os.environ["TF_CPP_MIN_LOG_LEVEL"], os.environ["CUDA_VISIBLE_DEVICES"] = "3", ""
    import tensorflow as tf

    keras, version = tf.keras, "".join(tf.__version__.split(".")[:2])
    for name in networks(keras):
        for form, (frames, rows) in FORMS.items():
            if name == "unrolled" and frames is None:
                continue
            inputs = keras.Input((frames, 4), batch_size=rows)
            value = inputs
            for layer in networks(keras)[name]():
                value = layer(value)
            network = keras.Model(inputs, value)
            for k, weight in enumerate(network.weights):
                if "seed" not in weight.name:
                    array = np.random.RandomState(k).standard_normal(weight.shape) * 0.5
                    weight.assign(np.abs(array) + 0.5 if "variance" in weight.name else array)
            made = tf.lite.TFLiteConverter.from_keras_model(network).convert()
            (Path(folder) / f"{name}.{version}.{form}.tflite").write_bytes(made)
    inputs = keras.Input((None, 4), batch_size=1)
    network = keras.Model(inputs, keras.layers.Dense(40)(keras.layers.Dense(64)(inputs)))
    for k, weight in enumerate(network.weights):
        weight.assign(np.random.RandomState(k).standard_normal(weight.shape) * 0.3)
    for name in ("integers", "half", "whole"):
        converter = tf.lite.TFLiteConverter.from_keras_model(network)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if name == "half":
            converter.target_spec.supported_types = [tf.float16]
        if name == "whole":
            draw = np.random.RandomState(0)
            converter.representative_dataset = lambda draw=draw: (
                [draw.standard_normal((1, 7, 4)).astype(np.float32)] for _ in range(20)
            )
        (Path(folder) / f"{name}.{version}.open.tflite").write_bytes(converter.convert())
    network = keras.Sequential([keras.Input((None, 4)), keras.layers.LSTM(3, return_sequences=True)])
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    converter._experimental_lower_tensor_list_ops = False
    (Path(folder) / f"flex.{version}.open.tflite").write_bytes(converter.convert())


def runs(content, inputs, times=1):
    """[outputs] of ``times`` calls one after the other with the same inputs; by the order of the file."""
    from ai_edge_litert.interpreter import Interpreter

    runtime = Interpreter(model_content=content, num_threads=1)
    for port, x in zip(runtime.get_input_details(), inputs):
        runtime.resize_tensor_input(port["index"], x.shape, strict=True)
    runtime.allocate_tensors()
    made = []
    for _ in range(times):
        for port, x in zip(runtime.get_input_details(), inputs):
            runtime.set_tensor(port["index"], x)
        runtime.invoke()
        made.append([runtime.get_tensor(port["index"]) for port in runtime.get_output_details()])
    return made


def answer(folder):
    from tflite_files import sample, shapes
    from tflite_networks import FILES
    from tflite_networks import sample as sample_by_hand

    answers = {}
    for name, content in FILES.items():
        for call, outputs in enumerate(runs(content, sample_by_hand(name), 2)):
            answers |= {f"{name} {call} {k}": y for k, y in enumerate(outputs)}
    path = ROOT / "tests" / "data" / "tflite_answers.npz"
    np.savez_compressed(path, **answers)
    print(f"{path}: {path.stat().st_size:,} bytes")
    path, recorded = ROOT / "tests" / "data" / "tflite_files.tar.xz", {}
    with tarfile.open(path, "w:xz", preset=9) as archive:
        # files of one network side by side: most of each is in the others
        for file in sorted(Path(folder).glob("*.tflite")):
            content = file.read_bytes()
            add(archive, file.name, content)
            if file.stem.startswith(("whole", "flex")):
                continue
            for shape in shapes(file.stem):
                try:
                    made = runs(content, [sample(file.stem, shape)], 2)
                except RuntimeError:  # shorter than a window
                    continue
                for call, outputs in enumerate(made):
                    key = f"{file.stem} {shape[0]} {shape[1]} {call}"
                    recorded |= {f"{key} {k}": y for k, y in enumerate(outputs)}
        stored = io.BytesIO()
        np.savez(stored, **recorded)
        add(archive, "answers.npz", stored.getvalue())
    print(f"{path}: {path.stat().st_size:,} bytes")


def add(archive, name, content):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


if __name__ == "__main__":
    {"convert": convert, "answer": answer}[sys.argv[1]](sys.argv[2])
