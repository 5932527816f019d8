"""Every operator of TFLite that rnnrt reads, with its options, against what LiteRT answered."""

import numpy as np
import pytest
from tflite_answers import TOLERANCE, answers, imported, several
from tflite_bytes import graph, model, op
from tflite_networks import FILES, cell, draw, lstm, one, sample, whole

import rnnrt
from rnnrt import UnsupportedModelError, reference
from rnnrt.axes import to_canonical, to_source
from rnnrt.importers.tflite.words import WORDS


@pytest.mark.parametrize("name", FILES)
def test_an_operator_answers_as_litert_does(name, tmp_path):
    """By the engine and by the float64 reference; a batch answers as its rows do."""
    made = imported(FILES[name], tmp_path)
    given = sample(name)
    wanted = [answers()[f"{name} 0 {k}"] for k in range(len(made.outputs))]
    assert len(wanted) == sum(n.startswith(f"{name} 0 ") for n in answers())
    for y, z in zip(several(made(*given)), wanted, strict=True):
        assert y.shape == z.shape
        np.testing.assert_allclose(y, z, atol=TOLERANCE, rtol=TOLERANCE)
    if name == "kept_frames":  # a call is a frame of a stream
        return
    canonical = {n: to_canonical(np.asarray(x), made.graph[n].axes) for n, x in zip(made.inputs, given)}
    exact, _ = reference.run(made.graph, canonical)
    for output, z in zip(made.graph.outputs, wanted):
        y = to_source(exact[output.name], output.axes)
        np.testing.assert_allclose(y, z, atol=TOLERANCE, rtol=TOLERANCE)
    rows = 1 if name.endswith("time_first") else 0
    batch = sample(name, 3, seed=1)
    whole_batch = several(made(*batch))
    for row in range(3):
        alone = made(*(np.take(x, [row], rows) for x in batch))
        for y, z in zip(whole_batch, several(alone)):
            assert (np.take(y, [row], rows) == z).all()


def test_every_word_is_tried():
    seen = set()
    for content in FILES.values():
        seen |= {k for k in WORDS if k.encode() in _words(content)}
    untried = {"WHILE", "DEQUANTIZE", "SHAPE", "RANK", "FILL", "RANGE", "TILE", "BROADCAST_TO", "FLOOR"}
    untried |= {"FLOOR_MOD", "REDUCE_PROD", "REDUCE_ANY", "REDUCE_ALL", "EMBEDDING_LOOKUP", "PADV2", "SELECT"}
    untried |= {"SPACE_TO_BATCH_ND"}  # of converters' files, and of sizes
    assert set(WORDS) - seen == untried


def _words(content):
    from tflite_bytes import read

    from rnnrt.importers.tflite.schema import NAMES

    codes = read(content)["operator_codes"]
    return {NAMES[max(c.get("code", 0), c.get("old_code", 0))].encode() for c in codes}


STATEFUL = [n for n in FILES if n.startswith(("lstm", "rnn"))]


@pytest.mark.parametrize("name", STATEFUL)
def test_a_stream_keeps_what_the_file_keeps_from_call_to_call(name, tmp_path):
    made, (x,) = imported(FILES[name], tmp_path), sample(name)
    frames = x[:, 0] if name.endswith("time_first") else x[0]
    stream, parts = made.stream(), []
    for call in (0, 1):
        wanted = answers()[f"{name} {call} 0"]
        parts.append(np.concatenate([stream.push(frames[:2]), stream.push(frames[2:])]))
        np.testing.assert_allclose(parts[-1], wanted.reshape(parts[-1].shape), atol=TOLERANCE, rtol=1e-5)
    assert (parts[0] == made(x).reshape(parts[0].shape)).all()
    if name not in ("rnn_relu", "rnn_relu6"):  # whose last state is almost nothing
        assert np.abs(parts[0] - parts[1]).max() > 1e-3


def test_variables_are_the_state_of_a_stream(tmp_path):
    """A convolution that keeps its last frames in a variable: a call of three frames is a frame."""
    made, (x,) = imported(FILES["kept_frames"], tmp_path), sample("kept_frames")
    stream = made.stream()
    for call in (0, 1):
        wanted = answers()[f"kept_frames {call} 0"][0]
        np.testing.assert_allclose(stream.step(x[0]), wanted, atol=TOLERANCE, rtol=TOLERANCE)
    both = made(np.stack([x[0], x[0]]))
    np.testing.assert_allclose(both[1], answers()["kept_frames 1 0"][0], atol=TOLERANCE, rtol=TOLERANCE)


def test_a_bound_of_the_cells_holds(tmp_path):
    """Without it the answers are others; a bound that is never met changes no number."""
    (x,) = sample("lstm_clipped")
    free = imported(lstm(cell(31, scale=3.0)), tmp_path)(x)
    bound = imported(FILES["lstm_clipped"], tmp_path)(x)
    assert np.abs(free - bound).max() > 0.05
    far, none = imported(FILES["lstm"], tmp_path)(x), imported(FILES["lstm_no_clip"], tmp_path)(x)
    np.testing.assert_allclose(far, none, atol=1e-6)
    layer = imported(FILES["lstm_clipped"], tmp_path).graph.layers[-1]
    assert layer.cell_clip == np.float32(0.7)


REFUSED = {
    "CONCATENATION": (one("CONCATENATION", more="x", y=(1, None, 8), axis=2, fused=1), "activation"),
    "GATHER": (one("GATHER", arrays={"i": whole(0)}, axis=2, batch_dims=1), "batch_dims"),
    "FULLY_CONNECTED": (
        one("FULLY_CONNECTED", arrays={"w": draw(4, 4)}, weights_format=1, keep_num_dims=1),
        "shuffled",
    ),
    "fused TANH": (one("ADD", arrays={"c": np.float32(1)}, fused=4), "number 4"),
    "MIRROR_PAD": (
        one("MIRROR_PAD", y=(1, None, 4), arrays={"p": np.zeros((3, 2), np.int32)}, mode=1),
        "SYMMETRIC",
    ),
    "ellipsis": (
        one(
            "STRIDED_SLICE",
            arrays={"b": whole(0, 0, 0), "e": whole(0, 0, 0), "s": whole(1, 1, 1)},
            ellipsis_mask=1,
        ),
        "ellipsis_mask",
    ),
    "begin of one item": (
        one(
            "STRIDED_SLICE",
            y=(1, 4),
            arrays={"b": whole(0, 1, 0), "e": whole(0, 2, 0), "s": whole(1, 1, 1)},
            begin_mask=7,
            end_mask=5,
            shrink_axis_mask=2,
        ),
        "begin_mask",
    ),
    "proj_clip": (lstm(cell(30), proj_clip=1.0), "proj_clip"),
    "diagonal": (lstm(cell(30), diagonal_recurrent_tensors=1), "diagonal"),
    "activation of a cell": (lstm(cell(30), fused=2), "activation"),
    "no activation of a cell": (lstm(cell(30), fused=0), "activation"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_option_that_is_not_honoured_is_refused(name, tmp_path):
    content, text = REFUSED[name]
    with pytest.raises(UnsupportedModelError, match=text):
        imported(content, tmp_path)


def test_peepholes_are_refused_where_they_are_not_zero(tmp_path):
    inputs = ["x", *(f"w{g}" for g in "ifco"), *(f"r{g}" for g in "ifco"), "p", "-", "-"]
    inputs += [*(f"b{g}" for g in "ifco"), "-", "-", "h", "c", "-", "-", "-", "-"]

    def file(peephole):
        made = op("UNIDIRECTIONAL_SEQUENCE_LSTM", " ".join(inputs), "y", fused=4)
        shapes = {"y": (1, None, 3), "h": (1, 3), "c": (1, 3)}
        arrays = cell(30) | {"p": np.full(3, peephole, np.float32)}
        return model(graph([made], {"x": (1, None, 4)}, "y", shapes, arrays, variables=("h", "c")))

    (x,) = sample("lstm")
    np.testing.assert_array_equal(
        imported(file(0), tmp_path)(x), imported(FILES["lstm_no_clip"], tmp_path)(x)
    )
    with pytest.raises(UnsupportedModelError, match="peepholes"):
        imported(file(0.5), tmp_path)


def test_a_state_that_two_operators_share_is_refused(tmp_path):
    arrays = {"w": draw(4, 4), "r": draw(4, 4), "b": draw(4)}
    ops = [op("UNIDIRECTIONAL_SEQUENCE_RNN", "x w r b h", "a", fused=4, time_major=0)]
    ops.append(op("UNIDIRECTIONAL_SEQUENCE_RNN", "a w r b h", "y", fused=4, time_major=0))
    shapes = {"a": (1, None, 4), "y": (1, None, 4), "h": (1, 4)}
    content = model(graph(ops, {"x": (1, None, 4)}, "y", shapes, arrays, variables=["h"]))
    with pytest.raises(UnsupportedModelError, match="shared with another operator"):
        imported(content, tmp_path)


def test_integer_weights_are_the_numbers_they_stand_for(tmp_path):
    """(q - zero point) * scale, a scale for each row; the model says so."""
    q = np.arange(20, dtype=np.int8).reshape(5, 4) - 7
    scales, zeros = [0.1, 0.2, 0.3, 0.4, 0.5], [0, 1, -2, 3, 0]
    made = imported(
        model(
            graph(
                [op("FULLY_CONNECTED", "x w -", "y", keep_num_dims=1)],
                {"x": (1, None, 4)},
                "y",
                {"y": (1, None, 5)},
                {"w": q},
                scales={"w": (scales, zeros, 0)},
            )
        ),
        tmp_path,
    )
    weight = (q - np.array(zeros)[:, None]) * np.array(scales)[:, None]
    (x,) = sample("lstm")
    np.testing.assert_allclose(made(x), x @ weight.T, atol=1e-5)
    assert "dequantised" in made.graph.metadata["assumptions"][0]
    assert isinstance(made, rnnrt.Model)


@pytest.mark.parametrize("strides", [(1, 1), (2, 1), (1, 2), (2, 3)])
@pytest.mark.parametrize("same", [True, False])
def test_a_convolution_of_time_and_bins(strides, same, tmp_path):
    """By the definition, at any number of frames, on which TensorFlow's "same" depends where strides are."""
    size, taps, weight = (6, 7), (3, 2), draw(2, 3, 2, 4)

    def ends(frames):
        return [-(-n // s) if same else (n - k) // s + 1 for n, s, k in zip((frames, 7), strides, taps)]

    options = {"padding": int(not same), "stride_h": strides[0], "stride_w": strides[1]}
    content = one("CONV_2D", (1, *size, 4), (1, *ends(6), 2), {"w": weight}, **options)
    made = imported(content, tmp_path)
    for frames in (6, 7, 12):
        x = draw(1, frames, 7, 4)
        count = ends(frames)
        missing = [(m - 1) * s + k - n for m, s, k, n in zip(count, strides, taps, (frames, 7))]
        around = [(max(m, 0) // 2, max(m, 0) - max(m, 0) // 2) if same else (0, 0) for m in missing]
        padded = np.pad(x[0], [*around, (0, 0)])
        wanted = np.zeros((1, *count, 2))
        for i, k in np.ndindex(*count):
            row, bin_ = i * strides[0], k * strides[1]
            wanted[0, i, k] = (padded[row : row + 3, bin_ : bin_ + 2] * weight).sum((1, 2, 3))
        np.testing.assert_allclose(made(x), wanted, atol=1e-5)
