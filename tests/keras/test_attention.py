"""Attention between sequences of open length as Keras's models have it, against Keras at several batches and
lengths.
"""

import numpy as np
import pytest
from needs import need

import rnnrt
from rnnrt import layers as graph_layers
from rnnrt.errors import UnsupportedModelError

keras = need("keras")
L, ops = keras.layers, keras.ops


def numbers(features, time):
    r = np.random.default_rng(features)
    return lambda batch, more: r.standard_normal((batch, time + more, features)).astype(np.float32)


def ids(time):
    """Rows that end with zeros, each one earlier."""
    r = np.random.default_rng(time)

    def made(batch, more):
        end = np.arange(batch)[:, None] + time + more - 2
        return np.where(np.arange(time + more) < end, r.integers(1, 20, (batch, time + more)), 0)

    return made


def check(model, *inputs, custom_objects=None, saved=None):
    """The import of a model, compared with it."""
    if saved is not None:
        model.save(saved)
    own = rnnrt.from_keras(saved or model, custom_objects=custom_objects or {})
    for batch in (1, 3):
        for more in (0, 5):
            xs = [x(batch, more + k * more) for k, x in enumerate(inputs)]
            wanted = keras.ops.convert_to_numpy(model(xs if len(xs) > 1 else xs[0]))
            np.testing.assert_allclose(own(*xs), wanted, atol=2e-6)
    assert any(isinstance(x, graph_layers.Attention) for x in own.graph.layers)
    return own


def two(query=6, key=6):
    return keras.Input((None, query), name="q"), keras.Input((None, key), name="k")


def softmax_by_dots(q, k):
    weights = L.Activation("softmax")(L.Dropout(0.2)(L.Dot(axes=[2, 2])([q, k])))
    return L.Dot(axes=[2, 1])([weights, k])


def normalised_dots(q, k):
    return L.Dot(axes=[2, 1])([L.Softmax()(L.Dot(axes=-1, normalize=True)([q, k])), k])


def by_functions(q, k):
    score = ops.matmul(q, ops.transpose(k, [0, 2, 1])) / 2.0
    return ops.matmul(ops.softmax(score, axis=-1), k)


def by_einsum(q, k):
    weights = ops.softmax(ops.einsum("bqd,bkd->bqk", q, k) * 0.3)
    return ops.einsum("bqk,bkd->bqd", weights, k)


WAYS = {
    "layer": lambda q, k: L.Attention()([q, k]),
    "layer_scaled": lambda q, k: L.Attention(use_scale=True)([q, k]),
    "layer_concat": lambda q, k: L.Attention(score_mode="concat", use_scale=True)([q, k]),
    "layer_keys": lambda q, k: L.Attention()([q, L.Dense(3)(k), k]),
    "additive": lambda q, k: L.AdditiveAttention()([q, k]),
    "additive_plain": lambda q, k: L.AdditiveAttention(use_scale=False)([q, k]),
    "dots": softmax_by_dots,
    "dots_normalised": normalised_dots,
    "functions": by_functions,
    "einsum": by_einsum,
}


@pytest.mark.parametrize("how", ["live", "file"])
@pytest.mark.parametrize("way", WAYS)
def test_two_sequences_of_open_length(way, how, tmp_path):
    keras.utils.set_random_seed(5)
    q, k = two()
    model = keras.Model([q, k], WAYS[way](q, k))
    for x in model.weights:
        x.assign(np.random.default_rng(1).standard_normal(x.shape))
    own = check(model, numbers(6, 5), numbers(6, 9), saved=tmp_path / "m.keras" if how == "file" else None)
    assert own.clocks == (("q",), ("k",))


HEADS = {
    "two": (lambda q, k: L.MultiHeadAttention(2, 4)(q, k), (6, 5)),
    "itself": (lambda q, k: L.MultiHeadAttention(3, 4, value_dim=5, use_bias=False)(q, q), (6,)),
    "keys": (lambda q, k: L.MultiHeadAttention(2, 4, output_shape=9)(q, L.Dense(7)(k), k), (6, 5)),
}


@pytest.mark.parametrize("how", ["live", "keras", "h5"])
@pytest.mark.parametrize("case", HEADS)
def test_heads(case, how, tmp_path):
    make, sizes = HEADS[case]
    q, k = two(*sizes)
    model = keras.Model([q, k][: len(sizes)], make(q, k))
    for x in model.weights:
        x.assign(np.random.default_rng(x.shape[0]).standard_normal(x.shape) / 2)
    saved = None if how == "live" else tmp_path / f"m.{how}"
    check(model, *(numbers(n, 5) for n in sizes), saved=saved)


@pytest.mark.parametrize(
    "call, said",
    [
        ({"use_causal_mask": True}, "use_causal_mask=True"),
        ({"return_attention_scores": True}, "return_attention_scores=True"),
    ],
)
def test_what_a_call_with_heads_may_not_ask_is_refused(call, said):
    q, _ = two()
    made = L.MultiHeadAttention(2, 4)(q, q, **call)
    with pytest.raises(UnsupportedModelError, match=said):
        rnnrt.from_keras(keras.Model(q, made[0] if isinstance(made, tuple) else made))


def test_heads_behind_a_mask_are_refused():
    e = keras.Input((None,))
    h = L.LSTM(6, return_sequences=True)(L.Embedding(20, 5, mask_zero=True)(e))
    with pytest.raises(UnsupportedModelError, match=r"\(MultiHeadAttention\): what it does with a mask"):
        rnnrt.from_keras(keras.Model(e, L.MultiHeadAttention(2, 4)(h, h)))


@pytest.mark.parametrize("kind", [L.Attention, L.AdditiveAttention], ids=["product", "sum"])
def test_masks_of_queries_and_values(kind):
    e, d = keras.Input((None,)), keras.Input((None,))
    table = lambda x: L.Embedding(20, 5, mask_zero=True, embeddings_initializer="normal")(x)
    encoded = L.LSTM(6, return_sequences=True, kernel_initializer="random_normal")(table(e))
    decoded = L.LSTM(6, return_sequences=True, kernel_initializer="random_normal")(table(d))
    model = keras.Model([e, d], kind()([decoded, encoded]))
    for x in model.weights:
        x.assign(np.random.default_rng(x.shape[0]).standard_normal(x.shape))
    check(model, ids(7), ids(6))


class SelfAttention(L.Layer):
    """Sums of all pairs of frames, and a softmax of them written out."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = units

    def build(self, shape):
        weight = lambda name, *sizes: self.add_weight(shape=sizes, initializer="glorot_normal", name=name)
        self.of_query, self.of_key = weight("q", shape[2], self.units), weight("k", shape[2], self.units)
        self.of_sum, self.bias = weight("w", self.units, 1), weight("b", 1)

    def call(self, x):
        q = ops.expand_dims(ops.dot(x, self.of_query), 2)
        k = ops.expand_dims(ops.dot(x, self.of_key), 1)
        n = ops.shape(x)[1]
        e = ops.reshape(ops.sigmoid(ops.dot(ops.tanh(q + k), self.of_sum) + self.bias), (-1, n, n))
        e = ops.exp(e - ops.max(e, axis=-1, keepdims=True))
        return ops.matmul(e / (ops.sum(e, axis=-1, keepdims=True) + keras.config.epsilon()), x)


def test_a_class_of_the_authors_own():
    x = keras.Input((None, 4))
    y = SelfAttention(5)(L.Bidirectional(L.LSTM(3, return_sequences=True))(x))
    check(keras.Model(x, L.Dense(3)(y)), numbers(4, 7))


def test_scores_that_are_an_answer_are_refused():
    q, k = two()
    with pytest.raises(UnsupportedModelError, match="scores of two sequences of open length cannot be"):
        rnnrt.from_keras(keras.Model([q, k], L.Dot(axes=2)([q, k])))
    with pytest.raises(UnsupportedModelError, match="return_attention_scores"):
        rnnrt.from_keras(keras.Model([q, k], L.Attention()([q, k], return_attention_scores=True)[0]))
