"""What a call and a stream take for an input: shapes, types, orders and flags of arrays, and nothing at all.
What is right is equal to the plain answer; what is wrong is refused by an error that names the input, what
was expected and what was found.
"""

import numpy as np
import pytest
from case_layers import conv
from expect import refused, same_bits
from small_models import built, frames, lstm, net, network, normal, two_inputs_two_outputs

from rnnrt import (
    DTypeError,
    ShapeError,
)
from rnnrt import layers as L


@pytest.mark.parametrize("shape", [(), (3,), (2, 7, 4), (7, 2), (2, 7, 3, 1), (1, 2, 7, 3)], ids=str)
def test_a_wrong_rank_or_width_is_refused(shape):
    refused(
        ShapeError,
        lambda: net()(np.zeros(shape, np.float32)),
        "input 'x'",
        "expected (batch, time, 3)",
        f"found {shape}",
    )
    refused(
        ShapeError,
        lambda: net().run({"x": np.zeros(shape, np.float32)}),
        "input 'x'",
        "expected (batch, time, 3)",
        f"found {shape}",
    )


def test_nothing_in_is_refused():
    refused(ShapeError, lambda: net()(np.zeros((2, 0, 3), np.float32)), "input 'x'", "no frames", "(2, 0, 3)")
    refused(ShapeError, lambda: net()(np.zeros((0, 3), np.float32)), "input 'x'", "no frames", "(0, 3)")
    refused(
        ShapeError,
        lambda: net()(np.zeros((0, 7, 3), np.float32)),
        "input 'x'",
        "batch is empty",
        "expected at least one row",
        "found 0",
    )
    short = built(lambda b, x, r: conv(b, x, r, 4, 5))
    refused(
        ShapeError,
        lambda: short(np.zeros((2, 4, 3), np.float32)),
        "too short",
        "output 'y'",
        "found 4 frames",
    )
    assert short(np.zeros((2, 5, 3), np.float32)).shape == (2, 1, 4)


def test_a_fixed_length_is_kept_to():
    fixed = net(length=7)
    assert fixed.inputs == {"x": (None, 7, 3)}
    for made in (6, 8):
        refused(
            ShapeError,
            lambda n=made: fixed(frames(2, n, 3)),
            "input 'x'",
            "(batch, 7, 3)",
            f"found (2, {made}, 3)",
        )


def test_the_inputs_must_be_all_there_and_fit_each_other():
    model = two_inputs_two_outputs()
    left, right = frames(4, 6, 3), frames(4, 6, 2)
    refused(ShapeError, lambda: model(left, right, left), "too many inputs", "['left', 'right']", "found 3")
    refused(ShapeError, lambda: model(left), "'right' is missing", "['left', 'right']")
    refused(ShapeError, lambda: model.run({"left": left}), "'right' is missing")
    refused(
        ShapeError,
        lambda: model.run({"left": left, "middle": right}),
        "no input 'middle'",
        "['left', 'right']",
    )
    refused(DTypeError, lambda: model.run([left, right]), "by name", "['left', 'right']", "found list")
    refused(
        ShapeError,
        lambda: model(left, right[:3]),
        "input 'right'",
        "different batch sizes",
        "found (3, 6, 2)",
    )
    refused(
        ShapeError,
        lambda: model(left, right[:, :5]),
        "the inputs must run over the same time",
        "'left': 6",
        "'right': 5",
    )
    refused(
        ShapeError,
        lambda: model(left, right[0]),
        "input 'right'",
        "some inputs have a batch axis",
        "found (6, 2)",
    )
    stream = model.stream()
    refused(ShapeError, lambda: stream.push(left[0]), "as a tuple", "(left, right)", "found ndarray")
    refused(
        ShapeError,
        lambda: stream.push((left[0], right[0, :5])),
        "different numbers of frames",
        "expected 6; found 5",
    )
    refused(
        ShapeError,
        lambda: stream.step((left[0, 0], left[0, 0])),
        "input 'right'",
        "expected (2,)",
        "found (3,)",
    )
    assert stream.position == 0


def test_a_stream_refuses_wrong_frames_and_stays_where_it_was():
    model, x = net(), frames(7, 3)
    stream, batch = model.stream(), model.stream(batch_size=2)
    for wrong in (x[:, :2], x[0], x[None], frames(7, 4)):
        refused(
            ShapeError,
            lambda w=wrong: stream.push(w),
            "input 'x'",
            "expected (time, 3)",
            f"found {wrong.shape}",
        )
    for wrong in (x, x[0, :2], np.float32(1), frames(4)):
        refused(
            ShapeError, lambda w=wrong: stream.step(w), "input 'x'", "expected (3,)", f"found {wrong.shape}"
        )
    refused(
        ShapeError,
        lambda: batch.push(frames(3, 7, 3)),
        "input 'x'",
        "expected (2, time, 3)",
        "found (3, 7, 3)",
    )
    refused(ShapeError, lambda: batch.step(x[0]), "input 'x'", "expected (2, 3)", "found (3,)")
    refused(DTypeError, lambda: stream.step(None), "input 'x'")
    refused(DTypeError, lambda: stream.push("abc"), "input 'x'")
    assert stream.position == batch.position == 0
    assert same_bits(stream.push(x), model(x))
    for wrong in (0, -1, 1.5, "a"):
        refused(ShapeError, lambda w=wrong: model.stream(batch_size=w), "batch_size", repr(wrong))


WRONG_TYPES = {
    "complex": np.zeros((2, 7, 3), complex),
    "object": np.zeros((2, 7, 3), object),
    "strings": np.full((2, 7, 3), "1"),
    "dates": np.zeros((2, 7, 3), "M8[s]"),
    "ragged": [[1.0], [1.0, 2.0]],
    "dict": {},
}


@pytest.mark.parametrize("name", WRONG_TYPES)
def test_what_is_no_real_number_is_refused(name):
    x, model = WRONG_TYPES[name], net()
    kind = ShapeError if name == "ragged" else DTypeError  # a call takes them as rows, which these do not fit
    refused(kind, lambda: model(x), "input 'x'", "found")
    refused(DTypeError, lambda: model.stream(batch_size=2).push(x), "input 'x'", "found")
    refused(
        DTypeError,
        lambda: model.stream(batch_size=2).step(x[:, 0] if isinstance(x, np.ndarray) else x),
        "input 'x'",
        "found",
    )


def forms(x):
    """Arrays of other types, orders and flags with the same numbers, which are small whole ones."""
    yield from (
        (kind, x.astype(kind))
        for kind in ("f8", "f2", "g", "i1", "i2", "i4", "i8", "u1", ">f4", ">f8", ">i4", ">f2")
    )
    yield "Fortran", np.asfortranarray(x)
    yield "every other", np.repeat(np.repeat(x, 2, -1), 2, 0)[::2, ..., ::2]
    yield "backwards", np.ascontiguousarray(x[::-1, ..., ::-1])[::-1, ..., ::-1]
    yield "list", x.tolist()
    fixed = x.copy()
    fixed.flags.writeable = False
    yield "read-only", fixed
    odd = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape)
    assert not odd.flags.aligned
    yield "unaligned", odd


@pytest.mark.parametrize("kind", [L.LSTM, L.GRU, L.SimpleRNN], ids=lambda k: k.kind)
def test_every_form_of_the_same_numbers_gives_the_same_bits(kind):
    x = np.random.default_rng(2).integers(0, 5, (4, 9, 3)).astype(np.float32)
    model = net(kind)
    plain = model(x)
    for name, form in forms(x):
        before = np.array(form)
        assert same_bits(model(form), plain), name
        assert same_bits(model.stream(batch_size=4).push(form), plain), name
        stream = model.stream(batch_size=4)
        assert same_bits(np.stack([stream.step(np.asarray(form)[:, t]) for t in range(9)], 1), plain), name
        assert (np.array(form) == before).all(), f"{name}: the caller's array was changed"
    for name, form in forms(x[0]):
        assert same_bits(model.stream().push(form), plain[0]), name
    assert same_bits(model(x > 2), model((x > 2).astype(np.float32)))
    assert same_bits(model(np.broadcast_to(x[:1], x.shape)), model(np.repeat(x[:1], 4, 0)))


@pytest.fixture(scope="module")
def model():
    return network(lambda b: lstm(b, "lstm", b.input("x", (3,)), 4))


def test_no_frames_are_no_frames(model):
    stream, x = model.stream(), normal(9, 3)
    assert stream.push(np.zeros((0, 3), np.float32)).shape == (0, 4)
    first = stream.push(x[:4])
    assert stream.push(x[4:4]).shape == (0, 4)
    assert stream.push(x[4:4], out=np.empty((0, 4), np.float32)).shape == (0, 4)
    assert stream.position == 4
    assert same_bits(np.concatenate([first, stream.push(x[4:]), stream.flush()]), model(x))
    assert model.stream().flush().shape == (0, 4)
    assert model.stream(3).push(np.zeros((3, 0, 3))).shape == (3, 0, 4)
    once = network(lambda b: b.add(L.Last, "last", lstm(b, "lstm", b.input("x", (3,)), 4)))
    assert once.stream().flush().shape == (0, 4)
    assert once.stream().push(x).shape == (0, 4)


def test_arrays_that_repeat_one_row_or_overlap_themselves_are_read_as_they_say(model):
    x = normal(7, 3)
    repeated = np.broadcast_to(x, (5, 7, 3))
    assert same_bits(model(repeated), np.broadcast_to(model(x), (5, 7, 4)))
    assert same_bits(
        model.stream(5).push(repeated), np.ascontiguousarray(np.broadcast_to(model(x), (5, 7, 4)))
    )
    series = normal(40)
    windows = np.lib.stride_tricks.sliding_window_view(series, 3)
    assert same_bits(model(windows), model(windows.copy()))
    still = np.broadcast_to(x[0], (9, 3))
    assert same_bits(model(still), model(still.copy()))
