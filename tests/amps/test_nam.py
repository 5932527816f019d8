"""Captures of Neural Amp Modeler: what they answer, where they begin, and what is refused."""

import copy
import json

import captures
import numpy as np
import pytest
from captures import NAM, array, container, damaged, head, nam, nam_answer, written
from expect import pushed, same_bits, scaled

import rnnrt
from rnnrt.errors import ModelFileError, ResourceLimitError, UnsupportedModelError


def signal(model, time=90, batch=2, seed=1):
    (channels,) = model.inputs["input"][2:]
    return np.random.default_rng(seed).normal(0, 0.5, (batch, time, channels)).astype(np.float32)


@pytest.mark.parametrize("name", NAM)
def test_a_capture_answers_as_its_equations_do(tmp_path, name):
    """Whole and in blocks, from silence before the first sample (an LSTM: from its own states)."""
    model = rnnrt.from_nam(written(tmp_path, NAM[name]))
    x = signal(model)
    exact = np.stack([nam_answer(NAM[name], row.astype(np.float64)) for row in x])
    whole = model(x)
    assert whole.shape == exact.shape and scaled(whole, exact) <= 1e-5
    assert same_bits(pushed(model.stream(2), x, [1, 7, 64]), whole)
    assert same_bits(np.stack([model(row) for row in x]), whole)


@pytest.mark.parametrize("name", ["stack", "second_edition", "condition", "convnet_normalised"])
def test_it_begins_in_silence_and_not_at_zero(tmp_path, name):
    model = rnnrt.from_nam(written(tmp_path, NAM[name]))
    quiet = np.zeros((200, 1), np.float32)
    answer = model(quiet)
    assert np.abs(answer - answer[0]).max() < 1e-6  # from the first sample on as for ever after
    zero = rnnrt.from_graph(model.graph.replace(model.graph.layers, start={}))(quiet)
    assert np.abs(zero[0] - answer[0]).max() > 1e-3 and np.abs(zero[-1] - answer[-1]).max() < 1e-6


def test_the_start_and_what_is_known_stay_in_the_file(tmp_path):
    document = copy.deepcopy(NAM["stack"])
    about = {
        "name": "Löwe",
        "loudness": -18.5,
        "gain": 0.25,
        "input_level_dbu": 12,
        "training": {"esr": None},
    }
    document |= {"metadata": about, "sample_rate": 44100.0}
    model = rnnrt.convert(written(tmp_path, document), tmp_path / "c.rnnrt")
    loaded = rnnrt.load(tmp_path / "c.rnnrt")
    x = signal(model)
    assert same_bits(loaded(x), model(x)) and loaded == model and loaded.metadata == model.metadata
    known = {"sample_rate": 44100.0, "loudness": -18.5, "gain": 0.25, "input_level_dbu": 12, "capture": about}
    assert known.items() <= loaded.metadata.items() and "output_level_dbu" not in loaded.metadata
    assert model.receptive_field == 2 * (1 + 2 + 4 + 8 + 1) + 1 and model.delay == 0


def test_what_was_taken_for_granted_is_said(tmp_path):
    said = lambda name: " ".join(rnnrt.from_nam(written(tmp_path, NAM[name])).assumptions)
    assert "sample rate; 48000 Hz" in said("stack_without_rate") and "48000" not in said("stack")
    assert "2 networks of rising quality; the last" in said("container")
    assert "not compared" in said("stack")


def test_a_network_in_a_container_has_its_rate_and_its_own_name(tmp_path):
    inner = NAM["stack_without_rate"] | {"metadata": {"name": "inside", "loudness": -3}}
    document = container(inner) | {"sample_rate": 96000, "metadata": {"name": "box", "gain": 0.5}}
    model = rnnrt.from_nam(written(tmp_path, document))
    known = {
        "sample_rate": 96000,
        "loudness": -3,
        "gain": 0.5,
        "capture": {"name": "inside", "loudness": -3, "gain": 0.5},
    }
    assert known.items() <= model.metadata.items() and "48000" not in " ".join(model.assumptions)


def test_the_scale_in_the_weights_counts_not_the_one_in_the_options(tmp_path):
    document = copy.deepcopy(NAM["gated"])
    model = rnnrt.from_nam(written(tmp_path, document))
    document["config"]["head_scale"] = 77.0
    other = rnnrt.from_nam(written(tmp_path, document))
    document["weights"][-1] *= 2
    double = rnnrt.from_nam(written(tmp_path, document))
    x = signal(model)
    assert same_bits(model(x), other(x)) and same_bits(double(x), 2 * model(x))


def test_an_options_order_and_a_byte_order_mark_change_nothing(tmp_path):
    model = rnnrt.from_nam(written(tmp_path, NAM["stack"]))
    turned = dict(reversed(NAM["stack"].items()))
    (tmp_path / "t").write_bytes(b"\xef\xbb\xbf" + json.dumps(turned, indent=4).encode())
    x = signal(model)
    with open(tmp_path / "t", "rb") as opened:
        assert same_bits(rnnrt.from_nam(opened)(x), model(x))


def changed(name, *path, **fields):
    return captures.changed(NAM[name], *path, **fields)


LAYER = ("config", "layers", 0)
REFUSED = {
    "no_version": (changed("stack", version=...), ModelFileError, "lacks the field 'version'"),
    "newer": (changed("stack", version="0.8.0"), UnsupportedModelError, "version.*0.5.0 to 0.7; found 0.8.0"),
    "older": (changed("stack", version="0.4.9"), UnsupportedModelError, "version.*not known"),
    "odd_version": (changed("stack", version="0.5"), UnsupportedModelError, "version.*not known"),
    "version_is_a_number": (changed("stack", version=0.5), ModelFileError, "version: .*a text; found 0.5"),
    "architecture": (changed("stack", architecture="Transformer"), UnsupportedModelError, "Transformer"),
    "linear": (changed("stack", architecture="Linear"), UnsupportedModelError, "'Linear'.*opposite order"),
    "no_weights": (changed("stack", weights=[]), ModelFileError, "weights"),
    "short": (
        changed("stack", weights=NAM["stack"]["weights"][:-1]),
        ModelFileError,
        "fewer numbers.*expected at least 354; found 353",
    ),
    "long": (
        changed("stack", weights=[*NAM["stack"]["weights"], 0.5]),
        ModelFileError,
        "more numbers.*expected 354; found 355",
    ),
    "text": (changed("stack", weights=["a"] * 7), ModelFileError, "something other than numbers.*'a'"),
    "true": (changed("stack", weights=[True] * 7), ModelFileError, "something other than numbers.*True"),
    "huge": (changed("stack", weights=[1e39] * 7), ModelFileError, "beyond float32"),
    "rate": (changed("stack", sample_rate=0), ModelFileError, "sample_rate.*a rate in Hz; found 0"),
    "rate_is_text": (changed("stack", sample_rate="48k"), ModelFileError, "sample_rate.*a number"),
    "metadata": (changed("stack", metadata=[1]), ModelFileError, "metadata.*an object; found a list of 1"),
    "unknown": (changed("stack", tuning="drop d"), UnsupportedModelError, "'tuning'.*not known.*drop d"),
    "unknown_option": (changed("stack", "config", dropout=0.1), UnsupportedModelError, "config.*'dropout'"),
    "unknown_in_a_layer": (
        changed("stack", *LAYER, norm="batch"),
        UnsupportedModelError,
        r"layers\[0\].*'norm'",
    ),
    "film": (
        changed("stack", *LAYER, conv_post_film={"shift": True}),
        UnsupportedModelError,
        "conv_post_film.*FiLM",
    ),
    "fast": (changed("stack", *LAYER, activation="Fasttanh"), UnsupportedModelError, "Fasttanh.*write Tanh"),
    "activation": (changed("stack", *LAYER, activation="relu"), UnsupportedModelError, "'relu'.*'ReLU'"),
    "activations": (
        changed("stack", *LAYER, activation=["ReLU"]),
        ModelFileError,
        "activation.*expected 3; found 1",
    ),
    "slopes": (
        changed("stack", *LAYER, activation={"type": "PReLU", "negative_slopes": [1, 2]}),
        ModelFileError,
        "a slope for every channel.*4; found 2",
    ),
    "mode": (
        changed("stack", *LAYER, gated=..., gating_mode="mixed"),
        UnsupportedModelError,
        "gating mode.*mixed",
    ),
    "contradiction": (changed("stack", *LAYER, gated=True, gating_mode="none"), ModelFileError, "contradict"),
    "kernels": (changed("stack", *LAYER, kernel_sizes=[3, 3, 3]), ModelFileError, "one of kernel_size"),
    "kernels_missing": (changed("stack", *LAYER, kernel_size=...), ModelFileError, "one of kernel_size"),
    "two_heads": (
        changed("stack", *LAYER, head=head(1, 1)["head"]),
        ModelFileError,
        "both head and head_size",
    ),
    "zero": (changed("stack", *LAYER, channels=0), ModelFileError, "channels.*1 to 2"),
    "half": (changed("stack", *LAYER, channels=1.5), ModelFileError, "channels.*1 to 2.*1.5"),
    "too_large": (changed("stack", *LAYER, channels=1 << 24), ModelFileError, "fewer numbers"),
    "nothing": (changed("stack", *LAYER, dilations=[]), ModelFileError, "dilations.*at least one"),
    "input_size": (changed("stack", *LAYER, input_size=2), ModelFileError, "input_size.*expected 1; found 2"),
    "condition_size": (
        changed("stack", *LAYER, condition_size=2),
        ModelFileError,
        "condition_size.*expected 1",
    ),
    "groups": (changed("stack", *LAYER, groups_input=3), ModelFileError, "groups.*divisor of 4; found 3"),
    "heads": (changed("stack", *LAYER, head_size=2), ModelFileError, "head of the array before.*found 2"),
    "slimmable": (changed("stack", *LAYER, slimmable={"method": "prune"}), UnsupportedModelError, "slimming"),
    "far": (
        changed("stack", *LAYER, dilations=[1 << 23] * 3),
        ResourceLimitError,
        "too far.*numbers of the past",
    ),
    "many": (
        nam(layers=[array(dilations=[1] * 400, channels=1, kernel_size=1)], head_scale=1.0),
        ResourceLimitError,
        "too many layers",
    ),
    "condition_of_lstm": (
        changed("condition", "config", condition_dsp=NAM["lstm"]),
        UnsupportedModelError,
        "condition.*WaveNet or a ConvNet.*LSTM",
    ),
    "condition_rate": (
        changed("condition", "config", "condition_dsp", sample_rate=44100),
        ModelFileError,
        "another sample rate.*48000.*44100",
    ),
    "container_with_weights": (changed("container", weights=[1.0]), ModelFileError, "no weights of its own"),
    "container_order": (
        changed("container", "config", "submodels", 1, max_value=0.5),
        ModelFileError,
        "sorted by max_value.*0.5, 0.5",
    ),
    "container_rate": (
        container(NAM["stack"] | {"sample_rate": 44100}),
        ModelFileError,
        "sample rate.*48000.*44100",
    ),
    "container_inside": (container(NAM["container"]), UnsupportedModelError, "SlimmableContainer"),
    "lstm_input": (changed("lstm", "config", input_size=2), ModelFileError, "input_size.*1, the channels"),
    "lstm_layers": (changed("lstm", "config", num_layers=9), ModelFileError, "fewer numbers"),
    "convnet_flag": (changed("convnet", "config", batchnorm=1), ModelFileError, "batchnorm.*true or false"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_honoured_is_refused_by_name(tmp_path, name):
    document, error, words = REFUSED[name]
    path = written(tmp_path, document)
    with pytest.raises(error, match=f"(?s){words}") as caught:
        rnnrt.from_nam(path)
    assert type(caught.value) is error and str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'"weights": [NaN]', "NaN, which is not JSON"),
        (b'"weights": [1e999]', "out of range"),
        (b'"weights": [1, 2', "not JSON"),
        (b'"weights": [], "weights": []', "twice"),
        (b'"weights": ' + b"[" * 5000 + b"]" * 5000, "nested too deeply"),
        (b'"weights": ' + b"[" * 60 + b"]" * 60, "nested too deeply"),
        (b'"weights": [' + b"0," * (1 << 21) + b"0, 0]", "more numbers than a network in JSON"),
        (b'"weights": ["\xff"]', "UTF-8"),
    ],
)
def test_hostile_json_is_refused(tmp_path, text, words):
    path = tmp_path / "h.nam"
    path.write_bytes(b'{"version": "0.5.4", "architecture": "WaveNet", "config": {}, ' + text + b"}")
    with pytest.raises((ModelFileError, ResourceLimitError), match=words):
        rnnrt.from_nam(path)


def test_its_size_is_bounded(tmp_path):
    path = written(tmp_path, NAM["stack"])
    with pytest.raises(ResourceLimitError, match="at most 100 bytes"):
        rnnrt.from_nam(path, max_bytes=100)


def test_a_damaged_capture_ends_in_a_network_or_one_error(tmp_path):
    generator = np.random.default_rng(3)
    for name in ("second_edition", "condition", "container", "convnet_normalised", "lstms"):
        for text in damaged(NAM[name], generator, 40):
            path = tmp_path / "m.nam"
            path.write_text(text)
            try:
                rnnrt.from_nam(path)
            except rnnrt.RnnrtError as error:
                assert str(path) in str(error)
