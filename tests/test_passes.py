"""Passes: the answers stay, the names a caller uses stay, layers vanish where that is exact and nowhere
else.
"""

import math

import numpy as np
import pytest
from random_graphs import frames_needed, random_graph

import rnnrt
from rnnrt import passes, reference, verification
from rnnrt.format import file
from rnnrt.graph import GraphBuilder
from rnnrt.layers import (
    GRU,
    LSTM,
    Activation,
    Add,
    Affine,
    BatchNormalization,
    Concatenate,
    Conv1D,
    Dense,
    Embedding,
    Flatten,
    Function,
    MaxPool1D,
    Multiply,
    Reshape,
    Reverse,
    Select,
    SimpleRNN,
    TimeDistributed,
)
from rnnrt.layers.function import LINEAR


def normal(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(np.float32)


class Chain(GraphBuilder):
    """A builder with the layers these tests are made of; everything is 6 wide."""

    def __init__(self, **fields):
        super().__init__()
        self.x = self.input("x", (6,), **fields)

    def dense(self, x, name="dense", **fields):
        return self.add(Dense, name, x, weight=normal(6, 6), **{"bias": normal(6)} | fields)

    def conv(self, x, name="conv", groups=1, **fields):
        return self.add(
            Conv1D, name, x, weight=normal(6, 3, 6 // groups), groups=groups, **{"bias": normal(6)} | fields
        )

    def bn(self, x, name="bn", **fields):
        mean, variance, gamma, beta = (normal(6, seed=n) for n in range(1, 5))
        mean = np.clip(mean, -0.3, 0.3)  # within a deviation of zero: farther off it is not folded forward
        statistics = {"mean": mean, "variance": np.abs(variance) + 0.1, "gamma": gamma, "beta": beta}
        return self.add(BatchNormalization, name, x, **statistics | fields)

    def rnn(self, x, kind, name="rnn", **fields):
        rows = kind.gates * 4
        return self.add(
            kind,
            name,
            x,
            weight=normal(rows, 6),
            recurrent_weight=normal(rows, 4),
            **{"bias": normal(rows)} | fields,
        )

    def done(self, **outputs):
        for name, value in outputs.items():
            self.output(name, value)
        return self.graph()


def inputs_of(graph, time=None):
    inputs, _ = verification.reference_sample(graph)
    return (
        inputs
        if time is None
        else {n: a[:, :time] if graph.signals[n].time else a for n, a in inputs.items()}
    )


def same_answers(graph, made, inputs=None, tolerance=1e-5):
    """Whether two graphs answer alike, under the same names; also the final states they share."""
    inputs = inputs or inputs_of(graph)
    (before, states), (after, left) = (reference.run(g, inputs) for g in (graph, made))
    assert list(before) == list(after) and [o.axes for o in graph.outputs] == [o.axes for o in made.outputs]
    assert graph.inputs == made.inputs and graph.metadata == made.metadata and set(left) <= set(states)
    for one, other in ((before, after), ({n: states[n] for n in left}, left)):
        for name, array in one.items():
            np.testing.assert_allclose(
                other[name], array, rtol=tolerance, atol=tolerance * max(1, np.abs(array).max(initial=0))
            )


def kinds(graph):
    return [layer.kind for layer in graph.layers if layer.kind != "input"]


# ---- batch normalisation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("padding", [(0, 0), (2, 0), (1, 1)])
def test_batch_norm_goes_into_the_product_before_it(bias, padding):
    b = Chain()
    fields = {} if bias else {"bias": None}
    graph = b.done(
        dense=b.bn(b.dense(b.x, **fields), "bn1"),
        conv=b.bn(b.conv(b.x, padding=padding, stride=2, **fields), "bn2"),
        bare=b.bn(b.dense(b.x, "dense2"), "bn3", gamma=None, beta=None, epsilon=1e-5),
    )
    made = passes.optimise(graph)
    assert sorted(kinds(made)) == ["conv1d", "dense", "dense"]
    same_answers(graph, made)


@pytest.mark.parametrize(
    "after",
    [
        lambda b, x: b.dense(x, activation="tanh"),
        lambda b, x: b.dense(x, bias=None),
        lambda b, x: b.conv(x, stride=2, dilation=2),
        lambda b, x: b.conv(x, groups=3, bias=None),
        lambda b, x: b.conv(x, groups=6, activation="relu"),
        lambda b, x: b.rnn(x, SimpleRNN, reverse=True),
        lambda b, x: b.rnn(x, LSTM, bias=None),
        lambda b, x: b.rnn(x, LSTM, norm="joint"),
        lambda b, x: b.rnn(x, GRU, reset_after=True, recurrent_bias=normal(12)),
        lambda b, x: b.rnn(x, GRU, reset_after=False),
        lambda b, x: b.rnn(x, GRU, norm="gates", bias=None),
    ],
)
def test_batch_norm_goes_into_the_product_after_it(after):
    b = Chain()
    graph = b.done(y=after(b, b.bn(b.x)))
    made = passes.optimise(graph)
    assert len(kinds(made)) == 1 and kinds(made)[0] == graph.layers[-1].kind
    assert made.layers[-1].bias is not None and made.layers[-1].name == graph.layers[-1].name
    same_answers(graph, made)


def test_batch_norm_goes_into_all_its_readers_or_none():
    b = Chain()
    x = b.bn(b.x)
    graph = b.done(a=b.dense(x), b=b.rnn(x, LSTM), c=b.conv(x))
    made = passes.optimise(graph)
    assert sorted(kinds(made)) == ["conv1d", "dense", "lstm"]
    same_answers(graph, made)
    b = Chain()
    x = b.bn(b.x)
    graph = b.done(a=b.dense(x), b=b.conv(x, padding=(1, 0)))
    made = passes.optimise(graph)
    assert sorted(kinds(made)) == ["batch_normalization", "conv1d", "dense"]
    np.testing.assert_array_equal(made["dense"].weight, graph["dense"].weight)
    same_answers(graph, made)


def test_batch_norms_in_a_row_all_fold():
    b = Chain()
    graph = b.done(
        y=b.rnn(b.bn(b.bn(b.x, "bn1"), "bn2", gamma=None), GRU), z=b.bn(b.bn(b.dense(b.x), "bn3"), "bn4")
    )
    made = passes.optimise(graph)
    assert sorted(kinds(made)) == ["dense", "gru"]
    same_answers(graph, made)


INEXACT = {
    "before zero padding": lambda b: b.conv(b.bn(b.x), padding=(1, 1)),
    "before zero padding behind": lambda b: b.conv(b.bn(b.x), padding=(0, 2)),
    "before padding by length": lambda b: b.conv(b.bn(b.x), padding="same", stride=2),
    "after an activation": lambda b: b.bn(b.dense(b.x, activation="relu")),
    "after a recurrent layer": lambda b: b.bn(
        b.add(SimpleRNN, "rnn", b.x, weight=normal(6, 6), recurrent_weight=normal(6, 6))
    ),
    "before a pooling": lambda b: b.add(MaxPool1D, "pool", b.bn(b.x)),
    "before a sum": lambda b: b.add(Add, "sum", b.bn(b.x), b.x),
    "before an activation": lambda b: b.dense(b.add(Activation, "relu", b.bn(b.x), activation="relu")),
    "alone": lambda b: b.bn(b.x),
}


@pytest.mark.parametrize("place", INEXACT)
def test_batch_norm_stays_where_folding_is_not_exact(place):
    b = Chain()
    graph = b.done(y=INEXACT[place](b))
    made = passes.optimise(graph)
    assert kinds(made).count("batch_normalization") == 1
    same_answers(graph, made)


def test_what_others_read_or_see_is_not_folded_into():
    b = Chain()
    x = b.dense(b.x)
    graph = b.done(y=b.bn(x), z=b.rnn(x, GRU))
    made = passes.optimise(graph)
    assert sorted(kinds(made)) == ["batch_normalization", "dense", "gru"]
    same_answers(graph, made)
    b = Chain()
    x = b.dense(b.x)
    graph = b.done(y=b.bn(x), seen=x)
    assert sorted(kinds(passes.optimise(graph))) == ["batch_normalization", "dense"]
    same_answers(graph, passes.optimise(graph))
    b = Chain()
    x = b.bn(b.x)
    graph = b.done(y=b.dense(x), seen=x)
    assert sorted(kinds(passes.optimise(graph))) == ["batch_normalization", "dense"]
    same_answers(graph, passes.optimise(graph))


def test_folding_is_computed_in_float64():
    """Statistics far from zero: products rounded to float32 on the way would lose the difference."""
    b = Chain()
    mean, variance = np.full(6, 3e5, np.float32), np.full(6, 1e-4, np.float32)
    b = Chain()
    graph = b.done(y=b.bn(b.dense(b.x), mean=mean, variance=variance, epsilon=1e-6))
    made = passes.optimise(graph)
    scale, offset = graph["bn"].affine()
    np.testing.assert_array_equal(
        made["dense"].weight, (graph["dense"].weight * scale[:, None]).astype(np.float32)
    )
    np.testing.assert_array_equal(
        made["dense"].bias, (graph["dense"].bias * scale + offset).astype(np.float32)
    )


@pytest.mark.parametrize("groups", [None, 1, 3])
def test_folding_forward_is_computed_in_float64(groups):
    """Each new weight and bias is the exact one, rounded once."""
    b = Chain()
    x = b.bn(b.x)
    graph = b.done(y=b.dense(x, "after") if groups is None else b.conv(x, "after", groups=groups))
    made, before = passes.optimise(graph)["after"], graph["after"]
    scale, offset = graph["bn"].affine()
    if groups:
        group = np.repeat(np.arange(groups), 6 // groups)
        scale, offset = (a.reshape(groups, 1, -1)[group] for a in (scale, offset))
    weight = before.weight.astype(np.float64)
    bias = [float(b) + math.fsum(row.ravel()) for b, row in zip(before.bias, weight * offset)]
    np.testing.assert_array_equal(made.weight, (weight * scale).astype(np.float32))
    np.testing.assert_array_equal(made.bias, np.array(bias).astype(np.float32))


NORMALISED = {
    "alone": lambda b, x: x,
    "before a dense": lambda b, x: b.dense(x),
    "before a convolution": lambda b, x: b.conv(x),
    "before a padded convolution": lambda b, x: b.conv(x, padding=(2, 0)),
    "before a recurrent layer": lambda b, x: b.rnn(x, LSTM),
    "before another": lambda b, x: b.dense(b.bn(x, "again")),
    "before a sum": lambda b, x: b.add(Add, "sum", x, b.dense(x)),
}


def rounding(graph, x):
    """The largest errors of the engine and of float32 as the graph is written, against float64."""
    wanted = reference.run(graph, {"x": x})[0]["y"]
    written = reference.run(graph, {"x": x}, dtype=np.float32)[0]["y"]
    return (np.abs(y - wanted).max() for y in (rnnrt.from_graph(graph)(x), written))


@pytest.mark.parametrize("place", NORMALISED)
@pytest.mark.parametrize("mean", [0, 0.3, 1, 3, 10, 100, 1013, 1e4])
@pytest.mark.parametrize("deviation", [0.01, 1, 5, 1000])
def test_a_fold_forward_loses_no_digits(place, mean, deviation):
    """Inputs as the norm's own statistics say they are: raw pressures, pixels, samples."""
    b, signs = Chain(), np.array([1, 1, 1, -1, -1, 1])
    means, variance = (mean * signs).astype(np.float32), np.full(6, deviation**2)
    graph = b.done(y=NORMALISED[place](b, b.bn(b.x, mean=means, variance=variance)))
    x = (normal(4, 40, 6, seed=9) * deviation + means).astype(np.float32)
    error, written = rounding(graph, x)
    assert error <= max(1e-5, 2 * written)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("mean", [0, 1, 10, 100, 1013, 1e4])
@pytest.mark.parametrize("deviation", [0.1, 1, 5])
def test_a_fold_backward_loses_no_digits(bias, mean, deviation):
    """Products whose outputs have the statistics: by their bias, or by inputs that are far from zero."""
    b, weight = Chain(), np.abs(normal(6, 6)) + np.eye(6, dtype=np.float32)
    given, shift = (np.full(6, mean), 0.0) if bias else (None, mean / weight.sum(1).mean())
    x = b.add(Dense, "dense", b.x, weight=weight, bias=given)
    means = np.full(6, mean) if bias else weight.sum(1) * shift
    graph = b.done(y=b.bn(x, mean=means, variance=np.full(6, deviation**2)))
    made = passes.optimise(graph)
    assert kinds(made) == ["dense"]
    frames = normal(4, 40, 6, seed=9) * deviation / np.sqrt((weight**2).sum(1).mean()) + shift
    error, written = rounding(graph, frames.astype(np.float32))
    assert error <= max(1e-5, 2 * written)


def test_a_mean_far_from_zero_is_taken_off_first():
    """x - mean is exact where x is near the mean, so that y is rounded twice at most, however far off the
    mean is.
    """
    b = Chain()
    mean = np.array([1013, -1e4, 3e5, 0.1, 7, 1e-3], np.float32)
    graph = b.done(y=b.bn(b.x, mean=mean, variance=np.ones(6), gamma=None, beta=None, epsilon=0.0))
    x = (mean + normal(3, 5, 6, seed=2)).astype(np.float32)
    assert (rnnrt.from_graph(graph)(x) == x - mean).all()


@pytest.mark.parametrize("offset", [0.5, -1013])
def test_a_shift_of_raw_inputs_is_not_folded(offset):
    """x - 1013 as a program writes it, in front of a product: what is folded loses digits that the program
    keeps.
    """
    b = Chain()
    shifted = b.add(Affine, "shift", b.x, scale=np.ones(6), offset=np.full(6, offset))
    graph = b.done(y=b.dense(shifted))
    assert ("affine" in kinds(passes.optimise(graph))) == (offset == -1013)
    error, written = rounding(graph, (normal(4, 40, 6, seed=9) - offset).astype(np.float32))
    assert error <= max(1e-5, 2 * written)


def test_weights_beyond_float32_are_not_folded():
    b = Chain()
    x = b.add(Dense, "dense", b.x, weight=np.full((6, 6), 1e20, np.float32))
    graph = b.done(
        y=b.bn(
            x,
            variance=np.full(6, 1e-38),
            gamma=np.full(6, 1e5),
            mean=np.zeros(6),
            beta=np.zeros(6),
            epsilon=0.0,
        )
    )
    made = passes.optimise(graph)
    assert sorted(kinds(made)) == ["batch_normalization", "dense"] and np.isfinite(made["dense"].weight).all()


# ---- activations, trivial and dead layers ------------------------------------------------------------------


def test_an_activation_goes_into_the_product_before_it():
    b = Chain()
    graph = b.done(
        y=b.add(Activation, "leaky", b.dense(b.x), activation=("leaky_relu", 0.3)),
        z=b.add(Activation, "tanh", b.bn(b.conv(b.x, padding=(2, 0))), activation="tanh"),
    )
    made = passes.optimise(graph)
    assert sorted(kinds(made)) == ["conv1d", "dense"]
    assert made["dense"].activation == Function("leaky_relu", (0.3,)) and made["conv"].activation == Function(
        "tanh"
    )
    same_answers(graph, made)


def test_an_activation_stays_where_the_product_has_one_or_is_read_elsewhere():
    b = Chain()
    both = b.dense(b.x, "both")
    graph = b.done(
        a=b.add(Activation, "relu", b.dense(b.x, activation="tanh"), activation="relu"),
        b=b.add(Activation, "relu", both, activation="relu"),
        c=b.add(Activation, "relu", b.x, activation="relu"),
        d=b.add(Add, "sum", both, b.x),
    )
    made = passes.optimise(graph)
    assert kinds(made).count("activation") == 3
    same_answers(graph, made)


def test_layers_that_change_nothing_vanish():
    b = Chain()
    x = b.add(Activation, "linear", b.x)
    x = b.add(Reshape, "reshape", x, features=(6,))
    x = b.add(Concatenate, "one", x)
    x = b.add(Add, "sum", x)
    x = b.add(Multiply, "product", x)
    x = b.add(Select, "all", x, index=range(6))
    x = b.add(Reverse, "there", x)
    x = b.add(Reverse, "back", x)
    graph = b.done(y=b.rnn(x, LSTM))
    made = passes.optimise(graph)
    assert kinds(made) == ["lstm"] and made["rnn"].inputs == ("x",)
    same_answers(graph, made)


def test_layers_that_only_look_trivial_stay():
    b = Chain()
    x = b.add(Select, "half", b.x, index=range(3))
    x = b.add(Select, "turned", x, index=(2, 1, 0))
    graph = b.done(y=b.add(Reverse, "reverse", x), twice=b.add(Add, "twice", x, x))
    made = passes.optimise(graph)
    assert kinds(made) == kinds(graph)
    same_answers(graph, made)


def test_of_shapes_one_after_the_other_only_the_last_counts():
    b = Chain()
    x = b.add(Select, "half", b.x, index=range(3, -1, -1))
    column = b.add(Reshape, "column", x, features=(4, 1))
    square = b.add(Reshape, "square", column, features=(2, 2))
    row = b.add(Reshape, "row", square, features=(4,))
    graph = b.done(y=b.add(Add, "twice", x, row), square=square)
    made = passes.optimise(graph)
    assert kinds(made) == ["select", "add", "reshape"] or kinds(made) == ["select", "reshape", "add"]
    assert made["twice"].inputs == ("half", "half") and made["square"].inputs == ("half",)
    same_answers(graph, made)


def test_dead_layers_vanish_and_inputs_stay():
    b = Chain()
    unused = b.input("unused", (2,))
    b.dense(b.x, "dead")
    b.add(Select, "dead_too", unused, index=(0,))
    graph = b.done(y=b.rnn(b.x, LSTM))
    made = passes.optimise(graph)
    assert kinds(made) == ["lstm"] and made.inputs == ("x", "unused")
    same_answers(graph, made)


def test_outputs_and_states_keep_their_names():
    b = Chain()
    h = b.rnn(b.bn(b.x), LSTM, "memory")
    shown = b.add(Activation, "shown", b.add(Dense, "head", h, weight=normal(6, 4)), activation="sigmoid")
    b.output("first", shown, "bft")
    b.output("last", "memory:c")
    b.output("cells", b.add(Activation, "copy", "memory:cells"), "tbf")
    graph = b.graph()
    made = passes.optimise(graph)
    assert [(o.name, o.value, o.axes) for o in made.outputs] == [
        ("first", "head", "bft"),
        ("last", "memory:c", "bf"),
        ("cells", "memory:cells", "tbf"),
    ]
    assert set(reference.run(made, inputs_of(made))[1]) == {"memory/h", "memory/c"}
    same_answers(graph, made)


def test_the_graph_inside_a_frame_is_optimised_too():
    inner = Chain(length=5)
    inner.output(
        "y",
        inner.add(
            Flatten,
            "flatten",
            inner.add(Activation, "relu", inner.bn(inner.conv(inner.x)), activation="relu"),
        ),
    )
    b = GraphBuilder()
    x = b.add(Reshape, "frames", b.input("x", (30,)), features=(5, 6))
    b.output("y", b.add(TimeDistributed, "inside", x, graph=inner.graph()))
    graph = b.graph()
    made = passes.optimise(graph)
    assert kinds(made["inside"].graph) == ["conv1d", "flatten"]
    same_answers(graph, made)


def test_ids_and_initial_states_pass_through():
    b = GraphBuilder()
    x = b.add(Embedding, "table", b.input("ids", (), ids=True), weight=normal(9, 6))
    a0 = b.input("a0", (4,), time=False)
    c0 = b.add(Affine, "c0", a0, scale=np.zeros(4), offset=np.zeros(4))
    x = b.add(BatchNormalization, "bn", x, mean=np.full(6, 0.5), variance=np.ones(6))
    h = b.add(LSTM, "lstm", x, a0, c0, weight=normal(16, 6), recurrent_weight=normal(16, 4))
    b.output("y", h)
    graph = b.graph()
    made = passes.optimise(graph)
    assert kinds(made) == ["embedding", "affine", "lstm"] and made["lstm"].inputs == ("table", "a0", "c0")
    same_answers(graph, made)


# ---- any graph ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streamable", [True, False])
def test_random_graphs_answer_alike_before_and_after(streamable):
    fewer = 0
    for seed in range(300):
        graph, inputs = random_graph(seed, streamable)
        made = passes.optimise(graph)
        same_answers(graph, made, inputs(2, frames_needed(graph) + 3))
        assert kinds(passes.optimise(made)) == kinds(made), seed
        assert not any(x.kind == "activation" and x.activation == LINEAR for x in made.layers)
        fewer += len(made.layers) < len(graph.layers)
    assert fewer > 60


def test_a_sum_is_taken_into_a_product_of_single_frames():
    b = Chain()
    one_tap = {"weight": normal(6, 1, 6), "bias": normal(6)}
    residual = b.add(Add, "residual", b.x, b.dense(b.x))
    skip = b.add(Add, "skip", b.add(Conv1D, "one_tap", residual, **one_tap), residual)
    graph = b.done(y=b.add(Activation, "relu", skip, activation="relu"))
    made = passes.optimise(graph)
    assert [x.inputs for x in made.layers if x.kind == "dense"] == [("x", "x"), ("residual", "residual")]
    assert kinds(made) == ["dense", "dense"] and made["skip"].activation.name == "relu"
    same_answers(graph, made)
    model = rnnrt.from_graph(graph)
    x = normal(9, 6)
    stream = model.stream()
    np.testing.assert_array_equal(model(x), [stream.step(frame) for frame in x])


@pytest.mark.parametrize("kind", [Multiply, Concatenate, Add])
def test_what_is_not_a_sum_of_two_or_is_read_elsewhere_stays(kind):
    b = Chain()
    product = b.dense(b.x)
    joined = b.add(kind, "joined", product, b.x)
    shown = {"product": product} if kind is Add else {}
    graph = b.done(y=joined, **shown)
    made = passes.optimise(graph)
    assert kinds(made) == ["dense", kind.kind]
    same_answers(graph, made)


def test_the_given_graph_is_not_changed():
    b = Chain()
    graph = b.done(y=b.add(Activation, "relu", b.bn(b.dense(b.x)), activation="relu"))
    before = file.canonical_json(graph), [x.weight.copy() for x in graph.layers if x.kind == "dense"]
    passes.optimise(graph)
    assert file.canonical_json(graph) == before[0]
    np.testing.assert_array_equal(graph["dense"].weight, before[1][0])


@pytest.mark.parametrize("streamable", [True, False])
def test_random_graphs_are_the_same_for_the_same_seed_and_save(tmp_path, streamable):
    for seed in range(40):
        (graph, inputs), (again, others) = random_graph(seed, streamable), random_graph(seed, streamable)
        file.save(graph, tmp_path / "a", golden=verification.reference_sample(graph))
        file.save(again, tmp_path / "b", golden=verification.reference_sample(again))
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
        assert file.canonical_json(file.load(tmp_path / "a").graph) == file.canonical_json(graph)
        np.testing.assert_array_equal(inputs(2, 5)["x"], others(2, 5)["x"])
