"""What torch.export.save writes of twelve networks, against float64 PyTorch (tools/record_pt2.py), read
without PyTorch.

Every archive of a network with an LSTM, GRU or RNN says that its input has the frames of the example. One
that holds for other lengths takes them; one whose operators take frames by number takes exactly as many.
"""

import numpy as np
import pytest
from onnx_exports import BATCHES, SHAPES, TIMES, sample
from onnx_exports import recorded as onnx_recorded
from pt2_records import WAYS, recorded

import rnnrt
from rnnrt import ShapeError

#: loops over time are unrolled
FROZEN = ("cell_loop", "hand_gru")
CASES = [(name, way) for name in SHAPES for way in WAYS]


def imported(content, tmp_path, **options):
    path = tmp_path / "m.pt2"
    path.write_bytes(content)
    return rnnrt.from_pt2(path, **options)


def compared(name, model, frozen=False):
    """How many answers of a network were the recorded ones."""
    _, answers = onnx_recorded()
    states, count = name == "lstm_states", 0
    for batch in BATCHES:
        for time in TIMES:
            given, wanted = sample(name, batch, time), answers[name].get(f"{batch} {time} 0")
            if wanted is None:
                continue
            if frozen and time != 7:
                with pytest.raises(ShapeError):
                    model(*given)
                continue
            options = {"initial_state": tuple(given[1:]), "return_state": True} if states else {}
            made = model(*given[:1], **options)
            if states:
                made, state = made
                for k, part in enumerate("hc", 1):
                    own = np.stack([state.arrays()[f"rnn.l{layer}/{part}"] for layer in range(2)])
                    np.testing.assert_allclose(own, answers[name][f"{batch} {time} {k}"], atol=1e-5)
            assert made.shape == wanted.shape
            np.testing.assert_allclose(made, wanted, atol=1e-5, rtol=1e-5)
            count += 1
    return count


@pytest.mark.parametrize("name, way", CASES)
def test_an_archive_answers_as_the_network_does(name, way, tmp_path):
    model = imported(recorded()[f"{name}.{way}"], tmp_path)
    assert compared(name, model, name in FROZEN) >= (2 if name in FROZEN else 6)
    said = " ".join(model.assumptions)
    assert ("has exactly the 7 frames" in said) == (name in FROZEN)
    if name not in FROZEN and not (way == "open" and name == "tcn"):
        assert "was exported with" in said and "takes any number" in said
    assert "not compared" in said


@pytest.mark.parametrize("name", ["lstm", "gru_both_ways", "tcn", "cell_loop"])
@pytest.mark.parametrize("way", WAYS)
def test_an_older_archive_answers_alike(name, way, tmp_path):
    """The flat layout of PyTorch 2.7."""
    model = imported(recorded("2.7")[f"{name}.{way}"], tmp_path)
    assert compared(name, model, name in FROZEN) >= (2 if name in FROZEN else 6)


def test_what_streams_gives_the_bits_of_the_whole(tmp_path):
    for name in ("lstm", "gru", "tcn", "rnn"):
        model = imported(recorded()[f"{name}.open"], tmp_path)
        (x,) = sample(name, 1, 50)
        whole, frames = model(x)[0], x[0].T if name == "tcn" else x[0]
        stream = model.stream()
        parts = [stream.push(frames[:3]), stream.push(frames[3:]), stream.flush()]
        streamed = np.concatenate([p.reshape(len(p), -1) for p in parts if len(p)])
        assert (streamed == (whole.T if name == "tcn" else np.atleast_2d(whole))).all()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["cells", "stacked_cells"])
def test_states_that_go_in_and_out_become_those_of_a_stream(name, way, tmp_path):
    content, steps = recorded()[f"{name}.{way}"], recorded()[name]
    model = imported(content, tmp_path)
    state = {"h": "h", "k": "k"} if name == "cells" else {"h": "output_1", "c": "output_2"}
    assert model.provenance["proposed_state"] == state
    x, y = steps["x"], steps["y"]
    zeros = [np.zeros([2 if n is None else n for n in s], np.float32) for s in model.inputs.values()][1:]
    np.testing.assert_allclose(model(x[0], *zeros)[0], y[0], atol=1e-6)
    carried = imported(content, tmp_path, state=state)
    assert list(carried.inputs) == ["x"] and len(carried.outputs) == 1
    stream = carried.stream(2)
    streamed = [stream.step(frame) for frame in x]
    np.testing.assert_allclose(streamed, y, atol=1e-6)
    assert (carried(x.swapaxes(0, 1)).swapaxes(0, 1) == streamed).all()


def test_names_of_states_that_are_not_there(tmp_path):
    content = recorded()["cells.open"]
    with pytest.raises(rnnrt.UnsupportedModelError, match="an input that is not there.*x, h, k.*found 'hx'"):
        imported(content, tmp_path, state={"hx": "h"})
    with pytest.raises(rnnrt.UnsupportedModelError, match="an output that is not there.*found 'hn'"):
        imported(content, tmp_path, state={"h": "hn", "k": "k"})


def test_the_carried_state_of_a_whole_sequence(tmp_path):
    """state= of an nn.LSTM's own states, which streams carry anyway."""
    content = recorded()["lstm_states.fixed"]
    named = imported(content, tmp_path, state={"h": "output_1", "c": "output_2"})
    plain = imported(content, tmp_path)
    (x, *_) = sample("lstm_states", 1, 50)
    assert (named(x) == plain(x)).all()
    assert (named.stream().push(x[0]) == plain(x)[0]).all()
