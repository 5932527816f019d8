"""Random Keras networks against Keras, whole and streamed; and that the fuzzer sees what it should."""

import random

import numpy as np
import pytest
from expect import TOLERANCE, distance, streamed
from needs import need

import rnnrt
from rnnrt.importers.keras import wiring

keras = need("keras")
import fuzz_keras
from keras import layers as L
from live_keras import saved, sequential

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The structure of `inputs` doesn't match:UserWarning"),
]


def random_layer(r):
    """A Keras layer over sequences."""
    activation = r.choice(
        [
            "linear",
            "relu",
            "tanh",
            "hard_sigmoid",
            "elu",
            "silu",
            "relu6",
            "leaky_relu",
            "softmax",
            L.LeakyReLU(negative_slope=0.13),
        ]
    )
    bias, units = r.random() < 0.8, r.randint(1, 5)
    cell = {"activation": r.choice(["tanh", "relu", "softsign"]), "use_bias": bias}
    gates = {"recurrent_activation": r.choice(["sigmoid", "hard_sigmoid"]), **cell}
    run = {"return_sequences": True, "go_backwards": r.random() < 0.3}
    recurrent = [
        lambda: L.SimpleRNN(units, **cell, **run),
        lambda: L.LSTM(units, **gates, **run),
        lambda: L.GRU(units, reset_after=bias, **gates, **run),
    ]
    return r.choice(
        [
            *recurrent,
            lambda: L.RNN(
                [
                    L.LSTMCell(units, **gates),
                    L.GRUCell(3, reset_after=r.random() < 0.5),
                    L.SimpleRNNCell(2, **cell),
                ],
                **run,
            ),
            lambda: L.Bidirectional(
                L.LSTM(units, return_sequences=True, **gates),
                merge_mode=r.choice(["concat", "sum", "ave", "mul"]),
            ),
            lambda: L.Conv1D(
                4,
                r.randint(1, 4),
                strides=r.randint(1, 2),
                padding=r.choice(["valid", "same", "causal"]),
                activation=activation,
            ),
            lambda: L.Conv1D(2, 2, dilation_rate=2, padding="causal", use_bias=bias),
            lambda: L.SeparableConv1D(3, 3, padding="same", depth_multiplier=2, activation=activation),
            lambda: L.DepthwiseConv1D(2, strides=2, activation=activation, use_bias=bias),
            lambda: L.BatchNormalization(scale=bias, center=r.random() < 0.5, epsilon=0.01),
            lambda: L.LayerNormalization(scale=bias, center=r.random() < 0.5, epsilon=1e-6),
            lambda: L.MaxPooling1D(r.randint(1, 3), padding=r.choice(["valid", "same"])),
            lambda: L.AveragePooling1D(2, strides=r.randint(1, 2), padding="valid"),
            lambda: L.TimeDistributed(L.Dense(units, activation=activation)),
            lambda: L.Dense(units, activation=activation, use_bias=bias),
            lambda: L.ReLU(max_value=r.choice([None, 1.5])),
            lambda: L.SpatialDropout1D(0.3),
        ]
    )()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(40))
def test_a_random_keras_network_is_equal_to_keras(seed, tmp_path):
    r, generator = random.Random(seed), np.random.RandomState(seed)
    keras.utils.set_random_seed(seed)
    ends = [
        L.GlobalAveragePooling1D(),
        L.GlobalMaxPooling1D(),
        L.Bidirectional(L.GRU(3)),
        L.LSTM(3, go_backwards=True),
        L.Dense(2),
    ]
    model = sequential(*(random_layer(r) for _ in range(r.randint(1, 4))), r.choice(ends))
    for variable in model.weights:
        values = generator.normal(0, 0.2 if "recurrent" in variable.path else 0.5, variable.shape)
        if "seed" not in variable.path:
            variable.assign(np.abs(values) + 0.3 if "variance" in variable.path else values)
    imported = rnnrt.from_keras(saved(model, r.choice(["live", "keras", "h5"]), tmp_path))
    for batch, frames in ((1, 24), (3, 41)):
        x = generator.normal(size=(batch, frames, 4)).astype(np.float32)
        expected = model(x, training=False).detach().numpy()
        assert distance(expected, imported(x)) <= TOLERANCE
        if imported.streamable:
            whole = imported(x[0])
            assert np.array_equal(streamed(imported, x[0], r).reshape(whole.shape), whole)


def test_random_graphs_answer_as_keras_does():
    said = []
    graphs, wrong, refused, reasons = fuzz_keras.fuzz(20, 60, said.append)
    assert graphs >= 18 and not wrong, said
    assert len(refused) <= 1, dict(reasons)


def test_the_fuzzer_sees_a_call_counted_one_off(monkeypatch):
    """With every check of the record gone and one offset for all, as the importer once had it."""
    monkeypatch.setattr(wiring, "_rule", lambda *_: (0, 0))
    said = []
    _, wrong, refused, _ = fuzz_keras.fuzz(20, 60, said.append)
    assert wrong or refused, said
