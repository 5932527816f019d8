"""ConvTranspose1D: what it adds up, what it cuts off, and streams by overlap-add.

That it answers as the reference on every instruction set, in any chunks and rows: the cases of test_layers.py
and test_stream.py. That it answers as torch and Keras do: test_conv_transpose.py of their folders.
"""

import numpy as np
import pytest
from case_layers import conv, conv_transpose, recurrent
from expect import refused
from small_models import built, case

import rnnrt
from rnnrt import NotStreamableError, ShapeError, State, StateError
from rnnrt import layers as L


def up(weight, *, bias=None, **fields):
    """A model of one ConvTranspose1D of one feature in and out."""
    weight = np.reshape(weight, (1, -1, 1))
    return built(
        lambda b, x, r: b.add(L.ConvTranspose1D, "up", x, weight=weight, bias=bias, **fields), features=(1,)
    )


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, [1, 12, 23, 30]),
        ({"stride": 2}, [1, 10, 2, 20, 3, 30]),
        ({"stride": 3}, [1, 10, 0, 2, 20, 0, 3, 30]),
        ({"dilation": 2}, [1, 2, 13, 20, 30]),
        ({"padding": (1, 1)}, [12, 23]),
        ({"padding": (0, 3)}, [1]),
        ({"padding": (3, 0)}, [30]),
        ({"stride": 2, "padding": (1, -2)}, [10, 2, 20, 3, 30, 0, 0]),
        ({"stride": 2, "padding": "same"}, [1, 10, 2, 20, 3, 30]),
        ({"padding": "same"}, [1, 12, 23]),
        ({"stride": 3, "padding": "same"}, [1, 10, 0, 2, 20, 0, 3, 30, 0]),
    ],
)
@pytest.mark.parametrize("chunks", [[3], [1, 1, 1], [0, 2, 1]])
def test_what_it_adds_up(fields, wanted, chunks):
    for bias in (None, [0.5]):
        model, frames = up([1, 10], bias=bias, **fields), np.array([[1], [2], [3]], np.float32)
        wanted_now = [[w + 0.5 * (bias is not None)] for w in wanted]
        assert model(frames).tolist() == wanted_now
        stream, made, at = model.stream(), [], 0
        for n in chunks:
            made += stream.push(frames[at : at + n]).tolist()
            at += n
        assert made + stream.flush().tolist() == wanted_now


def test_the_weight_of_groups_is_out_tap_in():
    """Two groups of two inputs and one output each: output 1 reads inputs 2 and 3 alone."""
    weight = np.array([[[1, 2], [3, 4]], [[10, 20], [30, 40]]], np.float32)
    add = lambda b, x, r: b.add(L.ConvTranspose1D, "up", x, weight=weight, groups=2, stride=2)
    assert built(add, features=(4,))([[1, 0, 0, 1]]).tolist() == [[1, 20], [3, 40]]


def test_a_model_of_fixed_length_knows_how_many_frames_come():
    graph = case("conv_transpose_output_padding").graph()
    fixed = rnnrt.lowering.with_length(graph, 5)
    assert graph.signals["up"].length is None and fixed.signals["up"].length == 15
    assert rnnrt.Model(fixed)(np.zeros((2, 5, 4), np.float32)).shape == (2, 15, 10)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"padding": "valid"}, "padding must be 'same' or (left, right)"),
        ({"padding": (-1, 0)}, "left not below zero"),
        ({"padding": (0, 1.5)}, "found (0, 1.5)"),
        ({"stride": 0}, "stride must be a whole number"),
        ({"groups": 2}, "groups must divide the outputs"),
        ({"bias": [1.0, 2.0]}, "bias has the wrong shape"),
        ({"dilation": 1 << 24}, "the window is too long"),
    ],
)
def test_what_is_impossible_is_refused(fields, words):
    refused(ShapeError, lambda: up([1, 2, 3], **fields), words, "layer 'up' (ConvTranspose1D)")


def test_a_sequence_of_which_nothing_is_left_is_refused():
    model = up([1, 10], padding=(2, 2))
    assert model(np.ones((4, 1))).shape == (1, 1)
    refused(ShapeError, lambda: model(np.ones((3, 1))), "too short", "found 3 frames")


# ---- streams -----------------------------------------------------------------------------------------------


def test_many_frames_of_one_cannot_be_stepped():
    stream = up([1, 10], stride=2).stream()
    refused(StateError, lambda: stream.step([1.0]), "several frames to one step", "push()")
    assert stream.push([[1.0]]).tolist() == [[1], [10]]
    assert up([1, 10]).stream().step([1.0]).tolist() == [1]


def test_up_and_down_again_can_be_stepped():
    model = built(lambda b, x, r: conv(b, conv_transpose(b, x, r, 4, 3, stride=2), r, 3, 2, stride=2))
    x = np.random.default_rng(1).standard_normal((9, 3)).astype(np.float32)
    stream = model.stream()
    made = [y for frame in x if (y := stream.step(frame)) is not None]
    assert np.concatenate([made, stream.flush()]).tobytes() == model(x).tobytes()


NAMES = ["doubling", "causal", "output_padding", "one_to_one", "dilated", "gaps", "cut", "same", "wide"]


@pytest.mark.parametrize("name", [*(f"conv_transpose_{n}" for n in NAMES), "decoder"])
def test_the_delay_is_what_counting_says(name):
    model, frames = rnnrt.Model(case(name).graph()), 60
    x = case(name).sample(1, frames)[0]
    running, stream = [0], model.stream()
    for frame in x:
        running.append(running[-1] + len(stream.push(frame[None])))
    waited = []
    for t in range(1, frames // 2):
        stream = model.stream()
        due = len(stream.push(x[:t])) + len(stream.flush())
        waited.append(next(n for n in range(t, frames + 1) if running[n] >= due) - t)
    assert model.delay == max(waited)


def test_the_state_is_the_sums_that_wait():
    model, x = up([1, 10, 100, 1000], stride=2, padding=(1, 0)), np.array([[1.0], [2.0], [3.0]], np.float32)
    stream = model.stream()
    assert stream.push(x[:2]).tolist() == [[10], [102], [1020]]
    state = State.from_bytes(stream.state.to_bytes())
    assert {n: a.tolist() for n, a in state.arrays().items() if "/" in n} == {
        "up/frames": [[200], [2000]],
    }
    state.arrays()["up/frames"][0] = 5000
    other = model.stream()
    other.state = state
    assert other.push(x[2:]).tolist() == [[5003], [2030]]
    stream.reset()
    assert stream.push(x[:2]).tolist() == [[10], [102], [1020]]


def test_rows_may_begin_apart():
    model = rnnrt.Model(case("conv_transpose_doubling").graph())
    x = case("conv_transpose_doubling").sample(2, 12)
    stream = model.stream(batch_size=2)
    stream.push(x[:, :5])
    stream.reset(rows=[1])
    stream.push(x[:, 5:7])
    rest = np.concatenate([stream.push(x[:, 7:]), stream.flush()], 1)
    assert rest[0].tobytes() == model(x[0])[-rest.shape[1] :].tobytes()
    assert rest[1].tobytes() == model(x[1, 5:])[-rest.shape[1] :].tobytes()


def test_every_step_says_what_the_model_says_so_far_where_no_frame_waits_for_the_end():
    def last(**fields):
        layer = lambda b, x, r: recurrent(b, conv_transpose(b, x, r, 5, 4, **fields), r, L.GRU, 4)
        return built(lambda b, x, r: b.add(L.Last, "last", layer(b, x, r)))

    model, x = (
        last(stride=2, padding=(0, 2)),
        np.random.default_rng(2).standard_normal((7, 3)).astype(np.float32),
    )
    stream = model.stream(every_step=True)
    for t in range(len(x)):
        assert stream.step(x[t]).tobytes() == model(x[: t + 1]).tobytes()
    refused(NotStreamableError, lambda: last(stride=2).stream(every_step=True), "up", "looks ahead")


# ---- joins -------------------------------------------------------------------------------------------------


def unet(depth):
    """Down ``depth`` times and up again, with a skip connection at every level."""

    def level(b, x, r, n):
        if not n:
            return x
        low = conv(b, x, r, 4, 4, stride=2, padding=(1, 1), name=f"down{n}")
        high = conv_transpose(b, level(b, low, r, n - 1), r, 4, 4, stride=2, padding=(1, 1), name=f"up{n}")
        return b.add(L.Concatenate, f"skip{n}", x, high)

    return built(lambda b, x, r: level(b, x, r, depth), features=(4,))


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_skip_connection_around_down_and_up_streams(depth):
    model, frames = unet(depth), 5 * 2**depth
    assert model.streamable
    x = np.random.default_rng(3).standard_normal((2, frames, 4)).astype(np.float32)
    whole = model(x)
    assert whole.shape[1] == frames
    for size in (1, 2, 3, frames):
        stream = model.stream(batch_size=2)
        parts = [stream.push(x[:, t : t + size]) for t in range(0, frames, size)] + [stream.flush()]
        assert np.concatenate(parts, 1).tobytes() == whole.tobytes(), size


def test_a_skip_connection_of_frames_that_were_lost_on_the_way_down_is_refused():
    """Five frames, of which two are left at half the rate, which are four when they come back."""
    refused(ShapeError, lambda: unet(1)(np.ones((5, 4), np.float32)), "skip1")
