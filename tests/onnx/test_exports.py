"""What both of PyTorch's exporters write of twelve networks, against float64 PyTorch (tools/record_onnx.py).

A file that claims a free number of frames either has one, or its import takes exactly the frames that its
operators do: none answers wrongly.
"""

import numpy as np
import pytest
from onnx_answers import imported
from onnx_exports import BATCHES, SHAPES, TIMES, WAYS, recorded, sample

from rnnrt import ShapeError

#: Networks whose export holds for so many frames alone, by the exporter: loops over time are unrolled by
#: both, nn.RNN by that over torch.export; and that writes the frames of a fixed export into Reshapes.
FROZEN = {
    (name, way): 7 for name in ("cell_loop", "hand_gru") for way in ("old", "old fixed", "new", "new fixed")
}
FROZEN |= {("rnn", "new"): 7, ("rnn", "new fixed"): 7, ("gru_both_ways", "new"): 7}
FROZEN |= {(n, "new fixed"): 7 for n in ("lstm", "lstm_last", "lstm_states", "gru", "gru_both_ways")}
FROZEN |= {("norm_gru", "new fixed"): 7, ("conv_lstm", "new fixed"): 8}
CASES = [(name, f"{way}{opset}{'s' * fixed}") for name in SHAPES for way, opset, fixed in WAYS]


@pytest.mark.parametrize("name, way", CASES)
def test_an_export_answers_as_the_network_does(name, way, tmp_path):
    files, answers = recorded()
    model, length = (
        imported(files[f"{name}.{way}"], tmp_path),
        FROZEN.get((name, way[:3] + " fixed" * way.endswith("s"))),
    )
    assert next(iter(model.inputs.values())).count(length) == (length is not None) or length is None
    compared = 0
    for batch in BATCHES:
        for time in TIMES:
            wanted = [answers[name].get(f"{batch} {time} {k}") for k in range(len(model.outputs))]
            if wanted[0] is None:
                continue
            if length not in (None, time):
                with pytest.raises(ShapeError):
                    model(*sample(name, batch, time))
                continue
            made = model(*sample(name, batch, time))
            for y, z in zip(made if isinstance(made, tuple) else (made,), wanted, strict=True):
                assert y.shape == z.shape
                np.testing.assert_allclose(y, z, atol=1e-5, rtol=1e-5)
                compared += 1
    assert compared >= (2 if length else 6)


def test_a_quarter_of_a_column_is_frozen_at_most():
    """Of exports with free axes."""
    for way in ("old", "new"):
        assert sum((name, way) in FROZEN for name in SHAPES) <= len(SHAPES) / (3 if way == "new" else 4)


def test_what_streams_gives_the_bits_of_the_whole(tmp_path):
    files, _ = recorded()
    for name in ("lstm", "gru", "tcn", "rnn"):
        model = imported(files[f"{name}.old17"], tmp_path)
        (x,) = sample(name, 1, 50)
        whole, frames = model(x)[0], x[0].T if name == "tcn" else x[0]
        stream = model.stream()
        parts = [stream.push(frames[:3]), stream.push(frames[3:]), stream.flush()]
        streamed = np.concatenate([p.reshape(len(p), -1) for p in parts if len(p)])
        assert (streamed == (whole.T if name == "tcn" else np.atleast_2d(whole))).all()
