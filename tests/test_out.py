"""out=: filled, returned, shared with the input, and refused where it does not fit."""

import numpy as np
import pytest
from case_layers import conv, recurrent
from expect import refused, same_bits
from small_models import built, frames, lstm, net, network, normal, rnn, two_inputs_two_outputs

from rnnrt import (
    DTypeError,
    ShapeError,
)
from rnnrt import layers as L


def test_out_is_filled_and_returned():
    model, x = net(), frames(4, 7, 3)
    plain = model(x)
    for out in (
        np.empty((4, 7, 5), np.float32),
        np.empty((4, 7, 10), np.float32)[..., ::2],
        np.asfortranarray(np.empty((4, 7, 5), np.float32)),
    ):
        assert model(x, out=out) is out
        assert (out == plain).all()
    alone = np.empty((7, 5), np.float32)
    assert model(x[1], out=alone) is alone
    assert same_bits(alone, plain[1])
    transposed = net(axes="bft", out_axes="bft")
    out = np.empty((4, 5, 7), np.float32)
    assert transposed(x.transpose(0, 2, 1), out=out) is out
    assert (out == plain.transpose(0, 2, 1)).all()
    square = net(units=3)
    expected = square(x)
    shared = x.copy()
    assert square(shared, out=shared) is shared
    assert same_bits(shared, expected)


def read_only(*shape):
    return np.broadcast_to(np.float32(0), shape)


def test_out_that_does_not_fit_is_refused():
    model, x = net(), frames(4, 7, 3)
    refused(DTypeError, lambda: model(x, out=np.empty((4, 7, 5))), "out", "float32", "found float64")
    for wrong in ("abc", [0.0], object()):
        refused(DTypeError, lambda w=wrong: model(x, out=w), "out", f"found {type(wrong).__name__}")
    for shape in ((4, 7, 4), (7, 5), (4, 8, 5), (4, 7, 5, 1)):
        refused(
            ShapeError,
            lambda s=shape: model(x, out=np.empty(s, np.float32)),
            "out does not fit",
            "expected (4, 7, 5)",
            f"found {shape}",
        )
    refused(ShapeError, lambda: model(x, out=read_only(4, 7, 5)), "out does not fit", "writeable")
    two = two_inputs_two_outputs()
    refused(
        ShapeError,
        lambda: two(frames(4, 6, 3), frames(4, 6, 2), out=np.empty((4, 6, 4), np.float32)),
        "one output only",
    )


@pytest.mark.parametrize("batch", [None, 2])
def test_out_of_step_push_and_flush(batch):
    model = net()
    lead = () if batch is None else (batch,)
    x = frames(*lead, 7, 3)
    plain, frame = model(x), x[..., 0, :]
    out = np.empty((*lead, 5), np.float32)
    assert model.stream(batch).step(frame, out) is out
    assert same_bits(out, np.ascontiguousarray(plain[..., 0, :]))
    assert model.stream(batch).step(frame.astype(np.float64), out=out) is out
    assert (out == plain[..., 0, :]).all()
    stream = model.stream(batch)
    for wrong in (
        np.empty((*lead, 4), np.float32),
        np.empty((3, *lead, 5), np.float32),
        read_only(*lead, 5),
        np.empty((*lead, 10), np.float32)[..., ::2],
    ):
        refused(
            ShapeError,
            lambda w=wrong: stream.step(frame, w),
            "out does not fit",
            f"expected {(*lead, 5)}",
            "C-contiguous and writeable",
            f"found {wrong.shape}",
        )
        refused(
            ShapeError,
            lambda w=wrong: stream.step(frame.tolist(), w),
            "out does not fit",
            f"expected {(*lead, 5)}",
        )
    refused(DTypeError, lambda: stream.step(frame, np.empty((*lead, 5))), "out", "found float64")
    refused(DTypeError, lambda: stream.step(frame, "abc"), "out", "found str")
    for wrong in (
        np.empty((*lead, 6, 5), np.float32),
        np.empty((*lead, 7, 4), np.float32),
        np.empty((*lead, 7), np.float32),
        read_only(*lead, 7, 5),
    ):
        refused(
            ShapeError,
            lambda w=wrong: stream.push(x, w),
            "out does not fit",
            ", at least 7, 5)" if lead else "(at least 7, 5)",
            f"found {wrong.shape}",
        )
    refused(DTypeError, lambda: stream.push(x, np.empty((*lead, 7, 5))), "out", "found float64")
    refused(DTypeError, lambda: stream.flush("abc"), "out", "found str")
    assert stream.position == 0, "a refused call takes nothing in"
    exact, roomy = np.empty((*lead, 7, 5), np.float32), np.full((*lead, 9, 5), 9, np.float32)
    assert stream.push(x, exact) is exact
    assert same_bits(exact, plain)
    made = model.stream(batch).push(x, out=roomy)
    assert made.base is not None and np.shares_memory(made, roomy)
    assert (made == plain).all() and (roomy[..., 7:, :] == 9).all()
    shared = frames(*lead, 7, 5)
    square = built(lambda b, x, r: recurrent(b, x, r, L.GRU, 5), features=(5,))
    expected = square(shared)
    assert np.shares_memory(square.stream(batch).push(shared, shared), shared)
    assert same_bits(shared, expected)


def test_out_of_flush_holds_what_was_held_back():
    model = built(lambda b, x, r: conv(b, x, r, 4, 5, padding=(2, 2)))
    x, out = frames(9, 3), np.empty((6, 4), np.float32)
    stream = model.stream()
    first = stream.push(x)
    assert len(first) == 7
    last = stream.flush(out)
    assert np.shares_memory(last, out)
    assert same_bits(np.concatenate([first, last]), model(x))


@pytest.fixture(scope="module")
def model():
    return network(lambda b: lstm(b, "lstm", b.input("x", (3,)), 4))


def test_an_out_that_overlaps_the_input_gets_the_right_answer():
    model = network(lambda b: lstm(b, "lstm", rnn(b, "back", b.input("x", (4,)), 4, reverse=True), 4))
    forward = network(lambda b: lstm(b, "lstm", b.input("x", (4,)), 4))
    for tried in (model, forward):
        for into, out_of in (
            (slice(1, None), slice(None, -1)),
            (slice(None, -1), slice(1, None)),
            (slice(None, -1), slice(None, -1)),
        ):
            memory = normal(200, 4)
            x = memory[out_of].copy()
            assert same_bits(tried(memory[out_of], out=memory[into]), tried(x))
            if tried is forward:
                memory[out_of] = x
                assert same_bits(forward.stream().push(memory[out_of], out=memory[into]), forward(x))
    place, x, stream = np.empty(4, np.float32), normal(9, 4), forward.stream()
    for t, frame in enumerate(x):
        place[...] = frame
        assert stream.step(place, out=place) is place
        assert same_bits(place, forward(x)[t])


def test_out_is_for_models_with_one_output(model):
    two = network(lambda b: (lstm(b, "lstm", b.input("x", (3,)), 4), "x"))
    out, x = np.zeros((6, 4), np.float32), normal(6, 3)
    stream = two.stream()
    for call in (
        lambda: two(x, out=out),
        lambda: stream.step(x[0], out=out[0]),
        lambda: stream.push(x, out=out),
        lambda: stream.flush(out=out),
    ):
        refused(ShapeError, call, "one output")
    assert stream.position == 0
