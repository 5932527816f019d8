"""Records SavedModel folders that TensorFlow's Keras 2 writes, and what it answers.

    python tools/record_saved_models.py save FOLDER [NAME ...]    once in an environment of each TensorFlow
    python tools/record_saved_models.py pack FOLDER               tests/data/keras/saved_models.tar.xz

The first writes FOLDER/VERSION/NAME and NAME.npz (x0.., y0..). Recorded with TensorFlow 2.15.1 (all
networks), 2.4.4, 2.5.3, 2.9.3, 2.12.1 and 2.18.1 with tf_keras 2.18.0 (those of EVERYWHERE); of 2.18 also the
folders that are refused, of Keras 3 and of a module. Of saved_model.pb what computes is not packed, nothing
where it is not read.
"""

import io
import os
import sys
import tarfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PACKED = ROOT / "tests" / "data" / "keras" / "saved_models.tar.xz"
EVERYWHERE = ("both", "compiled", "mixed", "stacked", "twice")


def frozen(layer):
    layer.trainable = False
    return layer


def inner(keras, name):
    """A network for inside: its norm lies between weights that are trained."""
    layers, x = keras.layers, keras.Input((None, 4))
    y = layers.BatchNormalization()(layers.GRU(4, return_sequences=True)(x))
    return keras.Model(x, layers.Dense(3)(y), name=name)


def networks(keras, custom, old):
    """{name: what makes it}. ``old``: the layers of TensorFlow 1."""
    layers, frames = keras.layers, lambda width=3: keras.Input((None, width))
    chain = lambda *own: keras.Sequential([frames(), *own])

    def nested():
        x = frames()
        return keras.Model(x, layers.LSTM(2)(inner(keras, "inner")(layers.Dense(4)(x))))

    def nested_frozen():
        x = frames()
        return keras.Model(x, layers.LSTM(2)(frozen(inner(keras, "inner"))(layers.Dense(4)(x))))

    def twice():
        x, network = frames(4), inner(keras, "inner")
        first = layers.LSTM(2, return_sequences=True)(network(x))
        return keras.Model(x, layers.Concatenate()([first, network(layers.Dense(4)(x))]))

    def shared():
        a, b, layer = frames(), frames(), layers.LSTM(3, return_sequences=True)
        return keras.Model([a, b], layers.Add()([layer(a), layer(b)]))

    def states():
        x, h = frames(), keras.Input((4,))
        y, _, c = layers.LSTM(4, return_sequences=True, return_state=True)(x, initial_state=[h, h])
        return keras.Model([x, h], [y, layers.Dense(2)(c)])

    def mixed():
        return chain(
            layers.Conv1D(4, 3, padding="same"),
            layers.BatchNormalization(),
            frozen(layers.GRU(4, return_sequences=True)),
            layers.BatchNormalization(),
            layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
            frozen(layers.BatchNormalization()),
            frozen(layers.Dense(3)),
            layers.SimpleRNN(3, return_sequences=True),
            layers.Dense(2),
        )

    def deep():
        below = keras.Sequential([layers.LSTM(3, return_sequences=True), layers.BatchNormalization()])
        return chain(keras.Sequential([layers.Dense(4), below]), layers.GRU(2))

    def compiled():
        made = chain(
            layers.GRU(4, return_sequences=True),
            layers.Dropout(0.3),
            layers.BatchNormalization(),
            layers.LSTM(3),
            layers.Dense(2),
        )
        made.compile("adam", "mse", metrics=["mae"])
        made.fit(np.ones((4, 5, 3), np.float32), np.ones((4, 2), np.float32), verbose=0)
        return made

    def ids():
        x = keras.Input((None,))
        embedded = layers.Embedding(9, 4, mask_zero=True)(x)
        return keras.Model(x, layers.Bidirectional(layers.GRU(3, return_sequences=True))(embedded))

    def deferred():
        made = keras.Sequential([layers.LSTM(3, return_sequences=True), layers.Dense(2)])
        made(np.zeros((2, 6, 3), np.float32))
        made(np.zeros((2, 5, 3), np.float32))
        return made

    def normalised():
        layer = layers.Normalization()
        layer.adapt(np.random.RandomState(1).randn(4, 6, 3))
        return chain(layer, layers.GRU(3))

    def half():
        policy = keras.mixed_precision.Policy("mixed_float16")
        return chain(layers.Dense(4, dtype=policy), layers.GRU(3, dtype="float32"))

    return {
        "lstm": lambda: chain(layers.LSTM(4, return_sequences=True), layers.Dense(2)),
        "both": lambda: chain(
            layers.Bidirectional(layers.LSTM(4, return_sequences=True)), layers.Bidirectional(layers.GRU(3))
        ),
        "norm": lambda: chain(
            layers.Conv1D(4, 3, padding="causal"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.GRU(4),
            layers.Dense(2, "softmax"),
        ),
        "rnn": lambda: keras.Sequential(
            [
                keras.Input((None,)),
                layers.Embedding(9, 4, mask_zero=True),
                layers.SimpleRNN(3),
                layers.Dense(1),
            ]
        ),
        "masked": lambda: chain(
            layers.Masking(0.0), layers.LSTM(3, return_sequences=True), layers.GRU(3, reset_after=False)
        ),
        "frames": lambda: chain(
            layers.TimeDistributed(layers.Dense(4)),
            layers.LayerNormalization(),
            layers.SeparableConv1D(3, 2),
            layers.PReLU("random_normal", shared_axes=[1]),
        ),
        "frames_rnn": lambda: keras.Sequential(
            [keras.Input((None, 5, 2)), layers.TimeDistributed(layers.LSTM(3)), layers.GRU(2)]
        ),
        "stacked": lambda: chain(layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)])),
        "both_stacked": lambda: chain(
            layers.Bidirectional(layers.RNN([layers.LSTMCell(3), layers.LSTMCell(3)], return_sequences=True)),
            layers.BatchNormalization(),
            layers.RNN(layers.GRUCell(2)),
        ),
        "stateful": lambda: keras.Sequential(
            [
                layers.LSTM(3, stateful=True, return_sequences=True, batch_input_shape=(2, 6, 3)),
                layers.Dense(2),
            ]
        ),
        "cudnn": lambda: chain(old.CuDNNLSTM(3, return_sequences=True, name="a"), old.CuDNNGRU(2, name="b")),
        "untraced": mixed,
        "both_own": lambda: chain(
            layers.Bidirectional(
                layers.LSTM(3, return_sequences=True),
                backward_layer=layers.GRU(2, return_sequences=True, go_backwards=True),
            ),
            layers.GRU(2, go_backwards=True),
        ),
        "frames_network": lambda: chain(
            layers.TimeDistributed(keras.Sequential([layers.Dense(4), layers.BatchNormalization()])),
            layers.LSTM(2),
        ),
        "names": lambda: chain(
            layers.Dense(3, name="kernel"),
            layers.LSTM(3, name="variables", return_sequences=True),
            layers.GRU(2, name="layer-0"),
        ),
        "custom": lambda: chain(
            custom.Gain(), layers.RNN(custom.LNSimpleRNNCell(3), return_sequences=True), layers.Dense(2)
        ),
        **{f.__name__: f for f in (nested, nested_frozen, twice, shared, states, mixed, deep, compiled, ids)},
        **{f.__name__: f for f in (deferred, normalised, half)},
    }


def sample(shape, name, draw):
    """An input of two rows and six frames."""
    shape = (2, *(n or 6 for n in shape[1:]))
    if name in ("rnn", "ids"):
        return draw.randint(0, 9, shape).astype(np.float32)
    x = draw.randn(*shape).astype(np.float32)
    if name == "masked":
        x[0, 4:], x[1, :2] = 0, 0
    return x


def classes(keras):
    """Layers that are not Keras's own."""
    layers = keras.layers

    @keras.utils.register_keras_serializable("test")
    class Gain(layers.Layer):
        def build(self, shape):
            self.amount = self.add_weight(name="amount", shape=(shape[-1],))

        def call(self, x):
            return x * self.amount

    @keras.utils.register_keras_serializable("test")
    class LNSimpleRNNCell(layers.Layer):
        def __init__(self, units, activation="tanh", **options):
            super().__init__(**options)
            self.units, self.state_size, self.output_size = units, units, units
            self.simple_rnn_cell = layers.SimpleRNNCell(units, activation=None)
            self.layer_norm = layers.LayerNormalization()
            self.activation = keras.activations.get(activation)

        def get_config(self):
            own = {"units": self.units, "activation": keras.activations.serialize(self.activation)}
            return {**super().get_config(), **own}  # Python 3.8

        def call(self, inputs, states):
            outputs, _ = self.simple_rnn_cell(inputs, states)
            outputs = self.activation(self.layer_norm(outputs))
            return outputs, [outputs]

    Gain.LNSimpleRNNCell = LNSimpleRNNCell
    Gain.Gain = Gain
    return Gain


def save(folder, names):
    os.environ["TF_CPP_MIN_LOG_LEVEL"], os.environ["CUDA_VISIBLE_DEVICES"] = "3", ""
    import tensorflow as tf

    keras, version = tf.keras, ".".join(tf.__version__.split(".")[:2])
    folder = folder / version
    folder.mkdir(parents=True, exist_ok=True)
    if int(version.split(".")[1]) > 15:
        save_others(tf, keras, folder)
        import tf_keras as keras
    made = networks(keras, classes(keras), tf.compat.v1.keras.layers)
    for name in names or (made if version == "2.15" else EVERYWHERE):
        keras.backend.clear_session()
        tf.random.set_seed(1)
        model, draw = made[name](), np.random.RandomState(0)
        for v in model.weights:
            if v.dtype == tf.float32 and name != "normalised":
                numbers = draw.randn(*v.shape)
                v.assign(np.abs(numbers) * 0.3 + 0.1 if "variance" in v.name else numbers * 0.4)
        # TensorFlow cannot trace what runs on a GPU alone
        model.save(folder / name, save_format="tf", save_traces=name not in ("cudnn", "untraced"))
        given = [sample(x.shape, name, draw) for x in model.inputs]
        if name == "stateful":
            model.reset_states()
        model = without_cudnn(keras, model, folder) if name == "cudnn" else model
        answers = model(given if len(given) > 1 else given[0])
        answers = answers if isinstance(answers, (list, tuple)) else [answers]
        arrays = {f"x{k}": x for k, x in enumerate(given)}
        np.savez(folder / f"{name}.npz", **arrays, **{f"y{k}": y.numpy() for k, y in enumerate(answers)})
        print(version, name, flush=True)


def without_cudnn(keras, model, folder):
    """The same network of layers that run on a CPU, its weights converted by Keras."""
    layers, path = keras.layers, folder / "cudnn.h5"
    other = keras.Sequential(
        [keras.Input((None, 3)), layers.LSTM(3, return_sequences=True, name="a"), layers.GRU(2, name="b")]
    )
    model.save_weights(path)
    other.load_weights(path)
    path.unlink()
    return other


def save_others(tf, keras, folder):
    """Folders that Keras did not write for itself to read."""
    network = keras.Sequential([keras.Input((5, 3)), keras.layers.Dense(2)])
    network.export(folder / "exported")

    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.kernel = tf.Variable(tf.ones((3, 2)))

        @tf.function(input_signature=[tf.TensorSpec((None, 3))])
        def __call__(self, x):
            return x @ self.kernel

    tf.saved_model.save(Module(), str(folder / "module"))


#: The fields of saved_model.pb that are packed, as {field: those of the message in it}: who wrote it, and the
#: tracked objects with their descriptions, not what is computed.
KEPT = {1: None, 2: {1: {4: None, 5: None}, 7: {1: {1: None, 4: None}}}}


def without_program(data, kept):
    """A message of protocol buffers with the fields in ``kept`` alone."""
    made, at = b"", 0
    while at < len(data):
        key, after = varint(data, at)
        size = 0
        if key & 7 == 2:
            size, after = varint(data, after)
        elif key & 7 == 0:
            _, after = varint(data, after)
        else:
            size = 8 if key & 7 == 1 else 4
        if key >> 3 in kept:
            inner = kept[key >> 3]
            part = data[after : after + size]
            if inner is None or key & 7 != 2:
                made += data[at : after + size]
            else:
                part = without_program(part, inner)
                made += as_varint(key) + as_varint(len(part)) + part
        at = after + size
    return made


def varint(data, at):
    number = shift = 0
    while data[at] > 127:
        number, shift, at = number | (data[at] & 127) << shift, shift + 7, at + 1
    return number | data[at] << shift, at + 1


def as_varint(number):
    made = b""
    while number > 127:
        made, number = made + bytes([number & 127 | 128]), number >> 7
    return made + bytes([number])


def pack(folder):
    with tarfile.open(PACKED, "w:xz", preset=9) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            content = path.read_bytes()
            if path.name == "fingerprint.pb":
                continue
            if path.name == "saved_model.pb":
                if (path.parent / "keras_metadata.pb").exists():
                    continue
                content = without_program(content, KEPT)
            info = tarfile.TarInfo(path.relative_to(folder).as_posix())
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    print(PACKED, PACKED.stat().st_size)


if __name__ == "__main__":
    what, where, *rest = sys.argv[1:]
    pack(Path(where)) if what == "pack" else save(Path(where), rest)
