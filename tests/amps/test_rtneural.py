"""Captures in the JSON of RTNeural, AIDA-X and GuitarML: what they answer, and what is refused."""

import warnings

import numpy as np
import pytest
from captures import (
    GUITARML,
    RTNEURAL,
    aida,
    changed,
    damaged,
    guitarml,
    guitarml_answer,
    rtneural,
    rtneural_answer,
    written,
)
from expect import pushed, same_bits, scaled

import rnnrt
from rnnrt.errors import ModelFileError, ResourceLimitError, UnsupportedModelError, VerificationError

AIDA = {
    "aida": aida(),
    "aida_loud": aida(seed=2, in_gain=6.0, out_gain=-12.5, in_skip=1),
    "aida_knobs": aida(seed=3, channels=3, in_skip=1, in_gain=3),
}
FILES = {
    **{name: (document, rtneural_answer) for name, document in (RTNEURAL | AIDA).items()},
    **{f"guitarml_{name}": (document, guitarml_answer) for name, document in GUITARML.items()},
}


@pytest.mark.parametrize("name", FILES)
def test_a_capture_answers_as_its_player_does(tmp_path, name):
    document, answer = FILES[name]
    model = rnnrt.from_rtneural(written(tmp_path, document))
    (channels,) = model.inputs["input"][2:]
    x = np.random.default_rng(1).normal(0, 0.5, (2, 70, channels)).astype(np.float32)
    exact = np.stack([answer(document, row.astype(np.float64)) for row in x])
    whole = model(x)
    assert whole.shape == exact.shape and scaled(whole, exact) <= 1e-5
    assert same_bits(pushed(model.stream(2), x, [1, 7, 64]), whole)


# ---- AIDA-X ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", AIDA)
def test_test_vectors_in_the_file_are_the_golden_sample(tmp_path, name):
    path = written(tmp_path, AIDA[name])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # somebody from outside answered
        with open(path, "rb") as opened:
            models = [rnnrt.from_rtneural(source) for source in (path, str(path).encode(), opened)]
        for model in (*models, rnnrt.convert(path, tmp_path / "c.rnnrt")):
            assert model.golden_by == "test vectors in the file" and model.verify() < 1e-5
            assert not any("compared" in text for text in model.assumptions)
    assert rnnrt.load(tmp_path / "c.rnnrt", verify=True).golden_by == "test vectors in the file"


def test_the_graph_of_a_capture_carries_no_vectors(tmp_path):
    graph = rnnrt.from_rtneural(written(tmp_path, AIDA["aida"])).graph
    assert rnnrt.convert(graph).golden_by == "reference"


def test_vectors_that_are_not_answered_are_not_believed(tmp_path):
    document = aida()
    document["output_batch"][9] += 0.01
    path = written(tmp_path, document)
    for call in (rnnrt.from_rtneural, rnnrt.convert):
        with pytest.raises(
            VerificationError, match="capture.nam: .*test vectors in the file is not reproduced"
        ):
            call(path)
    assert rnnrt.convert(path, golden="reference").golden_by == "reference"


def test_gains_are_decibels_and_below_90_nothing(tmp_path):
    x = np.full((5, 1), 0.25, np.float32)
    plain, silent = (
        rnnrt.from_rtneural(written(tmp_path, aida(**gain)))(x) for gain in ({}, {"out_gain": -90})
    )
    assert np.abs(plain).max() > 0.01 and not silent.any()


@pytest.mark.parametrize(
    ("about", "rate"),
    [
        ({"metadata": {"samplerate": "48000"}}, 48000),
        ({"metadata": {"samplerate": 44100.0}}, 44100),
        ({"metadata": {}, "samplerate": 96000}, 96000),
        ({"metadata": {"samplerate": "unknown"}}, 48000),
        ({"metadata": {"samplerate": True}}, 48000),
    ],
)
def test_the_sample_rate_is_text_or_a_number(tmp_path, about, rate):
    model = rnnrt.from_rtneural(written(tmp_path, aida(**about)))
    assert model.metadata["sample_rate"] == rate and model.metadata["source"] == "aida-x"
    stated = rate != 48000 or about["metadata"].get("samplerate") == "48000"
    assert any("48000 Hz is taken" in text for text in model.assumptions) is not stated


def test_a_plain_file_states_no_rate(tmp_path):
    model = rnnrt.from_rtneural(written(tmp_path, RTNEURAL["lstm"]))
    assert model.metadata["source"] == "rtneural" and "sample_rate" not in model.metadata
    assert "44100" in " ".join(rnnrt.from_rtneural(written(tmp_path, GUITARML["lstm"])).assumptions)


# ---- the activation of a cell ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_a_cell_runs_tanh_whatever_its_activation_says(tmp_path, kind):
    documents = [rtneural([(kind, 3, {"activation": word})]) for word in ("", "tanh", "relu")]
    models = [rnnrt.from_rtneural(written(tmp_path, document)) for document in documents]
    x = np.random.default_rng(0).normal(size=(9, 1)).astype(np.float32)
    assert same_bits(models[0](x), models[1](x)) and same_bits(models[0](x), models[2](x))
    said = [
        any("tanh, as RTNeural runs it, though the file says 'relu'" in t for t in m.assumptions)
        for m in models
    ]
    assert said == [False, False, True]


# ---- refusals ----------------------------------------------------------------------------------------------


CONV, LSTM, PLAYED = RTNEURAL["conv"], RTNEURAL["lstm"], GUITARML["lstm"]
FIRST = ("layers", 0)
REFUSED = {
    "type": (changed(CONV, *FIRST, type="conv2d"), UnsupportedModelError, r"layers\[0\].*'conv2d'"),
    "unknown": (changed(CONV, *FIRST, type="unknown"), UnsupportedModelError, "'unknown'.*Keras model"),
    "activation": (changed(CONV, *FIRST, activation="selu"), UnsupportedModelError, "activation.*'selu'"),
    "shape": (changed(CONV, *FIRST, shape=[None, None, 5]), ModelFileError, "shape does not fit.*expected 4"),
    "kernel_size": (changed(CONV, *FIRST, kernel_size=[2]), ModelFileError, r"kernel: .*\(2, 1, any\)"),
    "kernel_sizes": (changed(CONV, *FIRST, kernel_size=[3, 1]), ModelFileError, "a list of one number"),
    "arrays": (changed(LSTM, *FIRST, weights=[]), ModelFileError, "kernel, recurrent_kernel, bias; found 0"),
    "ragged": (
        changed(LSTM, "layers", 1, weights=[[[1.0], [1.0, 2.0], [1], [1], [1]]]),
        ModelFileError,
        "different",
    ),
    "columns": (
        changed(LSTM, *FIRST, weights=[[[1.0] * 6], [[1.0] * 6], [1.0] * 6]),
        ModelFileError,
        "multiple of 4; found 6",
    ),
    "field": (changed(LSTM, *FIRST, stateful=True), UnsupportedModelError, "'stateful'.*not known"),
    "in_shape": (changed(LSTM, in_shape=[None, None]), ModelFileError, "in_shape.*number of channels"),
    "wide": (
        changed(aida(in_gain=1), in_shape=[1 << 24]),
        ModelFileError,
        "in_shape.*1 to 4096; found 16777216",
    ),
    "no_layers": (changed(LSTM, layers=[]), ModelFileError, "layers.*at least one"),
    "windows": (
        changed(changed(LSTM, in_shape=[None, 128, 1]), *FIRST, shape=[None, 64, 5]),
        UnsupportedModelError,
        "trained on windows.*expected 128.*found 64",
    ),
    "skip": (changed(LSTM, in_skip=2), UnsupportedModelError, "in_skip is 0 or 1.*found 2"),
    "skip_to_two": (changed(RTNEURAL["dense"], in_skip=1), ModelFileError, "adds the sample to one output"),
    "gain": (changed(LSTM, in_gain=1e6), ModelFileError, "in_gain.*at most 200 dB; found 1000000.0"),
    "half_a_vector": (changed(aida(), output_batch=...), ModelFileError, "input_batch and output_batch"),
    "deep": (
        rtneural([("dense", 1, {})] * 300),
        ResourceLimitError,
        "too many layers.*at most 256; found 300",
    ),
    "model": (changed(PLAYED, "model_data", model="GCNTF"), UnsupportedModelError, "GuitarML's trainer"),
    "unit": (changed(PLAYED, "model_data", unit_type="SRU"), UnsupportedModelError, "unit type.*'SRU'"),
    "played_skip": (
        changed(PLAYED, "model_data", skip=2),
        ModelFileError,
        "expected skip 0 or 1.*found skip 2",
    ),
    "tensor": (
        changed(PLAYED, "state_dict", **{"lin.weight": ...}),
        ModelFileError,
        "lacks the field 'lin.weight'",
    ),
    "tensors": (changed(PLAYED, "state_dict", extra=[1.0]), UnsupportedModelError, "'extra'.*not known"),
    "sizes": (changed(PLAYED, "model_data", hidden_size=6), ModelFileError, "rec.weight_ih_l0.*24"),
    "played_deep": (changed(PLAYED, "model_data", num_layers=1 << 20), ModelFileError, "num_layers at most"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_honoured_is_refused_by_name(tmp_path, name):
    document, error, words = REFUSED[name]
    path = written(tmp_path, document, "capture.json")
    with pytest.raises(error, match=f"(?s){words}") as caught:
        rnnrt.from_rtneural(path)
    assert type(caught.value) is error and str(caught.value).startswith(str(path))


def test_a_damaged_capture_ends_in_a_network_or_one_error(tmp_path):
    generator = np.random.default_rng(4)
    for document in (CONV, RTNEURAL["gru"], AIDA["aida_loud"], guitarml("GRU", inputs=2)):
        for text in damaged(document, generator, 40):
            path = tmp_path / "m.json"
            path.write_text(text)
            try:
                rnnrt.from_rtneural(path)
            except rnnrt.RnnrtError as error:
                assert str(path) in str(error)
