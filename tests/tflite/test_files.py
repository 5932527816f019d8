"""Files that TensorFlow's converter writes of Keras networks (2.15 and 2.19, tools/record_tflite.py), against
what LiteRT answered.

A file that claims a free number of frames has one; where a loop or a shape in the file holds for seven frames
alone, the import takes exactly seven.
"""

import numpy as np
import pytest
from tflite_answers import TOLERANCE, imported
from tflite_files import recorded, sample, shapes

from rnnrt import ShapeError, UnsupportedModelError
from rnnrt.passes import optimise

#: Networks whose file of a fixed number of frames holds for seven alone, by version: loops count to seven,
#: and shapes of convolutions are written out. An LSTM of 2.15 is one operator, for any number.
_ALL = "gru gru_before rnn gru_both masked masked_gru lstm_hard conv conv_stride separable transposed"
FROZEN = {(n, v) for n in _ALL.split() for v in ("215", "219")}
FROZEN |= {(n, "219") for n in ("lstm", "lstm_last", "lstm_both")} | {("unrolled", v) for v in ("215", "219")}
FROZEN |= {("norm", "215")}
FILES = [n for n in recorded()[0] if not n.startswith(("flex", "whole", "integers"))]
#: The recurrent layers that loops are lifted to.
LIFTED = {
    "lstm": "lstm",
    "gru": "gru",
    "gru_before": "gru",
    "rnn": "rnn",
    "gru_both": "gru",
    "stateful": "lstm",
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_answers_as_litert_does(name, tmp_path):
    files, answers = recorded()
    network, version, form = name.split(".")
    made = imported(files[name], tmp_path)
    frozen = form != "open" and (network, version) in FROZEN
    rows = 1 if name == "norm.215.seven" else None  # its norm takes the frames for rows, of one frame each
    assert next(iter(made.inputs.values())) == (rows, 7 if frozen and not rows else None, 4)
    compared = 0
    for shape in shapes(name):
        wanted = answers.get(f"{name} {shape[0]} {shape[1]} 0 0")
        if wanted is None:  # shorter than a window
            continue
        y = made(sample(name, shape))
        assert y.shape == wanted.shape
        np.testing.assert_allclose(y, wanted, atol=TOLERANCE, rtol=TOLERANCE)
        compared += 1
    assert compared >= (2 if form == "open" else 1)
    if frozen and not rows:
        with pytest.raises(ShapeError):
            made(sample(name, (1, 8)))
    if network in LIFTED:
        assert LIFTED[network] in [layer.kind for layer in optimise(made.graph).layers]


@pytest.mark.parametrize("name", [n for n in FILES if n.endswith("rows") and n.split(".")[0] != "norm"])
def test_a_file_of_three_rows_takes_any_number(name, tmp_path):
    files, _ = recorded()
    made, x = imported(files[name], tmp_path), sample(name, (3, 7))
    for rows in (1, 2):
        assert (made(x[:rows]) == made(x)[:rows]).all()


@pytest.mark.parametrize("name", [n for n in FILES if n.startswith(("stateful", "lstm.215"))])
def test_a_stream_goes_on_where_the_call_before_ended(name, tmp_path):
    files, answers = recorded()
    made, (rows, frames) = imported(files[name], tmp_path), shapes(name)[-1]
    x = sample(name, (rows, frames))
    stream = made.stream(batch_size=rows)
    for call in (0, 1):
        y = np.concatenate([stream.push(x[:, :3]), stream.push(x[:, 3:])], 1)
        np.testing.assert_allclose(y, answers[f"{name} {rows} {frames} {call} 0"], atol=1e-5, rtol=1e-5)
    if name.startswith("stateful"):
        assert (
            np.concatenate([y for y in made.stream(batch_size=rows).push(x)]) == np.concatenate(made(x))
        ).all()


def test_what_streams_gives_the_bits_of_the_whole(tmp_path):
    files, _ = recorded()
    for name in ("gru.219.open", "masked.215.open", "conv.215.open", "rnn.215.open"):
        made, x = imported(files[name], tmp_path), sample(name, (1, 20))
        stream = made.stream()
        parts = [stream.push(x[0, :3]), stream.push(x[0, 3:]), stream.flush()]
        assert (np.concatenate([p for p in parts if len(p)]) == made(x)[0]).all()


@pytest.mark.parametrize("version", ["215", "219"])
def test_weights_of_eight_and_sixteen_bits(version, tmp_path):
    """Of the same network; LiteRT rounds its activations too where weights are integers."""
    files, answers = recorded()
    name = f"integers.{version}.open"
    made, x = imported(files[name], tmp_path), sample(name, (1, 20))
    half = imported(files[f"half.{version}.open"], tmp_path)
    assert np.abs(made(x) - answers[f"{name} 1 20 0 0"]).max() < 0.1
    assert 0 < np.abs(made(x) - half(x)).max() < 0.1
    assert "dequantised" in made.graph.metadata["assumptions"][0]
    assert "16-bit" in half.graph.metadata["assumptions"][0]


@pytest.mark.parametrize("version", ["215", "219"])
def test_what_is_not_read_is_refused_by_name(version, tmp_path):
    files, _ = recorded()
    with pytest.raises(UnsupportedModelError, match="'FlexTensorListReserve' is not supported.*batch_size=1"):
        imported(files[f"flex.{version}.open"], tmp_path)
    with pytest.raises(UnsupportedModelError, match="QUANTIZE.*computes in whole numbers.*int8"):
        imported(files[f"whole.{version}.open"], tmp_path)
