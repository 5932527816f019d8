"""Keras's merges, norms, attention and keras.ops functions that broadcast, reduce or take parts, against
Keras: live, and from the file.
"""

import numpy as np
import pytest
from needs import need

import rnnrt
from rnnrt.errors import UnsupportedModelError

keras = need("keras")
L, ops = keras.layers, keras.ops


def gru(x, units=6, **options):
    return L.GRU(units, return_sequences=True, **options)(x)


def squeeze_excite(x):
    y = gru(x)
    s = L.Dense(6, activation="sigmoid")(L.Dense(3, activation="relu")(L.GlobalAveragePooling1D()(y)))
    return L.Multiply()([y, L.Reshape((1, 6))(s)])


def attention(join):
    def build(x):
        h = gru(x)
        weights = L.Softmax(axis=1)(L.Dense(1, activation="tanh")(h))
        return join(h, weights)

    return build


def normalization(**options):
    layer = L.Normalization(**options)
    if not options.get("mean"):
        layer.adapt(np.random.default_rng(1).standard_normal((40, 7, 4)).astype(np.float32) * 3 + 1)
    return layer


def to_last(h, kind, **options):
    return L.Flatten()(kind(**options)([L.Reshape((1, 6))(L.GRU(6)(h)), h]))


CASES = {
    "Maximum": lambda x: L.Maximum()([L.Dense(6)(x), gru(x), L.Dense(1)(x)]),
    "Minimum": lambda x: L.Minimum()([L.Dense(6)(x), gru(x)]),
    "Add of one feature": lambda x: L.Add()([gru(x), L.Dense(1)(x)]),
    "Subtract of one feature": lambda x: L.Subtract()([L.Dense(1)(x), gru(x)]),
    "Average of one feature": lambda x: L.Average()([gru(x), L.Dense(1)(x)]),
    "squeeze-excite": squeeze_excite,
    "Dot over features": lambda x: L.Dot(axes=-1)([L.GRU(6)(x), L.GlobalMaxPooling1D()(gru(x))]),
    "Dot of unit vectors": lambda x: L.Dot(axes=1, normalize=True)(
        [L.GRU(6)(x), L.GlobalMaxPooling1D()(gru(x))]
    ),
    "Dot over time": lambda x: L.Dot(axes=1)([gru(x), L.Dense(1, activation="sigmoid")(x)]),
    "attention by Multiply": attention(lambda h, w: L.GlobalAveragePooling1D()(L.Multiply()([h, w]))),
    "attention by Dot": attention(lambda h, w: L.Flatten()(L.Dot(axes=1)([w, h]))),
    "attention by ops": attention(lambda h, w: ops.sum(h * w, axis=1)),
    "attention by einsum": attention(lambda h, w: ops.einsum("btf,bt->bf", h, ops.squeeze(w, -1))),
    "Attention of one frame": lambda x: to_last(gru(x), L.Attention),
    "Attention, scaled": lambda x: to_last(gru(x), L.Attention, use_scale=True),
    "AdditiveAttention of one frame": lambda x: to_last(gru(x), L.AdditiveAttention),
    "Attention of every query": lambda x: L.Attention(use_scale=True)([gru(x), gru(x)[:, 3:]]),
    "Attention of every query, joined": lambda x: L.Attention(score_mode="concat")([gru(x), gru(x)[:, 3:]]),
    "Attention of one frame, joined": lambda x: to_last(
        gru(x), L.Attention, score_mode="concat", use_scale=True
    ),
    "AdditiveAttention of every query": lambda x: L.AdditiveAttention()(
        [gru(x)[:, :5], gru(x), L.Dense(6)(x)]
    ),
    "Concatenate over time": lambda x: L.Conv1D(3, 4)(L.Concatenate(axis=1)([gru(x), L.Dense(6)(x)[:, 2:]])),
    "Concatenate over time, from the end": lambda x: L.Concatenate(axis=-2)([gru(x), L.Dense(6)(x)]),
    "PReLU with a slope for every number": lambda x: L.PReLU()(gru(x)),
    "PReLU with a slope for every frame": lambda x: L.PReLU(shared_axes=[2])(gru(x)),
    "LayerNormalization over all": lambda x: L.LayerNormalization(axis=[1, 2], center=False)(gru(x)),
    "GroupNormalization": lambda x: L.GroupNormalization(2)(gru(x)),
    "GroupNormalization of every feature": lambda x: L.GroupNormalization(-1, scale=False)(gru(x)),
    "GroupNormalization of masked frames": lambda x: L.GroupNormalization(2)(L.Masking()(gru(x))),
    "RMSNormalization": lambda x: L.RMSNormalization()(gru(x)),
    "UnitNormalization": lambda x: L.UnitNormalization()(gru(x)),
    "UnitNormalization over time": lambda x: L.UnitNormalization(axis=1)(gru(x)),
    "Normalization": lambda x: gru(normalization()(x)),
    "Normalization of numbers": lambda x: gru(normalization(mean=[1.0, 2, 3, 4], variance=[0.5, 1, 2, 0])(x)),
    "UpSampling1D": lambda x: L.UpSampling1D(3)(gru(x)),
    "AdaptiveAveragePooling1D": lambda x: L.AdaptiveAveragePooling1D(4)(gru(x)),
    "AdaptiveMaxPooling1D": lambda x: L.AdaptiveMaxPooling1D(5)(gru(x)),
    "numbers": lambda x: 1.0 - 2.0 * gru(x) / 3.0 + 2.0 / (gru(x) + 4.0),
    "functions": lambda x: (
        ops.log(1.0 + ops.exp(gru(x))) * ops.sqrt(ops.absolute(gru(x))) - ops.sin(gru(x)) ** 2
    ),
    "statistics": lambda x: ops.concatenate(
        [ops.mean(gru(x), 1), ops.std(gru(x), 1), ops.max(gru(x), 1)], -1
    ),
    "parts": lambda x: gru(x)[:, 2:-1, :3] - gru(x)[:, 1:-2, 3:],
    "the last frame": lambda x: gru(x)[:, -1] * gru(x)[:, 0],
    "a value beside every frame": lambda x: gru(x) * ops.expand_dims(L.Dense(6)(L.GRU(3)(x)), 1),
    "softmax over time": lambda x: ops.softmax(gru(x), axis=1),
    "where, clip": lambda x: ops.where(gru(x) > 0.1, ops.clip(gru(x), -0.2, 0.3), ops.maximum(gru(x), -0.1)),
    "truth values are joined": lambda x: (
        (gru(x) > 0) + (gru(x) > 0.1) + L.Add()([x[..., :1] > 0, gru(x) < -0.1])
    ),
    "truth values moved are joined": lambda x: L.Average()(
        [L.Flatten()(L.Dropout(0.5)(x > 0)), L.Flatten()(x > 0.5), L.Reshape((52,))(x < 1)]
    ),
    "truth values multiplied": lambda x: L.Add()([L.Multiply()([x > 0, x < 1]), x < -1]),
    "truth values counted": lambda x: ops.sum(x > 0, -1) + ops.mean(x > 0.5, -1),
    "truth values as numbers": lambda x: ops.cast(x > 0, "float32") + (x > 0.5) - ops.cast(x > 1, "int32"),
    "numbers as truth values": lambda x: (
        ops.logical_not(x) + ops.logical_and(x, x > 1) + (ops.logical_xor(x, x > 0.5) & ops.cast(x, "bool"))
    ),
    "truth values beside numbers": lambda x: ops.where(x, x > 0, 2.0) + (x < 0.5) * x,
}


#: Whose first weights are all alike.
WEIGHED = (L.GroupNormalization, L.RMSNormalization, L.Attention, L.AdditiveAttention)
WEIGHED += (L.PReLU, L.LayerNormalization)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", ["live", "file"])
@pytest.mark.parametrize("name", CASES)
def test_it_is_what_keras_says(name, how, tmp_path):
    keras.utils.set_random_seed(7)
    inputs = keras.Input((13, 4))
    model = keras.Model(inputs, CASES[name](inputs))
    random = np.random.default_rng(2)
    for layer in model.layers:
        if isinstance(layer, WEIGHED):
            layer.set_weights(
                [random.uniform(0.5, 1.5, w.shape).astype(np.float32) for w in layer.get_weights()]
            )
    x = random.standard_normal((3, 13, 4)).astype(np.float32)
    expected = np.asarray(model.predict(x, verbose=0))
    if how == "file":
        model.save(tmp_path / "m.keras")
    made = rnnrt.from_keras(model if how == "live" else tmp_path / "m.keras")
    y = made(x)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, atol=3e-6 * max(1.0, np.abs(expected).max()), rtol=0)


def test_a_value_given_once_meets_every_frame_also_in_a_stream():
    keras.utils.set_random_seed(8)
    x, z = keras.Input((None, 4), name="x"), keras.Input((5,), name="z")
    scale, shift = (L.Reshape((1, 6))(L.Dense(6)(z)) for _ in range(2))
    model = keras.Model([x, z], L.Add()([L.Multiply()([gru(x), scale]), shift]))
    random = np.random.default_rng(3)
    given = (
        random.standard_normal((2, 11, 4)).astype(np.float32),
        random.standard_normal((2, 5)).astype(np.float32),
    )
    made = rnnrt.from_keras(model)
    y = made(*given)
    np.testing.assert_allclose(y, np.asarray(model.predict(list(given), verbose=0)), atol=3e-6, rtol=0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["Maximum", "Minimum"])
def test_an_extreme_of_masked_frames_is_that_of_the_others(kind):
    """Keras from 3.4 on: a masked input does not count where another one does."""
    keras.utils.set_random_seed(9)
    x, z, w = (keras.Input((8, 3)) for _ in range(3))
    parts = [
        L.Dense(4)(L.Masking()(x)),
        L.Dense(4)(L.Masking()(z)),
        L.Dense(1)(L.Masking()(w)),
        L.Dense(4)(w),
    ]
    merge = getattr(L, kind)
    model = keras.Model([x, z, w], [merge()(parts[:2]), merge()(parts[:3]), merge()(parts[1:])])
    random = np.random.default_rng(5)
    given = random.standard_normal((3, 2, 8, 3)).astype(np.float32)
    given[random.random((3, 2, 8)) < 0.4] = 0
    with_keras = model.predict(list(given), verbose=0)
    for y, expected in zip(rnnrt.from_keras(model)(*given), with_keras, strict=True):
        np.testing.assert_allclose(y, np.asarray(expected), atol=3e-6, rtol=0)


REFUSED = {
    "another norm": (lambda x: ops.norm(gru(x), axis=1), "Norm"),
    "a mask of joined sequences": (
        lambda x: gru(L.Concatenate(axis=1)([L.Masking()(x), x])),
        "this way to make a mask is not supported",
    ),
    "truth values negated": (lambda x: -(x > 0), "on truth values"),
    "bits of numbers": (lambda x: ops.bitwise_not(ops.sum(x > 0, -1)), "bitwise_not"),
    "a masked softmax": (lambda x: L.Softmax(axis=1)(L.Masking()(gru(x))), "mask"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_honoured_is_refused_by_name(name):
    build, words = REFUSED[name]
    inputs = keras.Input((13, 4))
    model = keras.Model(inputs, build(inputs))
    with pytest.raises(UnsupportedModelError, match=words):
        rnnrt.from_keras(model)


@pytest.mark.filterwarnings("ignore")
def test_truth_values_that_come_in():
    """An input of truth values, and a part of a network that starts from some."""
    a, b = (keras.Input((7,), dtype="bool", name=n) for n in "ab")
    model = keras.Model([a, b], gru(ops.expand_dims(ops.cast(a + b, "float32"), -1)))
    given = [np.random.default_rng(k).random((2, 7)) > 0.4 for k in (1, 2)]
    np.testing.assert_allclose(
        rnnrt.from_keras(model)(*given), np.asarray(model.predict(given, verbose=0)), atol=3e-6, rtol=0
    )
    x = keras.Input((7, 4))
    above, more = x > 0, x > 0.5
    names = [t._keras_history.operation.name for t in (above, more)]
    part = rnnrt.from_keras(keras.Model(x, L.Add()([above, more])), inputs=names)
    ones = np.ones((1, 7, 4), np.float32)
    assert (part(ones, ones) == 1).all()
