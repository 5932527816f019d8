"""initial_state= in every form: by name, as a State, as Keras and as PyTorch give it."""

import zlib

import numpy as np
import pytest
from case_layers import recurrent
from expect import near, refused, same_bits
from small_models import both, built, frames, lstm, model_of, net, network, normal, with_value

from rnnrt import (
    DTypeError,
    State,
    StateError,
    reference,
)
from rnnrt import layers as L


def test_initial_state_by_name_and_as_a_state():
    model, x = both(None), frames(2, 7, 3)
    given = {"one/h": frames(2, 4, seed=3), "two/c": frames(2, 4, seed=4)}
    expected, end = reference.run(model.graph, {"x": x}, given)
    y, state = model(x, initial_state=given, return_state=True)
    assert near(y, expected["y"])
    assert list(state.arrays()) == ["one/h", "two/h", "two/c"] and state.batch_size == 2
    assert all(near(a, end[n]) for n, a in state.arrays().items())
    assert same_bits(model(x, initial_state=state), model(x, initial_state=state.arrays()))
    assert same_bits(
        model(x, initial_state=State.from_bytes(state.to_bytes())), model(x, initial_state=state)
    )
    alone, kept = model(x[1], initial_state={n: a[1] for n, a in given.items()}, return_state=True)
    assert same_bits(alone, y[1]) and kept.batch_size is None and kept.arrays()["two/c"].shape == (4,)
    assert same_bits(model(x, initial_state={}), model(x))
    stream = model.stream(batch_size=2)
    stream.state = given
    assert same_bits(stream.push(x), y)
    assert "one/h" in repr(state) and "batch_size=2" in repr(state)


def test_initial_state_as_keras_and_pytorch_give_it():
    x, h, c = frames(2, 7, 3), frames(2, 5, seed=3), frames(2, 5, seed=4)
    keras, torch = net(metadata={"source": "keras"}), net(metadata={"source": "torch"})
    plain = keras(x, initial_state={"lstm/h": h, "lstm/c": c})
    assert same_bits(keras(x, initial_state=[h, c]), plain)
    assert same_bits(torch(x, initial_state=(h[None], c[None])), plain)
    assert same_bits(torch(x[1], initial_state=(h[None, 1], c[None, 1])), plain[1])
    assert same_bits(
        net(L.GRU, metadata={"source": "torch"})(x, initial_state=h[None]),
        net(L.GRU)(x, initial_state={"gru/h": h}),
    )
    assert same_bits(
        net(L.GRU, metadata={"source": "keras"})(x, initial_state=h),
        net(L.GRU)(x, initial_state={"gru/h": h}),
    )
    three = both({"source": "keras"})
    states = [frames(2, 4, seed=s) for s in range(3)]
    assert same_bits(
        three(x, initial_state=states), three(x, initial_state=dict(zip(("one/h", "two/h", "two/c"), states)))
    )
    stacked = built(
        lambda b, x, r: recurrent(b, recurrent(b, x, r, L.LSTM, 4, name="one"), r, L.LSTM, 4, name="two"),
        metadata={"source": "torch"},
    )
    h0, c0 = frames(2, 2, 4, seed=8), frames(2, 2, 4, seed=9)
    assert same_bits(
        stacked(x, initial_state=(h0, c0)),
        stacked(x, initial_state={"one/h": h0[0], "two/h": h0[1], "one/c": c0[0], "two/c": c0[1]}),
    )
    refused(
        StateError, lambda: keras(x, initial_state=[h]), "wrong length", "['lstm/h', 'lstm/c']", "found 1"
    )
    refused(StateError, lambda: keras(x, initial_state=h), "not a list of states", "found ndarray")
    refused(
        StateError,
        lambda: stacked(x, initial_state=(h0[:1], c0)),
        "another form than forward takes",
        "expected (2, batch, units)",
        "found (1, 2, 4)",
    )
    refused(
        StateError, lambda: stacked(x, initial_state=h0), "initial_state[0]", "(2, batch, units)", "(2, 4)"
    )
    refused(StateError, lambda: torch(x, initial_state=([[1.0], [1.0, 2.0]], c[None])), "initial_state[0]")
    refused(DTypeError, lambda: keras(x, initial_state=[h, None]), "state 'lstm/c'")


def test_a_wrong_initial_state_is_refused():
    model, x = net(), frames(2, 7, 3)
    refused(
        StateError,
        lambda: model(x, initial_state={"lstm/x": np.zeros((2, 5))}),
        "no state 'lstm/x'",
        "['lstm/h', 'lstm/c']",
    )
    refused(
        StateError,
        lambda: model(x, initial_state={"lstm/h": np.zeros(5)}),
        "lstm/h",
        "expected (2, 5)",
        "found (5,)",
    )
    refused(
        StateError,
        lambda: model(x[0], initial_state={"lstm/h": np.zeros((1, 5))}),
        "lstm/h",
        "expected (5,)",
        "found (1, 5)",
    )
    refused(
        DTypeError,
        lambda: model(x, initial_state={"lstm/h": np.zeros((2, 5), complex)}),
        "state 'lstm/h'",
        "found complex128",
    )
    _, other = net(units=4)(x, return_state=True)
    refused(StateError, lambda: model(x, initial_state=other), "another model", "expected", "found")
    stream = model.stream()
    stream.step(x[0, 0])
    for wrong in (None, 5, b"abc"):
        refused(StateError, lambda w=wrong: setattr(stream, "state", w))
    assert stream.position == 1


@pytest.fixture(scope="module")
def model():
    return network(lambda b: lstm(b, "lstm", b.input("x", (3,)), 4))


def test_states_that_were_tampered_with_are_refused_or_harmless(model):
    generator = np.random.default_rng(0)
    for tried in (
        model,
        model_of("three_delays"),
        model_of("conv_dilated"),
        model_of("last"),
        with_value(),
    ):
        once = {
            n: np.zeros(s[1:], np.float32) for n, s in tried.inputs.items() if not tried.graph.signals[n].time
        }
        stream = tried.stream(inputs=once)
        width = tried.graph.signals["x"].width
        stream.push(normal(23, width))
        whole = stream.state.to_bytes()
        for k in range(300):
            bad = bytearray(whole)
            if k % 3 == 0:
                bad = bad[: generator.integers(0, len(bad))]
            else:
                end = len(bad) - 4  # of all but the checksum, which is put right again
                arrays = sum(a.nbytes for a in stream.state.arrays().values())
                for at in generator.integers(end - arrays - (50 if k % 3 == 1 else 0), end, 1 + k % 5):
                    bad[at] = generator.integers(0, 256)
                bad[end:] = zlib.crc32(bad[:end]).to_bytes(4, "little")
            try:
                state = State.from_bytes(bytes(bad))
                other = tried.stream(inputs=once)
                other.state = state
                other.push(normal(9, width))
                other.flush()
            except StateError:
                pass
