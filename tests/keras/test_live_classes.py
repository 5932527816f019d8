"""Cells and layers of the user's own, whose call is arithmetic: of live models, and of files by their
classes; against Keras, whole and streamed.
"""

import json
import zipfile

import numpy as np
import pytest
from needs import need

import rnnrt
from rnnrt import layers
from rnnrt.errors import UnsupportedModelError
from rnnrt.layers.recurrent import Recurrent
from rnnrt.passes import optimise

keras = need("keras")
L, ops = keras.layers, keras.ops
pytestmark = pytest.mark.filterwarnings("ignore")


def registered(kind):
    return keras.saving.register_keras_serializable("rnnrt_tests")(kind)


@registered
class MinimalGRUCell(L.Layer):
    """minGRU: h' = (1 - z) h + z g(x), with a weight of its own."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = units
        self.update, self.candidate = L.Dense(units, activation="sigmoid"), L.Dense(units)

    def build(self, shape):
        self.update.build(shape)
        self.candidate.build(shape)
        self.scale = self.add_weight(shape=(self.units,), name="scale")
        self.built = True

    def call(self, x, states, training=False):
        (h,) = states
        z = self.update(x)
        h = (1 - z) * h + z * (self.scale * self.candidate(x))
        return 2 * h, [h]


@registered
class Holder(L.Layer):
    """A cell that calls another one, and starts elsewhere than at zero where it is told to."""

    def __init__(self, cell, start=None, **kwargs):
        super().__init__(**kwargs)
        self.cell, self.state_size, self.start = cell, cell.state_size, start

    def build(self, shape):
        self.cell.build(shape)
        self.built = True

    def call(self, x, states):
        return self.cell(x, states)

    def get_initial_state(self, batch_size=None):
        zeros = self.cell.get_initial_state(batch_size)
        return zeros if self.start is None else [z + self.start for z in zeros]

    def get_config(self):
        own = {"cell": keras.saving.serialize_keras_object(self.cell), "start": self.start}
        return super().get_config() | own

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("cell")), **config)


@registered
class Pooling(L.Layer):
    """Attention to the frames of a sequence, a layer of the user's."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.score = L.Dense(1)

    def build(self, shape):
        self.score.build(shape)
        self.built = True

    def call(self, x):
        return ops.sum(x * ops.softmax(self.score(x), axis=1), axis=1)


@registered
class Written(L.Layer):
    """A cell in which everything is written out with functions of keras.ops."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units, self.state_size = units, [units, units]

    def build(self, shape):
        weight = lambda name, *shape: self.add_weight(shape=shape, name=name)
        self.kernel, self.recurrent = (
            weight("w", shape[-1], 3 * self.units),
            weight("u", self.units, self.units),
        )
        self.decay = weight("decay", self.units)
        self.built = True

    def call(self, x, states):
        h, c = states
        a, b, g = ops.split(ops.matmul(x, self.kernel), 3, axis=-1)
        decay = ops.exp(-ops.softplus(self.decay))
        c = decay * c + ops.sigmoid(a) * ops.leaky_relu(g + h @ self.recurrent, 0.1)
        h = ops.where(b > 0, ops.tanh(c), ops.clip(ops.concatenate([c[:, 1:], c[:, :1]], -1), -0.5, 0.5))
        return h * ops.ones_like(h), (h, c)


def twice_tanh(x):
    return 2 * keras.activations.tanh(x)


@registered
class ClosedFormCell(L.Layer):
    """A cell as ncps writes its CfC: layers with functions of the author's, weights in a dict, a state in a
    list of lists, arguments by name."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units, self.state_size, self.weight_of = units, [units, units], {}
        self.backbone = keras.Sequential([L.Dense(6, activation=twice_tanh), L.Dense(2 * units)])
        self.memory = MinimalGRUCell(units)

    def build(self, shape):
        self.weight_of["t"] = self.add_weight(shape=(self.units,), name="t")
        self.backbone.build((None, shape[-1] + self.units))
        self.memory.build(shape)
        self.built = True

    def call(self, x, states):
        h, m = states
        m = m[0] if isinstance(m, (list, tuple)) else m
        answer, after = self.memory(x, states=[m])
        a, b = ops.split(self.backbone(ops.concatenate([x, h], -1)), 2, -1)
        gate = ops.sigmoid(self.weight_of["t"] * a)
        h = ops.tanh(a) * (1.0 - gate) + gate * ops.tanh(b) + answer
        return h, [h, [after[0]]]


@registered
class ClosedForm(L.RNN):
    """Keras's RNN, but for how it is made."""

    def __init__(self, units, return_sequences=False, **kwargs):
        super().__init__(ClosedFormCell(units), return_sequences=return_sequences, **kwargs)

    def get_config(self):
        return {"units": 4, "return_sequences": self.return_sequences, "name": self.name}


def sequence(cell, **options):
    return L.RNN(cell, return_sequences=True, **options)


NETWORKS = {
    "one": lambda: [sequence(MinimalGRUCell(5)), L.Dense(2)],
    "written": lambda: [sequence(Written(4))],
    "stacked": lambda: [L.RNN([MinimalGRUCell(5), L.GRUCell(4), MinimalGRUCell(3)])],
    "both directions": lambda: [L.Bidirectional(sequence(MinimalGRUCell(4)))],
    "both directions, last": lambda: [L.Bidirectional(L.RNN(MinimalGRUCell(4)))],
    "backwards": lambda: [sequence(Written(4), go_backwards=True)],
    "masked": lambda: [L.Masking(), sequence(Written(4)), L.RNN(MinimalGRUCell(3), go_backwards=True)],
    "masked to zero": lambda: [L.Masking(), sequence(Written(4), zero_output_for_mask=True)],
    "started": lambda: [sequence(Holder(L.GRUCell(4), start=0.5))],
    "holds a GRU": lambda: [sequence(Holder(L.GRUCell(4)))],
    "holds a GRU of Keras 1": lambda: [sequence(Holder(L.GRUCell(4, reset_after=False)))],
    "holds an LSTM": lambda: [sequence(Holder(L.LSTMCell(4)))],
    "holds a SimpleRNN": lambda: [sequence(Holder(L.SimpleRNNCell(4)))],
    "a class that is an RNN": lambda: [ClosedForm(4, return_sequences=True), L.Dense(2)],
    "a class that is an RNN, last": lambda: [L.Masking(), ClosedForm(4)],
    "a layer": lambda: [L.GRU(5, return_sequences=True), Pooling()],
    "a layer of every frame": lambda: [L.GRU(5, return_sequences=True), L.TimeDistributed(L.Dense(3))],
}


def network(name):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((None, 3)), *NETWORKS[name]()])
    random = np.random.default_rng(3)
    for weight in model.weights:
        weight.assign(random.uniform(-0.8, 0.8, weight.shape))
    x = np.random.default_rng(2).standard_normal((3, 9, 3)).astype(np.float32)
    x[:, 2], x[1, 6:] = 0, 0
    return model, x, np.asarray(model.predict(x, verbose=0))


def streamed(made, x):
    stream = made.stream(len(x))
    parts = [np.asarray(stream.push(x[:, a:b])) for a, b in ((0, 4), (4, 5), (5, x.shape[1]))]
    return np.concatenate([*parts, np.asarray(stream.flush())], 1)


CLASSES = {c.__name__: c for c in (MinimalGRUCell, Holder, Pooling, Written)}


#: Of a file the configuration of a class that is an RNN would have to be known.
SOURCES = [
    (n, how) for n in NETWORKS for how in ("live", "file") if how == "live" or "class that is" not in n
]


@pytest.mark.parametrize(("name", "how"), SOURCES)
def test_it_answers_as_keras_does(name, how, tmp_path):
    model, x, expected = network(name)
    if how == "file":
        model.save(tmp_path / "m.keras")
    source = model if how == "live" else tmp_path / "m.keras"
    made = rnnrt.from_keras(source, custom_objects=CLASSES if how == "file" else None)
    y = made(x)
    np.testing.assert_allclose(y, expected, atol=1e-6, rtol=0)
    if made.streamable and expected.ndim == 3:
        np.testing.assert_array_equal(streamed(made, x), y)


@pytest.mark.parametrize(
    "name, kind",
    [
        ("holds a GRU", layers.GRU),
        ("holds a GRU of Keras 1", layers.GRU),
        ("holds an LSTM", layers.LSTM),
        ("holds a SimpleRNN", layers.SimpleRNN),
        ("one", layers.Scan),
    ],
)
def test_what_is_a_known_cell_runs_as_one(name, kind):
    graph = rnnrt.from_keras(network(name)[0]).graph
    assert any(isinstance(x, layers.Scan) for x in graph.layers)
    recurrent = [x for x in optimise(graph).layers if isinstance(x, (Recurrent, layers.Scan))]
    assert [type(x) for x in recurrent] == [kind]


def test_states_are_given_and_returned():
    keras.utils.set_random_seed(4)
    x, h, c = keras.Input((None, 3)), keras.Input((4,)), keras.Input((4,))
    model = keras.Model([x, h, c], L.RNN(Written(4), return_sequences=True, return_state=True)(x, [h, c]))
    random = np.random.default_rng(5)
    given = [random.standard_normal(s).astype(np.float32) for s in ((2, 7, 3), (2, 4), (2, 4))]
    for y, expected in zip(rnnrt.from_keras(model)(*given), model.predict(given, verbose=0), strict=True):
        np.testing.assert_allclose(y, np.asarray(expected), atol=1e-6, rtol=0)


def test_a_lambda_of_a_live_model_is_followed_and_one_of_a_file_is_not_run(tmp_path):
    model = keras.Sequential(
        [keras.Input((None, 3)), L.GRU(4, return_sequences=True), L.Lambda(lambda x: x[:, -1] * 2)]
    )
    x = np.random.default_rng(6).standard_normal((2, 5, 3)).astype(np.float32)
    expected = np.asarray(model.predict(x, verbose=0))
    np.testing.assert_allclose(rnnrt.from_keras(model)(x), expected, atol=1e-6, rtol=0)
    model.save(tmp_path / "m.keras")
    with pytest.raises(UnsupportedModelError, match="not run: load the model in Keras"):
        rnnrt.from_keras(tmp_path / "m.keras")


def test_the_live_model_is_as_before():
    model, _, _ = network("holds a GRU")
    cell = model.layers[0].cell.cell
    before = len(cell._inbound_nodes), len(cell._outbound_nodes), dict(vars(cell))
    rnnrt.from_keras(model)
    assert (len(cell._inbound_nodes), len(cell._outbound_nodes), dict(vars(cell))) == before


class Kept(MinimalGRUCell):
    def call(self, x, states):
        self.last = self.update(x)
        return self.last, [states[0] + self.last]


class Branching(MinimalGRUCell):
    def call(self, x, states):
        return (states[0] if ops.sum(x) > 0 else -states[0]), states


class Drawing(MinimalGRUCell):
    def call(self, x, states):
        return states[0], [states[0] + keras.random.normal((self.units,))]


class Uneven(MinimalGRUCell):
    def get_initial_state(self, batch_size=None):
        return [ops.reshape(ops.arange(batch_size * self.units, dtype="float32"), (batch_size, -1))]


REFUSED = {
    Kept: "keeps a tensor in self.last",
    Branching: "cannot be followed.*custom_objects",
    Drawing: "another answer every time",
    Uneven: "does not give every row the same start",
}


@pytest.mark.parametrize("kind", REFUSED, ids=lambda kind: kind.__name__)
def test_what_cannot_be_followed_is_refused_with_a_way_out(kind):
    model = keras.Sequential([keras.Input((None, 3)), sequence(kind(5))])
    with pytest.raises(UnsupportedModelError, match=REFUSED[kind]):
        rnnrt.from_keras(model)


def test_a_file_names_no_class_that_is_then_looked_up(tmp_path):
    model, _, _ = network("holds a GRU")
    model.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as old, zipfile.ZipFile(tmp_path / "n.keras", "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json":
                config = json.loads(data)
                cell = config["config"]["layers"][1]["config"]["cell"]["config"]["cell"]
                cell |= {"class_name": "Popen", "module": "subprocess"}
                data = json.dumps(config).encode()
            new.writestr(name, data)
    with pytest.raises(UnsupportedModelError, match="'Popen'"):
        rnnrt.from_keras(tmp_path / "n.keras", custom_objects=CLASSES)
