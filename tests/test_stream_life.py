"""The life of a stream: how many frames a call may answer with, its end, failures, its model gone."""

import gc

import numpy as np
import pytest
from case_layers import conv, dense
from cases import CASES
from expect import refused, same_bits
from small_models import built, frames, lstm, model_of, net, network, normal, rnn

import rnnrt
from rnnrt import (
    DTypeError,
    ResourceLimitError,
    ShapeError,
    State,
    StateError,
)
from rnnrt import layers as L


def test_a_step_that_may_bring_several_frames_is_refused():
    wide = built(lambda b, x, r: conv(b, x, r, 4, 3, padding=(6, 0)))
    laid_out = L.GraphBuilder()
    x, seed = laid_out.input("x", (3,)), laid_out.input("seed", (8,), time=False)
    laid_out.output("frames", laid_out.add(L.Unflatten, "unflatten", seed, length=4))
    laid_out.output("y", dense(laid_out, x, np.random.default_rng(0), 2))
    for model, given in ((wide, None), (rnnrt.Model(laid_out.graph()), {"seed": frames(8)})):
        stream = model.stream(inputs=given)
        assert stream.may_emit_many
        refused(StateError, lambda s=stream: s.step(frames(3)), "several frames", "push()")
        refused(StateError, lambda s=stream: s.step([1, 2, 3]), "several frames", "push()")
        assert stream.position == 0
    x = frames(9, 3)
    stream = wide.stream()
    assert len(stream.push(x[:1])) == 5
    assert not net().stream().may_emit_many
    for padding, stride, count in ((2, 1, 1), (3, 1, 2), (3, 2, 1), (4, 2, 2)):
        edge = built(lambda b, x, r, p=padding, s=stride: conv(b, x, r, 4, 3, padding=(p, 0), stride=s))
        stream = edge.stream()
        assert stream.may_emit_many == (count > 1) and len(stream.push(x[:1])) == count


def test_after_flush_only_reset_or_a_state_is_legal():
    model, x = net(), frames(7, 3)
    stream = model.stream()
    start = stream.state
    plain = stream.push(x)
    stream.flush()
    for call in (
        lambda: stream.step(x[0]),
        lambda: stream.step(x[0].tolist()),
        lambda: stream.push(x),
        lambda: stream.push(x, np.empty((7, 5), np.float32)),
        stream.flush,
    ):
        refused(StateError, call, "flushed", "reset()")
    stream.reset()
    assert same_bits(stream.push(x), plain)
    stream.flush()
    stream.state = start
    assert same_bits(stream.push(x), plain)


def test_a_stream_outlives_its_model():
    model, x = net(), frames(7, 3)
    plain = model(x)
    stream = model.stream()
    del model
    junk = [net(units=u)(x) for u in range(1, 9)]
    assert len(junk) == 8 and same_bits(stream.push(x), plain)
    twin = stream.clone()
    twin.reset()
    del stream
    assert same_bits(twin.push(x), plain)


@pytest.fixture(scope="module")
def model():
    return network(lambda b: lstm(b, "lstm", b.input("x", (3,)), 4))


def test_a_stream_that_failed_half_way_says_so_until_it_is_reset():
    def make(b):  # the id is made inside: nobody can look at it before
        return b.add(
            L.Embedding,
            "table",
            b.add(L.Affine, "twice", b.input("x", (1,)), scale=[2.0], offset=[0.0]),
            weight=normal(5, 3),
        )

    model, x = network(make), np.array([[0], [1], [2], [9], [1]], np.float32)
    refused(ShapeError, lambda: model(x), "'table'", "row 0", "time 3", "18")
    stream = model.stream()
    refused(ShapeError, lambda: stream.push(x), "'table'", "time 3", "18")
    for call in (lambda: stream.push(x[:2]), lambda: stream.step(x[0]), stream.flush):
        refused(StateError, call, "failed half-way", "reset()")
    stream.reset()
    assert same_bits(stream.push(x[:3]), model(x[:3]))


def test_a_model_that_may_answer_with_several_frames_to_one_refuses_step():
    model, x = model_of("conv_wide_pad"), normal(12, 4)
    stream = model.stream()
    refused(StateError, lambda: stream.step(x[0]), "several frames", "push()")
    first = stream.push(x[:1])
    assert len(first) == stream.max_outputs(0) + 3 == 3
    assert same_bits(np.concatenate([first, stream.push(x[1:]), stream.flush()]), model(x))
    late = network(
        lambda b: b.add(
            L.Conv1D,
            "padded",
            b.add(L.MaxPool1D, "pool", b.input("x", (1,)), size=100, stride=100),
            weight=normal(1, 1, 1),
            padding=(2, 0),
        )
    )
    refused(StateError, lambda: late.stream().step([0.0]), "several frames")
    padded = network(
        lambda b: b.add(L.Conv1D, "conv", b.input("x", (1,)), weight=normal(2, 3, 1), padding=(2, 0))
    )
    assert padded.stream().step([1.0]).shape == (2,)
    repeated = network(
        lambda b: rnn(
            b, "rnn", b.add(L.Unflatten, "frames", b.add(L.Last, "last", b.input("x", (6,))), length=3), 2
        )
    )
    stream = repeated.stream()
    assert stream.step(normal(6)) is None
    assert stream.flush().shape == (3, 2)


@pytest.mark.parametrize("case", [c for c in CASES if c.streams], ids=lambda c: c.name)
def test_max_outputs_is_what_a_push_returns(case):
    model, frames = rnnrt.Model(case.graph()), case.length or 61
    x = case.sample(1, frames)[0]
    stream, at = model.stream(), 0
    for n in (1, 0, 5, 2, 17, frames):
        n = min(n, frames - at)
        due = stream.max_outputs(n)
        assert len(stream.push(x[at : at + n])) == due
        at += n
    for bad in (-1, 1.5, "3", None, 1 << 70):
        refused(ShapeError, lambda b=bad: stream.max_outputs(b))


def test_every_step_has_said_everything_before_the_end():
    for name in ("last", "global_max", "global_average", "final_state", "last_after_stride"):
        case = next(c for c in CASES if c.name == name)
        model = rnnrt.Model(case.graph())
        stream = model.stream(every_step=True)
        x = case.sample(1, 12)[0]
        assert same_bits(stream.push(x)[-1], model(x))
        assert len(stream.flush()) == 0
        refused(StateError, lambda s=stream, x=x: s.push(x), "reset()")
        stream.reset()
        half = model.stream(every_step=True)
        half.push(x[:5])
        stream.state = State.from_bytes(half.state.to_bytes())
        assert same_bits(stream.push(x[5:])[-1], model(x))


def test_rows_are_reset_by_number(model):
    x, stream = normal(4, 9, 3), model.stream(4)
    stream.push(x[:, :3])
    stream.reset(rows=np.array([3, 1]))
    stream.reset(rows=[])
    stream.reset(rows=0)
    rest = stream.push(x[:, 3:])
    for row in (0, 1, 3):
        assert same_bits(rest[row], model(x[row, 3:]))
    assert same_bits(rest[2], model(x[2])[3:])
    for bad in ([4], [-1], [0.5], [True], "1", [None], [[9]]):
        with pytest.raises((ShapeError, DTypeError), match="rows"):
            stream.reset(rows=bad)


def test_batch_sizes_and_blocks_beyond_reason(model):
    for bad in (0, -1, 1.5, "2", 1 << 25, 1 << 70, [2]):
        refused(ShapeError, lambda b=bad: model.stream(b), "batch_size")
    long = network(
        lambda b: b.add(
            L.Conv1D,
            "conv",
            b.input("x", (4096,)),
            weight=normal(1, 2, 4096),
            dilation=1 << 23,
            padding=(1 << 23, 0),
        )
    )
    with pytest.raises(ResourceLimitError, match="memory"):
        long.stream(1 << 24)


def test_a_model_and_its_stream_in_a_ring_are_collected():
    for _ in range(20):
        for name in ("lstm_20", "per_frame"):
            model = model_of(name)
            stream = model.stream()
            model.graph.metadata["ring"] = [model, stream]
            model.ring = stream
            stream.push(normal(3, 20))
            model(normal(3, 20))
            del model, stream
        gc.collect()


def test_the_collector_cannot_free_a_plan_inside_another_before_it():
    """It might empty the list of them first; what the outer one keeps for the next call refers to them."""
    model = rnnrt.from_graph(next(c for c in CASES if c.name.startswith("scan_lstm")).graph(), lift=False)
    model(frames(7, 1))
    assert not gc.is_tracked(model._plans.any())


def conditioned(end):
    """A value given once and worked on, which meets frames that come late."""
    b, r = L.GraphBuilder(), np.random.default_rng(3)
    x, speaker = b.input("x", (3,)), b.input("speaker", (2,), time=False)
    given = dense(b, b.add(L.Dense, "first", speaker, weight=r.normal(size=(3, 2))), r, 5)
    late = conv(b, b.add(L.Dense, "wide", x, weight=r.normal(size=(5, 3))), r, 5, 6, padding=(0, 5))
    b.output("y", end(b, late, given, r))
    return rnnrt.from_graph(b.graph())


@pytest.mark.parametrize(
    "end",
    [
        lambda b, x, given, r: b.add(L.Add, "sum", x, b.add(L.Expand, "expand", x, given)),
        lambda b, x, given, r: b.add(
            L.GRU, "gru", x, given, weight=r.normal(size=(15, 5)), recurrent_weight=r.normal(size=(15, 5))
        ),
    ],
    ids=["expand", "state"],
)
def test_what_is_given_once_is_each_streams_own_until_its_first_frame_comes(end):
    """Streams of a model work in one memory by turns: the other's value lies there when the frame comes."""
    model, x = conditioned(end), normal(2, 40, 3)
    speakers = [normal(2, 2) + k for k in range(2)]
    streams = [model.stream(batch_size=2, inputs={"speaker": s}) for s in speakers]
    parts = [[], []]
    for t in range(40):
        for stream, own in zip(streams, parts):
            own.append(stream.push(x[:, t : t + 1]))
    for stream, own, speaker in zip(streams, parts, speakers):
        own.append(stream.flush())
        assert same_bits(np.concatenate(own, 1), model(x, speaker))
