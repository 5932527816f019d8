"""The Keras models that tools/record_keras.py records: functions that return one each.

They are many-branched: one input, one output for every combination of options, so that a hundred cases fit a
few files.
"""

import itertools

import keras
import numpy as np
from keras import layers as L

CELLS = {
    "rnn": L.SimpleRNN,
    "lstm": L.LSTM,
    "gru": L.GRU,
    "gru_before": lambda units, **options: L.GRU(units, reset_after=False, **options),
}


def flat(nest):
    return [x for item in nest for x in (flat(item) if isinstance(item, (list, tuple)) else [item])]


def cells():
    """cell x use_bias x return_sequences x go_backwards, at 5 units."""
    x = keras.Input((None, 5), name="x")
    made = {}
    for (name, cell), bias, sequences, backwards in itertools.product(
        CELLS.items(), (True, False), (True, False), (True, False)
    ):
        label = f"{name}_{'bias' if bias else 'nobias'}_{'all' if sequences else 'last'}"
        label += "_backward" if backwards else "_forward"
        made[label] = cell(5, use_bias=bias, return_sequences=sequences, go_backwards=backwards, name=label)(
            x
        )
    return keras.Model(x, list(made.values()), name="cells")


def sizes():
    """Every cell at 1, 20 and 33 units over one feature."""
    x = keras.Input((None, 1), name="x")
    return keras.Model(
        x,
        [
            cell(units, name=f"{name}_{units}")(x)
            for (name, cell), units in itertools.product(CELLS.items(), (1, 20, 33))
        ],
        name="sizes",
    )


def cell_activations():
    x = keras.Input((None, 3), name="x")
    words = (
        "linear",
        "relu",
        "relu6",
        "leaky_relu",
        "sigmoid",
        "hard_sigmoid",
        "elu",
        "selu",
        "silu",
        "hard_silu",
        "softsign",
        "hard_tanh",
    )
    made = [L.SimpleRNN(3, activation=word, name=f"rnn_{word}")(x) for word in words]
    for name in ("lstm", "gru", "gru_before"):
        for word, gate in (("relu", "hard_sigmoid"), ("softsign", "sigmoid"), ("hard_sigmoid", "tanh")):
            made.append(
                CELLS[name](3, activation=word, recurrent_activation=gate, name=f"{name}_{word}_{gate}")(x)
            )
    return keras.Model(x, made, name="cell_activations")


def bidirectional():
    """cell x merge mode x return_sequences; backward layers of their own; directions exchanged."""
    x = keras.Input((None, 3), name="x")
    made = []
    for (name, cell), mode, sequences in itertools.product(
        CELLS.items(), ("concat", "sum", "mul", "ave", None), (True, False)
    ):
        label = f"{name}_{mode}_{'all' if sequences else 'last'}"
        made.append(L.Bidirectional(cell(4, return_sequences=sequences), merge_mode=mode, name=label)(x))
    for sequences in (True, False):
        options = {"return_sequences": sequences}
        made.append(
            L.Bidirectional(
                L.LSTM(4, **options),
                backward_layer=L.LSTM(4, go_backwards=True, activation="relu", **options),
                name=f"own_{sequences}",
            )(x)
        )
        made.append(
            L.Bidirectional(
                L.GRU(4, go_backwards=True, **options),
                backward_layer=L.GRU(4, **options),
                name=f"exchanged_{sequences}",
            )(x)
        )
    made.append(L.Bidirectional(L.LSTM(3, return_state=True, return_sequences=True), name="states")(x))
    return keras.Model(x, flat(made), name="bidirectional")


def stacks():
    """RNN over cells, stacked cells, final states, initial states."""
    x = keras.Input((None, 4), name="x")
    h, c = keras.Input((4,), name="h"), keras.Input((4,), name="c")
    made = [
        L.RNN(cell, return_sequences=True, name=f"over_{cell.name}")(x)
        for cell in (L.SimpleRNNCell(3, name="a"), L.LSTMCell(3, name="b"), L.GRUCell(3, name="c"))
    ]
    mixed = lambda: [
        L.LSTMCell(5),
        L.GRUCell(3, reset_after=False),
        L.SimpleRNNCell(4, use_bias=False),
        L.LSTMCell(2),
    ]
    made.append(L.RNN(mixed(), name="stack_last")(x))
    made.append(L.RNN(mixed(), return_sequences=True, go_backwards=True, name="stack_backward")(x))
    made.append(L.RNN(mixed(), return_state=True, name="stack_states")(x))
    for name in ("rnn", "gru", "gru_before"):
        made.append(
            CELLS[name](4, return_state=True, return_sequences=True, name=f"{name}_from")(x, initial_state=h)
        )
    encoded = L.LSTM(4, return_state=True, name="encoder")(x, initial_state=[h, c])
    made += [
        encoded,
        L.LSTM(4, return_sequences=True, go_backwards=True, name="decoder")(x, initial_state=encoded[1:]),
    ]
    made.append(L.Bidirectional(L.LSTM(4), name="both_from")(x, initial_state=[h, c, c, h]))
    return keras.Model([x, h, c], flat(made), name="stacks")


def convolutions():
    x = keras.Input((None, 6), name="x")
    made = []
    for padding, taps, (stride, dilation) in itertools.product(
        ("valid", "same", "causal"), (1, 2, 3, 4), ((1, 1), (2, 1), (3, 1), (1, 2))
    ):
        label = f"{padding}_k{taps}_s{stride}_d{dilation}"
        made.append(
            L.Conv1D(
                4,
                taps,
                strides=stride,
                dilation_rate=dilation,
                padding=padding,
                activation="relu",
                name=label,
            )(x)
        )
    made.append(L.Conv1D(4, 3, groups=2, use_bias=False, name="groups")(x))
    made.append(L.Conv1D(12, 3, groups=6, padding="causal", activation="softmax", name="groups_of_one")(x))
    made.append(
        L.DepthwiseConv1D(3, depth_multiplier=2, padding="same", activation="tanh", name="depthwise")(x)
    )
    made.append(
        L.SeparableConv1D(5, 3, depth_multiplier=2, padding="same", activation="relu", name="separable")(x)
    )
    return keras.Model(x, made, name="convolutions")


def pools():
    """Average pooling over "same" padding of one side only is left out: Keras's torch backend repeats the
    edge there.
    """
    x = keras.Input((None, 3), name="x")
    made = [
        pool(size, strides=stride, padding=padding, name=f"{word}_{size}_{stride}_{padding}")(x)
        for (word, pool), (size, stride), padding in itertools.product(
            (("maximum", L.MaxPooling1D), ("average", L.AveragePooling1D)),
            ((2, None), (3, 1), (3, 2), (4, 3)),
            ("valid", "same"),
        )
        if padding == "valid" or word == "maximum" or stride == 1
    ]
    made += [
        L.GlobalMaxPooling1D(name="all_maximum")(x),
        L.GlobalAveragePooling1D(name="all_average")(x),
        L.GlobalAveragePooling1D(keepdims=True, name="kept")(x),
    ]
    made += [
        L.ZeroPadding1D((2, 1), name="zeros")(x),
        L.Cropping1D((2, 4), name="crop")(x),
        L.Cropping1D((0, 3), name="crop_end")(x),
    ]
    return keras.Model(x, made, name="pools")


def pointwise():
    """Dense, norms, activations and merges, on sequences."""
    x = keras.Input((None, 5), name="x")
    y = L.Dense(5, name="dense")(x)
    made = [y]
    for word in (
        "relu",
        "relu6",
        "leaky_relu",
        "elu",
        "selu",
        "silu",
        "hard_silu",
        "sigmoid",
        "hard_sigmoid",
        "tanh",
        "softsign",
        "exponential",
        "softmax",
        "hard_tanh",
    ):
        made.append(L.Activation(word, name=word)(y))
    made += [
        L.ReLU(name="re_lu")(y),
        L.ReLU(max_value=0.5, name="clipped")(y),
        L.ReLU(negative_slope=0.1, name="sloped")(y),
    ]
    made += [
        L.LeakyReLU(name="leaky_default")(y),
        L.LeakyReLU(negative_slope=0.05, name="leaky")(y),
        L.ELU(alpha=0.5, name="elu_half")(y),
        L.Softmax(name="soft")(y),
    ]
    for scale, center in itertools.product((True, False), (True, False)):
        made.append(L.BatchNormalization(scale=scale, center=center, name=f"batch_{scale}_{center}")(y))
        made.append(
            L.LayerNormalization(scale=scale, center=center, epsilon=1e-2, name=f"layer_{scale}_{center}")(y)
        )
    made.append(L.Dense(3, use_bias=False, activation="softmax", name="dense_softmax")(y))
    made.append(L.Dense(3, activation=L.LeakyReLU(negative_slope=0.07), name="dense_layer")(y))
    z = L.Dense(5, name="other")(x)
    made += [
        merge(name=f"merge_{merge.__name__.lower()}")([x, y, z])
        for merge in (L.Add, L.Multiply, L.Average, L.Concatenate)
    ]
    made += [
        L.Subtract(name="merge_subtract")([y, z]),
        y + z,
        y * z,
        L.Rescaling(0.5, offset=-1.0, name="rescaling")(y),
    ]
    made.append(L.TimeDistributed(L.Dense(3, activation="tanh"), name="distributed")(y))
    return keras.Model(x, made, name="pointwise")


def text_classifier():
    return keras.Sequential(
        [
            keras.Input((None,), name="ids"),
            L.Embedding(11, 7),
            L.SpatialDropout1D(0.2),
            L.Conv1D(8, 3, padding="same", activation="relu"),
            L.MaxPooling1D(2, padding="same"),
            L.LSTM(6),
            L.Dropout(0.5),
            L.Dense(3, activation="softmax"),
        ],
        name="text_classifier",
    )


def forecaster():
    """Fixed length, an encoder and a decoder, shapes changed on the way."""
    return keras.Sequential(
        [
            keras.Input((8, 3)),
            L.Permute((2, 1)),
            L.Permute((2, 1)),
            L.Reshape((4, 6)),
            L.GRU(5, return_sequences=True),
            L.Flatten(),
            L.Dense(6),
            L.Reshape((2, -1)),
            L.SimpleRNN(4),
            L.RepeatVector(3),
            L.LSTM(4, return_sequences=True, dropout=0.3, recurrent_dropout=0.2),
            L.TimeDistributed(L.Dense(2)),
        ],
        name="forecaster",
    )


def branches():
    """Two inputs, a shared layer called twice, a nested model called twice, residual sums, several
    outputs.
    """
    a, b, k = keras.Input((None, 4), name="a"), keras.Input((None, 4), name="b"), keras.Input((3,), name="k")
    shared = L.GRU(4, return_sequences=True, name="shared")
    p, q = shared(a), shared(b)
    inside = keras.Input((None, 4))
    norm = L.BatchNormalization()(L.Dense(4, activation="relu")(inside))
    nested = keras.Model(inside, [L.Add()([inside, norm]), L.LSTM(3)(norm)], name="nested")
    (u, last), (v, second) = nested(p), nested(q)
    ends = L.Concatenate(name="ends")([last, L.Dense(2, name="key")(k), second])
    series = keras.Sequential([L.Dense(5, activation="tanh"), L.Dense(2)], name="series")
    return keras.Model(
        [a, k, b],
        [series(L.Average(name="mean")([u, v])), ends, L.GlobalMaxPooling1D(name="top")(q)],
        name="branches",
    )


def calls_of(network, wired):
    """A model in which ``network`` ("functional" or "sequential"), Dense(3), is called as ``wired(enc, x)``
    says; ``wired`` gives the outputs.
    """

    def make():
        x = keras.Input((None, 3), name="x")
        dense = L.Dense(3, activation="tanh", name="inside")
        if network == "sequential":
            enc = keras.Sequential([keras.Input((None, 3)), dense], name="enc")
        else:
            i = keras.Input((None, 3), name="i")
            enc = keras.Model(i, dense(i), name="enc")
        return keras.Model(x, wired(enc, x), name=make.__name__)

    make.__name__ = f"{wired.__name__}_{network}"
    return make


def first_of_two(enc, x):
    kept, other = enc(x), enc(L.Dense(3, name="before")(x))
    return [kept, L.LSTM(2, name="end")(other)]


def second_of_two(enc, x):
    other, kept = enc(x), enc(L.Dense(3, name="before")(x))
    return [kept, L.LSTM(2, name="end")(other)]


def chain_both(enc, x):
    first = enc(x)
    return [first, enc(L.Activation("relu", name="between")(first))]


def chain_of_three(enc, x):
    return enc(enc(enc(x)))


def called_outside(enc, x):
    """The first of three calls is not one of the network's, and of the others the later comes first."""
    enc(L.Dense(3, name="aside")(x))
    late, soon = enc(L.Dense(3, name="before")(x)), enc(x)
    return [L.LSTM(2, name="end")(soon), late, L.Subtract(name="difference")([soon, late])]


#: What ``calls_of`` records.
WIRED = (first_of_two, second_of_two, chain_both, chain_of_three, called_outside)


def several_inputs():
    """A network of two inputs and two outputs, itself holding a network, called twice with its inputs
    exchanged.
    """
    i, j = keras.Input((None, 3), name="i"), keras.Input((None, 3), name="j")
    k = keras.Input((None, 3), name="k")
    inner = keras.Model(k, L.Dense(3, activation="tanh", name="deep")(k), name="inner")
    u, v = inner(i), inner(inner(j))
    pair = keras.Model([i, j], [L.Subtract(name="minus")([u, v]), v], name="pair")
    a, b = keras.Input((None, 3), name="a"), keras.Input((None, 3), name="b")
    (p, q), (r, _) = pair([a, b]), pair([b, a])
    return keras.Model([a, b], [q, L.LSTM(2, name="end")(r), p], name="several_inputs")


def words():
    """TimeDistributed over layers and a model that have a time of their own, inside each frame."""
    x = keras.Input((None, 6, 3), name="x")
    inside = keras.Input((6, 3))
    model = keras.Model(
        inside, L.Dense(2)(L.Bidirectional(L.LSTM(3))(L.Conv1D(4, 3, padding="same")(inside)))
    )
    y = L.TimeDistributed(L.Conv1D(4, 2, activation="relu"), name="conv")(x)
    z = L.TimeDistributed(L.Flatten(), name="flat")(L.TimeDistributed(L.MaxPooling1D(2), name="pool")(y))
    return keras.Model(
        x,
        [
            L.LSTM(3, name="lstm")(z),
            L.TimeDistributed(model, name="model")(x),
            L.TimeDistributed(L.Dense(2), name="dense")(x),
        ],
        name="words",
    )


@keras.saving.register_keras_serializable(package="record")
def hard_sigmoid_of_keras2(x):
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def old_words():
    """What a Keras 2.2 model computes: gates by the old hard_sigmoid, GRU with reset before."""
    gate = {"recurrent_activation": hard_sigmoid_of_keras2}
    x = keras.Input((None, 4), name="x")
    y = L.Bidirectional(L.LSTM(5, return_sequences=True, **gate), name="bidirectional_1")(x)
    y = L.BatchNormalization(name="norm")(
        L.GRU(4, reset_after=False, return_sequences=True, name="gru_1", **gate)(y)
    )
    inside = keras.Input((None, 4), name="inside")
    z = L.BatchNormalization(name="inner_norm")(L.Conv1D(4, 3, padding="causal", name="inner_conv")(inside))
    nested = keras.Model(
        inside, L.Dense(4, activation=hard_sigmoid_of_keras2, name="inner_dense")(z), name="model_1"
    )
    return keras.Model(
        x,
        [L.Add(name="sum")([nested(y), y]), L.Dense(2, name="dense_1")(L.LSTM(3, name="lstm_1", **gate)(y))],
        name="old_words",
    )


def old_series():
    gate = {"recurrent_activation": hard_sigmoid_of_keras2}
    return keras.Sequential(
        [
            keras.Input((None, 3), name="lstm_3_input"),
            L.LSTM(4, return_sequences=True, name="lstm_3", **gate),
            L.LSTM(3, name="lstm_4", **gate),
            L.Dense(2, activation="softmax", name="dense_2"),
        ],
        name="sequential_1",
    )


class LNSimpleRNNCell(L.Layer):
    """The textbook's cell, as it is written there."""

    def __init__(self, units, activation="tanh", **options):
        super().__init__(**options)
        self.state_size = self.output_size = units
        self.simple_rnn_cell = L.SimpleRNNCell(units, activation=None)
        self.layer_norm = L.LayerNormalization()
        self.activation = keras.activations.get(activation)

    def call(self, inputs, states):
        outputs, _ = self.simple_rnn_cell(inputs, states)
        normed = self.activation(self.layer_norm(outputs))
        return normed, [normed]


def normalised():
    model = keras.Sequential(
        [
            keras.Input((None, 3)),
            L.RNN(LNSimpleRNNCell(20), return_sequences=True),
            L.RNN(LNSimpleRNNCell(5, activation="relu")),
            L.Dense(2),
        ],
        name="normalised",
    )
    model(np.zeros((1, 2, 3), np.float32))  # such a cell has its variables only after the first call
    return model
