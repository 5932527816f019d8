"""Keras models whose layers do not take their tensors as they are: two sequences of fixed length that meet
frame by frame, ids of several columns, and models that are classes of their author's; against Keras.
"""

import numpy as np
import pytest
from needs import need

import rnnrt
from rnnrt.errors import NotStreamableError, UnsupportedModelError

keras = need("keras")
L, ops = keras.layers, keras.ops


class Residual(keras.Model):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, x):
        return x + self.inner(x)


class FedBack(keras.Model):
    """Its own answers, read back in: as many as it is told."""

    def __init__(self, units, steps):
        super().__init__()
        self.steps, self.cell, self.dense = steps, L.LSTMCell(units), L.Dense(3)
        self.rnn = L.RNN(self.cell, return_state=True)

    def call(self, x):
        h, *state = self.rnn(x)
        made = [self.dense(h)]
        for _ in range(1, self.steps):
            h, state = self.cell(made[-1], states=state)
            made.append(self.dense(h))
        return ops.transpose(ops.stack(made), [1, 0, 2])


class Tagger(keras.Model):
    def __init__(self):
        super().__init__()
        self.table, self.rnn, self.dense = L.Embedding(9, 4), L.GRU(5, return_sequences=True), L.Dense(2)

    def call(self, x):
        return self.dense(self.rnn(self.table(x)))


class Started(keras.Model):
    """It asks its layers for the states that they start from."""

    def __init__(self):
        super().__init__()
        self.first, self.rnn = L.GRU(4, return_sequences=True), L.LSTM(3, return_sequences=True)

    def call(self, x):
        y = self.first(x, initial_state=self.first.get_initial_state(ops.shape(x)[0]))
        return self.rnn(y, initial_state=self.rnn.get_initial_state(ops.shape(x)[0]))


class Weighted(L.Layer):
    """A weighted mean over the frames that a mask says are real; ``after``: what its mask is behind."""

    def __init__(self, after):
        super().__init__()
        self.supports_masking, self.after, self.ask = True, after, L.Dense(1)

    def call(self, x, mask=None):
        e = ops.exp(ops.squeeze(self.ask(x), -1))
        e = e if mask is None else e * ops.cast(mask, "float32")
        e = e / (ops.sum(e, axis=1, keepdims=True) + 1e-7)
        return (
            ops.sum(x * ops.expand_dims(e, -1), axis=1)
            if self.after == "none"
            else x * ops.expand_dims(e, -1)
        )

    def compute_mask(self, x, mask=None):
        if self.after == "turned":
            return None if mask is None else ops.logical_not(mask)
        return None if self.after == "none" else mask


def masked(after):
    i = keras.Input((None,), dtype="int32")
    y = Weighted(after)(L.LSTM(4, return_sequences=True)(L.Embedding(9, 3, mask_zero=True)(i)))
    return keras.Model(i, L.Dense(2)(y) if after == "none" else L.GRU(3)(y))


def clipped():
    x = keras.Input((None, 3))
    clip = L.Dense(4, activation=lambda v: ops.minimum(ops.relu(v), 0.5))
    y = L.TimeDistributed(L.Dense(4, activation=lambda v: ops.minimum(ops.relu(v), 0.5)))(x)
    return keras.Model(x, L.GRU(3, return_sequences=True)(clip(y)))


def normalised():
    x = keras.Input((None, 3))
    y = L.Lambda(lambda v: ops.normalize(ops.tile(v, [1, 1, 2]), axis=-1))(L.Dense(3)(x))
    return keras.Model(x, L.Lambda(lambda v: ops.normalize(v, axis=-1, order=1))(L.Dense(2)(y)))


def normalised_small():
    """Norms below and above the epsilon, given and Keras's own."""
    x = keras.Input((None, 3))
    y = L.Lambda(lambda v: ops.normalize(v, axis=-1, epsilon=1.5))(x)
    z = L.Lambda(lambda v: ops.normalize(v * 2e-8, axis=-1))(x)
    return keras.Model(x, L.Concatenate()([y, z]))


def conditioned():
    """The first states of an LSTM, both made by one Dense of an input."""
    x, c = keras.Input((None, 3)), keras.Input((5,))
    both = L.Dense(4)(L.Lambda(lambda v: ops.tile(ops.expand_dims(v, axis=1), [1, 2, 1]))(c))
    h, k = L.Lambda(lambda v: v[:, 0])(both), L.Lambda(lambda v: v[:, 1])(both)
    return keras.Model([x, c], L.RNN(L.LSTMCell(4))(x, initial_state=[h, k]))


def attention():
    e, d = keras.Input((9, 3)), keras.Input((6, 3))
    y, z = L.GRU(4, return_sequences=True)(e), L.GRU(4, return_sequences=True)(d)
    a = L.Activation("softmax")(L.Dot(axes=[2, 2])([z, y]))
    return keras.Model([e, d], L.GRU(3)(L.Concatenate()([L.Dot(axes=[2, 1])([a, y]), z])))


def attention_layer():
    e, d = keras.Input((9, 4)), keras.Input((6, 4))
    return keras.Model([e, d], L.GRU(3)(L.Attention(use_scale=True)([L.GRU(4, return_sequences=True)(d), e])))


def memory():
    s, q = keras.Input((9, 3)), keras.Input((6, 3))
    match = L.Softmax()(L.dot([s, q], axes=(2, 2)))
    return keras.Model(
        [s, q], L.LSTM(4)(L.concatenate([L.Permute((2, 1))(L.add([match, L.Dense(6)(s)])), q]))
    )


def columns():
    x = keras.Input((None, 3), dtype="int32")
    y = L.Reshape((-1, 12))(L.Embedding(9, 4)(x))
    return keras.Model(x, L.GRU(5, return_sequences=True)(y))


def called(model, *shape, kind="float32"):
    model(np.ones(shape, kind))
    return model


#: name -> (a function that makes the model, the sizes of its inputs without batch, whether these are ids,
#: other sizes that it takes as well)
CASES = {
    "attention to an encoder": (attention, [(9, 3), (6, 3)], False, []),
    "the Attention layer": (attention_layer, [(9, 4), (6, 4)], False, []),
    "scores as features": (memory, [(9, 3), (6, 3)], False, []),
    "ids of three columns": (columns, [(8, 3)], True, [[(13, 3)]]),
    "a class that takes a mask": (lambda: masked("none"), [(8,)], True, [[(13,)]]),
    "a class that hands its mask on": (lambda: masked("same"), [(8,)], True, [[(13,)]]),
    "activations of the author's own": (clipped, [(8, 3)], False, [[(13, 3)]]),
    "copies and unit vectors": (normalised, [(8, 3)], False, [[(13, 3)]]),
    "unit vectors of small ones": (normalised_small, [(8, 3)], False, [[(13, 3)]]),
    "first states made of an input": (conditioned, [(8, 3), (5,)], False, [[(13, 3), (5,)]]),
    "a class around a network": (
        lambda: called(Residual(keras.Sequential([L.LSTM(4, return_sequences=True), L.Dense(3)])), 1, 7, 3),
        [(7, 3)],
        False,
        [[(12, 3)]],
    ),
    "a class that asks for first states": (lambda: called(Started(), 1, 7, 3), [(7, 3)], False, [[(12, 3)]]),
    "a class that reads its answers": (lambda: called(FedBack(4, 5), 1, 7, 3), [(7, 3)], False, [[(12, 3)]]),
    "a class that reads ids": (lambda: called(Tagger(), 1, 7, kind="int32"), [(7,)], True, [[(12,)]]),
}


@pytest.mark.parametrize("name", CASES)
def test_the_answers_are_those_of_keras_whole_and_streamed(name):
    make, sizes, ids, others = CASES[name]
    keras.utils.set_random_seed(5)
    live = make()
    model, random = rnnrt.from_keras(live), np.random.default_rng(2)
    for some in (sizes, *others):
        draw = lambda s: (
            random.integers(0, 9, s, np.int32) if ids else random.normal(size=s).astype("float32")
        )
        for rows in (1, 3):
            xs = [draw((rows, *s)) for s in some]
            want = live.predict(xs if len(xs) > 1 else xs[0], verbose=0)
            np.testing.assert_allclose(model(*xs), want, rtol=0, atol=2e-5)
        if len(xs) > 1 or model.graph.outputs[0].axes != "btf":
            continue
        try:
            stream = model.stream(batch_size=3)
        except NotStreamableError:
            continue
        made = [stream.push(xs[0][:, :4]), stream.push(xs[0][:, 4:]), stream.flush()]
        assert np.concatenate(made, 1).tobytes() == model(xs[0]).tobytes()


def test_sequences_of_an_open_length_that_meet_are_refused_with_what_to_do():
    e, d = keras.Input((None, 3)), keras.Input((None, 3))
    with pytest.raises(UnsupportedModelError, match="Give the model's input a fixed length"):
        rnnrt.from_keras(keras.Model([e, d], L.Activation("softmax")(L.Dot(axes=[2, 2])([d, e]))))


@pytest.mark.parametrize("kind", ["GRU", "LSTM", "SimpleRNN"])
@pytest.mark.parametrize("options", [{}, {"go_backwards": True}, {"return_sequences": False}])
@pytest.mark.parametrize("how", ["live", "file"])
def test_a_cell_whose_activation_is_a_softmax(kind, options, how, tmp_path):
    keras.utils.set_random_seed(5)
    options = {"activation": "softmax", "return_sequences": True} | options
    x = keras.Input((None, 3))
    live = keras.Model(x, getattr(L, kind)(4, **options)(L.Masking()(x)))
    live.save(tmp_path / "model.keras")
    model = rnnrt.from_keras(live if how == "live" else tmp_path / "model.keras")
    for rows, frames in ((1, 8), (3, 13)):
        given = np.random.default_rng(2).normal(size=(rows, frames, 3)).astype("float32")
        given[0, -3:] = 0
        want = live.predict(given, verbose=0)
        np.testing.assert_allclose(model(given), want, rtol=0, atol=2e-5)


@pytest.mark.parametrize("options", [{"reset_after": False}, {"recurrent_activation": "softmax"}])
def test_other_forms_of_a_gru_with_a_softmax(options):
    keras.utils.set_random_seed(5)
    x = keras.Input((None, 3))
    layer = L.GRU(4, activation="softmax", return_sequences=True, **options)
    live, given = keras.Model(x, layer(x)), np.random.default_rng(2).normal(size=(3, 8, 3)).astype("float32")
    for w in live.weights:
        w.assign(np.random.default_rng(3).normal(size=w.shape))
    model = rnnrt.from_keras(live)
    np.testing.assert_allclose(model(given), live.predict(given, verbose=0), rtol=0, atol=2e-5)
    stream = model.stream(batch_size=3)
    made = [stream.push(given[:, :3]), stream.push(given[:, 3:]), stream.flush()]
    assert np.concatenate(made, 1).tobytes() == model(given).tobytes()


def test_an_axis_put_before_the_batch_is_refused_with_what_to_do():
    c = keras.Input((5,))
    made = L.Dense(4)(L.Lambda(lambda v: ops.tile(ops.expand_dims(v, axis=0), [2, 1, 1]))(c))
    with pytest.raises(UnsupportedModelError, match=r"axes in another order .* ops\.expand_dims\(x, 1\)"):
        rnnrt.from_keras(keras.Model(c, L.Lambda(lambda v: v[0])(made)))


def test_a_class_that_makes_another_mask_is_refused():
    with pytest.raises(UnsupportedModelError, match="a class of your own does with a mask"):
        rnnrt.from_keras(masked("turned"))


def test_a_class_that_decides_by_numbers_is_refused():
    class Odd(keras.Model):
        def call(self, x):
            return x if float(ops.sum(x)) > 0 else -x

    model = called(Odd(), 1, 7, 3)
    with pytest.raises(UnsupportedModelError, match="cannot be followed"):
        rnnrt.from_keras(model)
