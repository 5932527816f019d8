"""What torch.jit.save writes of traced networks, against float64 PyTorch (tools/record_torchscript.py), read
without PyTorch.

A traced file says which sizes its example had, a frozen one nothing. One that holds for other lengths takes
them; one whose operators take frames by number takes exactly as many, or is refused until they are said.
"""

import numpy as np
import pytest
from onnx_exports import BATCHES, SHAPES, TIMES, sample
from onnx_exports import recorded as onnx_recorded
from pt2_records import recorded as pt2_recorded
from script_records import WAYS, recorded

import rnnrt
from rnnrt import ShapeError

#: loops over time are unrolled
FROZEN = ("cell_loop", "hand_gru")
CASES = [(name, way) for name in SHAPES for way in WAYS]


def imported(content, tmp_path, **options):
    path = tmp_path / "m.pt"
    path.write_bytes(content)
    return rnnrt.from_torchscript(path, **options)


@pytest.mark.parametrize("name, way", CASES)
def test_a_file_answers_as_the_network_does(name, way, tmp_path):
    content, frozen = recorded()[f"{name}.{way}"], name in FROZEN
    if frozen and way == "frozen":
        with pytest.raises(rnnrt.UnsupportedModelError, match="a frame by its number.*shapes="):
            imported(content, tmp_path)
    options = {"shapes": {"x": (2, 7, 5)}} if frozen and way == "frozen" else {}
    model, (_, answers), count = imported(content, tmp_path, **options), onnx_recorded(), 0
    states = name == "lstm_states"
    for batch in BATCHES:
        for time in TIMES:
            given, wanted = sample(name, batch, time), answers[name].get(f"{batch} {time} 0")
            if wanted is None:
                continue
            if frozen and time != 7:
                with pytest.raises(ShapeError):
                    model(*given)
                continue
            made = model(*given[:1], **({"initial_state": tuple(given[1:])} if states else {}))
            assert made.shape == wanted.shape
            np.testing.assert_allclose(made, wanted, atol=1e-5, rtol=1e-5)
            count += 1
    assert count >= (2 if frozen else 6)
    said = " ".join(model.assumptions)
    assert ("has exactly the 7 frames it was traced with" in said) == frozen
    assert ("does not say which sizes" in said) == (way == "frozen" and not frozen)
    assert "not compared" in said


def test_what_streams_gives_the_bits_of_the_whole(tmp_path):
    for name in ("lstm", "gru", "tcn", "rnn"):
        model = imported(recorded()[f"{name}.traced"], tmp_path)
        (x,) = sample(name, 1, 50)
        whole, frames = model(x)[0], x[0].T if name == "tcn" else x[0]
        stream = model.stream()
        parts = [stream.push(frames[:3]), stream.push(frames[3:]), stream.flush()]
        streamed = np.concatenate([p.reshape(len(p), -1) for p in parts if len(p)])
        assert (streamed == (whole.T if name == "tcn" else np.atleast_2d(whole))).all()


@pytest.mark.parametrize("name, way", [("cells", "traced"), ("cells", "frozen"), ("stacked_cells", "traced")])
def test_states_that_go_in_and_out_become_those_of_a_stream(name, way, tmp_path):
    content, steps = recorded()[f"{name}.{way}"], pt2_recorded()[name]
    state = {"h": "h", "k": "k"} if name == "cells" else {"h": "output_1", "c": "output_2"}
    model = imported(content, tmp_path, state=state)
    assert list(model.inputs) == ["x"] and len(model.outputs) == 1
    stream = model.stream(2)
    streamed = [stream.step(frame) for frame in steps["x"]]
    np.testing.assert_allclose(streamed, steps["y"], atol=1e-6)
    assert (model(steps["x"].swapaxes(0, 1)).swapaxes(0, 1) == streamed).all()
    with pytest.raises(rnnrt.UnsupportedModelError, match="an input that is not there.*found 'hx'"):
        imported(content, tmp_path, state={"hx": "h"})


def test_files_are_known_by_their_content(tmp_path):
    path = tmp_path / "m.bin"
    path.write_bytes(recorded()["gru.traced"])
    assert rnnrt.convert(path).provenance["format"] == "TorchScript"
    with pytest.raises(rnnrt.UnsupportedModelError, match="TorchScript program.*rnnrt.from_torchscript"):
        rnnrt.from_torch(path)
    with pytest.raises(rnnrt.UnsupportedModelError, match="rnnrt.from_torchscript"):
        rnnrt.from_pt2(path)


def test_a_spec_reads_the_weights_alone(tmp_path):
    path = tmp_path / "m.pt"
    path.write_bytes(recorded()["lstm.traced"])
    (x,) = sample("lstm", 2, 9)
    spec = "rnn: LSTM batch_first=true\nfc: Linear"
    program = rnnrt.from_torchscript(path)
    for model in (rnnrt.from_torch(path, spec), rnnrt.convert(path, spec=spec)):
        assert (model(x) == program(x)).all()
