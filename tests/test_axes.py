"""The order of axes is the source's, and the rank of an array tells whether there is a batch."""

import numpy as np
import pytest
from case_layers import conv
from expect import near, refused, same_bits
from small_models import frames, lstm, net, network, normal

import rnnrt
from rnnrt import (
    DTypeError,
    ShapeError,
    reference,
    textbook,
)
from rnnrt import layers as L


@pytest.mark.parametrize("axes", ["btf", "bft", "tbf"])
@pytest.mark.parametrize("out_axes", ["btf", "bft", "tbf"])
def test_the_rank_tells_whether_there_is_a_batch(axes, out_axes):
    x = frames(4, 7, 3)
    plain = net()(x)
    model = net(axes=axes, out_axes=out_axes)
    order = lambda a: ["btf".index(c) for c in a]
    single = lambda a: ["tf".index(c) for c in a if c != "b"]
    assert model.inputs["x"] == tuple({"b": None, "t": None, "f": 3}[c] for c in axes)
    assert (model(x.transpose(order(axes))) == plain.transpose(order(out_axes))).all()
    assert (model(x[1].transpose(single(axes))) == plain[1].transpose(single(out_axes))).all()
    refused(ShapeError, lambda: model(frames(2, 2, 2, 2)), "input 'x'", "found (2, 2, 2, 2)")
    refused(ShapeError, lambda: model(frames(8, 8, 8)), "input 'x'", "found (8, 8, 8)")


def test_the_textbooks_axes():
    r = np.random.default_rng(4)
    p = {f"W{g}": r.standard_normal((5, 8)) for g in "fico"} | {
        f"b{g}": r.standard_normal((5, 1)) for g in "fico"
    }
    p |= {"Wy": r.standard_normal((2, 5)), "by": r.standard_normal((2, 1))}
    model = rnnrt.from_numpy(p)
    x, a0 = frames(3, 4, 6), frames(5, 4)
    assert model.inputs == {"x": (3, None, None), "a0": (5, None)}
    assert model.outputs == {"a": (5, None, None), "y": (2, None, None), "c": (5, None, None)}
    for made, (a, y, c, _) in (
        (model(x, a0), textbook.lstm_forward(x, a0, p)),
        (model(x), textbook.lstm_forward(x, np.zeros((5, 4)), p)),
    ):
        assert near(made[0], a) and near(made[1], y) and near(made[2], c)
    alone = model(x[:, 1], a0[:, 1])
    for one, all_rows in zip(alone, model(x, a0)):
        assert same_bits(one, np.ascontiguousarray(all_rows[:, 1]))
    refused(
        ShapeError,
        lambda: model(x.transpose(1, 2, 0)),
        "input 'x'",
        "expected (3, batch, time)",
        "found (4, 6, 3)",
    )
    refused(ShapeError, lambda: model(x, a0.T), "input 'a0'", "expected (5, batch)", "found (4, 5)")
    plain = rnnrt.from_numpy(
        {"Wax": p["Wf"][:, 5:], "Waa": p["Wf"][:, :5], "Wya": p["Wy"], "ba": p["bf"], "by": p["by"]}
    )
    stream = plain.stream(inputs={"a0": a0[:, 2]})
    streamed = (np.stack(k, 1) for k in zip(*[stream.step(x[:, 2, t]) for t in range(6)]))
    for one, all_rows in zip(streamed, plain(x, a0)):
        assert same_bits(one, np.ascontiguousarray(all_rows[:, 2]))
    refused(DTypeError, lambda: rnnrt.from_numpy(3), "dictionary", "found int")


@pytest.fixture(scope="module")
def model():
    return network(lambda b: lstm(b, "lstm", b.input("x", (3,)), 4))


@pytest.mark.parametrize("out_axes", ["btf", "bft", "tbf", "fbt"])
@pytest.mark.parametrize("in_axes", ["btf", "bft", "tbf", "fbt"])
def test_axes_are_the_sources_and_the_rank_tells_a_batch(in_axes, out_axes):
    b = L.GraphBuilder()
    b.output("y", lstm(b, "lstm", b.input("x", (3,), axes=in_axes), 4), out_axes)
    model = rnnrt.Model(b.graph())
    x = normal(2, 6, 3)
    expected = reference.run(model.graph, {"x": x})[0]["y"]
    turned = lambda a, axes: a.transpose(["btf".index(c) for c in axes])
    plain = lambda a, axes: a.transpose(["tf".index(c) for c in axes.replace("b", "")])
    y = model(turned(x, in_axes))
    assert y.shape == turned(expected, out_axes).shape
    assert np.abs(y - turned(expected, out_axes)).max() < 1e-6
    alone = model(plain(x[1], in_axes))
    assert np.abs(alone - plain(expected[1], out_axes)).max() < 1e-6
    assert same_bits(np.ascontiguousarray(alone), np.ascontiguousarray(np.take(y, 1, out_axes.index("b"))))
    for given, wanted in ((turned(x, in_axes), y), (plain(x[1], in_axes), alone)):
        out = np.zeros(wanted.shape, np.float32)
        assert model(given, out=out) is out
        assert same_bits(out, np.ascontiguousarray(wanted))
    stream = model.stream(2)  # frames and chunks are (batch, time, features) whatever the source's axes
    assert same_bits(stream.push(x), np.ascontiguousarray(y.transpose([out_axes.index(c) for c in "btf"])))
    refused(ShapeError, lambda: model(turned(normal(2, 6, 4), in_axes)), "input 'x'")
    assert model.inputs["x"] == tuple({"b": None, "t": None, "f": 3}[a] for a in in_axes)
    assert model.outputs["y"] == tuple({"b": None, "t": None, "f": 4}[a] for a in out_axes)


@pytest.mark.parametrize("frames", [1, 3, 4, 9, 131])
@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 8, 21])
def test_axes_turned_by_the_engine_move_no_bit(width, frames):
    """Widths and lengths below, at and over the squares it turns, blocks of frames and what is left over."""

    def model(in_axes, out_axes):
        b = L.GraphBuilder()
        x = b.input("x", (width,), axes=in_axes)
        b.output("y", conv(b, x, np.random.default_rng(1), width, 3, padding=(2, 0)), out_axes)
        return rnnrt.Model(b.graph())

    x = normal(3, frames, width)
    plain = model("btf", "btf")(x)
    for axes in ("bft", "tbf", "fbt"):
        order = ["btf".index(a) for a in axes]
        wanted, given = plain.transpose(order).copy(), x.transpose(order).copy()
        turned = model(axes, axes)
        for array in (given, given.astype(np.float64), np.asfortranarray(given), given[::-1].copy()[::-1]):
            answer = turned(array)
            assert answer.flags.c_contiguous and same_bits(answer, wanted)
        assert same_bits(model(axes, "btf")(given), plain)
        assert same_bits(model("btf", axes)(x), wanted)
        out = np.empty(wanted.shape, np.float32)
        assert turned(given, out=out) is out and same_bits(out, wanted)
        assert turned(given, out=given) is given and same_bits(given, wanted)  # read before it is written
        one = np.broadcast_to(np.float32(0.5), given.shape)
        assert same_bits(turned(one), turned(np.ascontiguousarray(one)))
