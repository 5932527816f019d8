"""What a model and a graph say of themselves: delay, receptive field, summary, names."""

import dataclasses

import numpy as np
import pytest
from case_layers import conv, dense, recurrent
from cases import CASES
from expect import refused
from small_models import built, case, frames, lstm, model_of, network

import rnnrt
from rnnrt import (
    ShapeError,
)
from rnnrt import layers as L


def test_max_outputs_delay_and_receptive_field():
    def facts(build, **fields):
        model = built(build, **fields)
        return model.delay, model.receptive_field

    assert facts(lambda b, x, r: recurrent(b, x, r, L.GRU, 4)) == (0, None)
    assert facts(lambda b, x, r: dense(b, x, r, 4)) == (0, 1)
    assert facts(lambda b, x, r: conv(b, x, r, 4, 3, padding=(2, 0))) == (0, 3)
    assert facts(lambda b, x, r: conv(b, x, r, 4, 5, padding=(2, 2))) == (2, 5)
    assert facts(lambda b, x, r: conv(b, x, r, 4, 3, dilation=4, padding=(4, 4))) == (4, 9)
    assert facts(
        lambda b, x, r: conv(b, conv(b, x, r, 4, 3, padding="same"), r, 4, 3, padding="same", name="two")
    ) == (2, 5)
    assert facts(lambda b, x, r: conv(b, conv(b, x, r, 4, 4, stride=2), r, 4, 3, name="two"))[1] == 4 + 2 * 2
    # padding behind a stride reaches as far as the frames it stands for
    assert facts(
        lambda b, x, r: conv(b, conv(b, x, r, 4, 3, stride=2), r, 4, 3, padding=(2, 0), name="two")
    ) == (0, 3 + 2 * 2)
    wavenet = rnnrt.Model(case("wavenet").graph())
    assert (wavenet.delay, wavenet.receptive_field) == (0, 16)
    stream = built(lambda b, x, r: conv(b, x, r, 4, 4, stride=2)).stream()
    assert [stream.max_outputs(n) for n in (0, 3, 4, 5, 6)] == [0, 0, 1, 1, 2]
    stream.push(frames(3, 3))
    assert stream.max_outputs(1) == 1 and len(stream.push(frames(1, 3))) == 1
    for wrong in (-1, 1.5, "a", None):
        refused(ShapeError, lambda w=wrong: stream.max_outputs(w), "number of frames", f"found {wrong!r}")


@pytest.mark.parametrize("c", CASES, ids=lambda c: c.name)
def test_every_model_describes_itself(c):
    model = rnnrt.Model(c.graph())
    text = model.summary()
    assert all(layer.name in text for layer in model.graph.layers) and f"{model.graph.parameters:,}" in text
    assert f"{len(model.graph.layers)} layers" in repr(model)
    assert model.delay >= 0 and (model.receptive_field or 1) >= 1 and model.nbytes >= 0 and model.isa
    if c.streams:
        assert "batch_size=3, position=0" in repr(model.stream(3))


@pytest.fixture(scope="module")
def model():
    return network(lambda b: lstm(b, "lstm", b.input("x", (3,)), 4))


@pytest.mark.parametrize(
    ("name", "delay"),
    [
        ("lstm_20", 0),
        ("conv_causal", 0),
        ("conv_same", 1),
        ("conv_even_same", 4),
        ("conv_dilated_same", 3),
        ("residual", 1),
        ("three_delays", 5),
    ],
)
def test_delay_is_how_many_frames_pass_before_the_first_answer(name, delay):
    case = next(c for c in CASES if c.name == name)
    model = rnnrt.Model(case.graph())
    stream = model.stream()
    assert model.delay == stream.delay == delay
    held = [stream.step(f) is None for f in case.sample(1, 20)[0]]
    assert held == [True] * delay + [False] * (20 - delay)
    assert len(stream.flush()) == delay


@pytest.mark.parametrize(
    "name",
    [
        "dense_20",
        "conv_causal",
        "conv_same",
        "conv_even_same",
        "conv_dilated",
        "conv_stride",
        "wavenet",
        "residual",
        "three_delays",
        "max_pool_valid",
        "max_pool_overlapping",
        "average_pool_padded",
        "conv_stride_beyond",
        "conv_grouped",
        "softmax",
    ],
)
def test_the_receptive_field_is_what_one_answer_depends_on(name):
    case = next(c for c in CASES if c.name == name)
    model, frames = rnnrt.Model(case.graph()), 64
    x = case.sample(1, frames)[0]
    plain = model(x)
    seen = np.zeros((frames, len(plain)), bool)
    for t in range(frames):
        spoiled = x.copy()
        spoiled[t] = np.nan
        seen[t] = np.isnan(model(spoiled)).any(-1)
    spans = [np.ptp(np.flatnonzero(seen[:, k])) + 1 for k in range(len(plain)) if seen[:, k].any()]
    assert model.receptive_field == max(spans)


def test_what_depends_on_everything_has_no_receptive_field():
    for name in ("lstm_20", "global_max", "flatten", "reverse", "textbook_conv_gru", "last_of_both"):
        assert model_of(name).receptive_field is None


def test_a_graph_names_its_inputs_and_outputs_by_itself():
    """Every Input in its order, and an output called like the value it shows, where nothing else is said."""
    x, y = (L.Input(name, features=(2,)) for name in "xy")
    parts = [x, y, L.Add("sum", ["x", "y"]), L.Reverse("back", "sum")]
    graph = L.Graph(parts, outputs=["back", L.Output("plain", "sum")])
    assert graph.inputs == ("x", "y") and [o.name for o in graph.outputs] == ["back", "plain"]
    assert L.Graph(parts, ("y", "x"), "back").inputs == ("y", "x")
    a, b = np.ones((2, 3, 2), np.float32)
    back, plain = rnnrt.from_graph(graph)(a, b)
    assert (plain == 2).all() and back.shape == plain.shape
    with pytest.raises(ShapeError, match="inputs must name every Input layer once"):
        L.Graph(parts, ["x"], ["back"])
    with pytest.raises(ShapeError, match="a graph needs outputs"):
        L.Graph(parts)


def test_a_builder_says_what_a_layer_cannot_read():
    b = L.GraphBuilder()
    x = b.input("x", (2,))
    refused(ShapeError, lambda: b.add(L.Add, "sum", x, "y"), "layer 'sum' (Add): reads 'y', which no layer")
    refused(ShapeError, lambda: b.add(L.Reverse, "back", x, x), "layer 'back' (Reverse): has 2 inputs")


@pytest.mark.parametrize("kind", (L.Add, L.Multiply, L.Divide, L.Activation))
def test_a_layer_never_changes(kind):
    """Classes with fields of their own and without."""
    layer = kind("a", ("x",))
    for name in ("name", "inputs", "else"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(layer, name, "b")
        with pytest.raises(dataclasses.FrozenInstanceError):
            delattr(layer, name)
    assert layer.name == "a" and dataclasses.replace(layer, name="b").name == "b"
