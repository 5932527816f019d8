"""Truth from outside: who answered, samples of the user's own, what was assumed, and sample inputs like those
of real life.
"""

import warnings

import numpy as np
import pytest
from command import LSTM_KERAS, LSTM_SPEC, LSTM_TORCH, run, run_json
from keras_records import file as keras_file
from keras_records import recorded
from needs import need

import rnnrt
from rnnrt import layers, verification
from rnnrt.command import demo
from rnnrt.errors import ShapeError, VerificationError
from rnnrt.graph import GraphBuilder
from rnnrt.layers import LSTM, Add, BatchNormalization, Dense, Embedding, TimeDistributed

need("rnnrt._engine")
SPEC = (demo.FOLDER / "lstm_torch.spec").read_text()
WRONG = SPEC + "tanh\n"  # a line that the network does not have: the shapes fit all the same


@pytest.fixture
def samples(tmp_path):
    """A window of the demo's signal and what torch answered, as (x, y) and as an .npz file."""
    with np.load(demo.FOLDER / "golden.npz") as opened:
        x, y = opened["x"], opened["lstm_torch"]
    np.savez(tmp_path / "samples.npz", x=x, y=y)
    return x, y, tmp_path / "samples.npz"


def normed(mean, variance, **fields):
    """norm -> Dense, whose norm says what inputs look like."""
    b = GraphBuilder()
    n = len(mean)
    norm = b.add(
        BatchNormalization, "norm", b.input("x", (n,)), mean=np.array(mean), variance=np.array(variance)
    )
    b.output("y", b.add(Dense, "dense", norm, weight=fields.get("weight", np.ones((1, n)))))
    return b.graph()


# ---- who answered ------------------------------------------------------------------------------------------


def test_a_wrong_spec_is_not_blessed(capsys, samples, tmp_path):
    """rnnrt's own answer to its own reading proves nothing, and says so; the user's samples tell right from
    wrong.
    """
    x, y, npz = samples
    for spec, right in ((SPEC, True), (WRONG, False)):
        model = rnnrt.from_torch(LSTM_TORCH, spec=spec)
        with pytest.warns(UserWarning, match="rnnrt's own reading: not compared"):
            assert model.verify() < 1e-5
        assert any("not compared" in text for text in model.assumptions)
        assert "not compared" in model.summary()
        if right:
            assert model.verify(x, y) < 1e-5 and model.verify(x[0], y[0]) < 1e-5
            checked = rnnrt.from_torch(LSTM_TORCH, spec=spec, check=(x, y))
            assert checked.golden_by == "the user's samples"
            assert not any("not compared" in text for text in checked.assumptions)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                assert checked.verify() < 1e-5
        else:
            for judge in (
                lambda model=model: model.verify(x, y),
                lambda spec=spec: rnnrt.from_torch(LSTM_TORCH, spec=spec, check=(x, y)),
                lambda spec=spec: rnnrt.convert(LSTM_TORCH, tmp_path / "m.rnnrt", spec=spec, golden=npz),
            ):
                with pytest.raises(VerificationError, match="the user's samples is not reproduced"):
                    judge()
            assert not (tmp_path / "m.rnnrt").exists()


def test_the_command_says_that_nobody_answered_and_takes_samples(capsys, samples, tmp_path):
    spec, model = tmp_path / "s.spec", tmp_path / "m.rnnrt"
    spec.write_text(WRONG)
    code, out, err = run(capsys, "convert", LSTM_TORCH, "--spec", spec, "-o", model)
    assert code == 0 and "not compared" in out and "not compared" in err
    for command in ("verify", "info"):
        code, out, _ = run(capsys, command, model)
        assert code == 0 and "rnnrt's own reading: not compared" in out and ": ok" not in out
    assert run_json(capsys, "verify", model)[1]["compared"] is False
    assert "not compared" in rnnrt.load(model).provenance["compared"]
    code, _, err = run(capsys, "convert", LSTM_TORCH, "--spec", spec, "-o", model, "--golden", samples[2])
    assert code == 1 and "not reproduced" in err
    code, out, err = run(
        capsys, "convert", LSTM_TORCH, "--spec", LSTM_SPEC, "-o", model, "--golden", samples[2]
    )
    assert code == 0 and "the user's samples" in out and not err
    code, out, _ = run(capsys, "verify", model)
    assert code == 0 and ": ok, within" in out and "the user's samples" in out
    assert "compared" not in rnnrt.load(model).provenance


def test_samples_are_taken_by_name_by_number_and_in_the_source_s_form():
    (_, inputs, outputs), *_ = recorded("branches")
    model = rnnrt.from_keras(keras_file("branches.keras"))
    names = list(model.inputs), list(model.outputs)
    by_name = [dict(zip(n, side)) for n, side in zip(names, (inputs, outputs))]
    assert model.verify(*by_name) < 1e-5
    assert model.verify(tuple(inputs), tuple(outputs) if len(outputs) > 1 else outputs[0]) < 1e-5
    off = {n: y + 1e-2 for n, y in by_name[1].items()}
    with pytest.raises(VerificationError, match="not reproduced"):
        model.verify(by_name[0], off)
    for x, y in (
        ({"none": inputs[0]}, by_name[1]),
        (by_name[0], {n: y[..., None, None] for n, y in off.items()}),
    ):
        with pytest.raises(ShapeError):
            model.verify(x, y)
    with pytest.raises(ShapeError, match="both|answers"):
        model.verify(by_name[0])


CLASS = """
import torch
class Net(torch.nn.Module):
    def __init__(self, wrong=False):
        super().__init__()
        self.lstm, self.fc = torch.nn.LSTM(1, 20, 2, batch_first=True), torch.nn.Linear(20, 10)
        self.wrong = wrong
    def forward(self, x):
        y = self.fc(self.lstm(x)[0])
        return torch.tanh(y) if self.wrong else y
def wrong():
    return Net(wrong=True)
def needs(a):
    return Net()
"""


def test_verify_runs_the_users_own_class_because_it_was_named(capsys, tmp_path):
    need("torch")
    program, model = tmp_path / "net.py", tmp_path / "m.rnnrt"
    program.write_text(CLASS)
    assert run(capsys, "convert", LSTM_TORCH, "--spec", LSTM_SPEC, "-o", model)[0] == 0
    source = ("--source", LSTM_TORCH)
    code, out, _ = run(capsys, "verify", model, "--against", f"torch:{program}:Net", *source)
    assert code == 0 and "of the answers of torch" in out
    code, _, err = run(capsys, "verify", model, "--against", f"torch:{program}:wrong", *source)
    assert code == 1 and "is not reproduced" in err
    for against, given, word in (
        (f"torch:{program}:needs", source, "without arguments"),
        (f"torch:{program}:Nett", source, "'Nett'"),
        (f"torch:{tmp_path / 'none.py'}:Net", source, "no such Python file"),
        (f"torch:{program}:Net", (), "--source"),
        ("torch", source, "torch:FILE.py:CLASS"),
    ):
        code, _, err = run(capsys, "verify", model, "--against", against, *given)
        assert code == 4 and word in err and err.count("\n") == 1
    code, data = run_json(
        capsys, "bench", model, "--against", f"torch:{program}:Net", *source, "--seconds", 0.1, "--time", 9
    )
    assert code == 0 and data["rows"][1]["max_error"] < 1e-5


def test_verify_asks_keras_and_onnxruntime_about_the_users_file(capsys, tmp_path):
    need("keras")
    model = tmp_path / "m.rnnrt"
    assert run(capsys, "convert", LSTM_KERAS, "-o", model, "--golden", "reference")[0] == 0
    code, out, _ = run(capsys, "verify", model, "--against", "keras", "--source", LSTM_KERAS)
    assert code == 0 and "of the answers of keras" in out and "not compared" not in out
    code, _, err = run(capsys, "verify", model, "--against", "onnxruntime", "--source", LSTM_KERAS)
    assert code == 4 and ".onnx" in err
    assert run(capsys, "verify", model, "--against", "keras:3", "--source", LSTM_KERAS)[0] == 2
    code, _, err = run(capsys, "verify", model, "--against", "onnxrunime")
    assert code == 2 and "Did you mean 'onnxruntime'?" in err


def test_a_framework_that_is_missing_is_named_with_its_package(capsys, monkeypatch, tmp_path):
    for against, module, package in (
        ("litert", "ai_edge_litert.interpreter", "ai-edge-litert"),
        ("onnxruntime", "onnxruntime", "onnxruntime"),
        ("torch:x.py:Net", "torch", "torch"),
    ):
        monkeypatch.setitem(__import__("sys").modules, module, None)
        code, _, err = run(capsys, "verify", LSTM_KERAS, "--against", against)
        assert code == 2 and f"pip install {package}" in err


# ---- what was assumed --------------------------------------------------------------------------------------


def test_weights_that_are_not_finite_are_named_and_verify_nothing(capsys, tmp_path):
    with np.errstate(invalid="ignore"):
        state = {
            "w.weight": np.array([[np.nan, np.inf, 1.0], [np.nan, 2.0, 3.0]], "f4"),
            "w.bias": np.zeros(2, "f4"),
        }
    model = rnnrt.from_torch(state, spec="w: Linear\n")
    text = "the tensor 'w/weight' holds 2 NaN and 1 inf among 6 numbers"
    assert text in model.assumptions and text in model.summary()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(VerificationError, match="not finite, so it verifies nothing.*'w/weight'"):
            model.verify()
    np.savez(tmp_path / "w.npz", **state)
    (tmp_path / "w.spec").write_text("w: Linear\n")
    given = ("--spec", tmp_path / "w.spec")
    code, out, err = run(capsys, "convert", tmp_path / "w.npz", *given, "-o", tmp_path / "w.rnnrt")
    assert code == 0 and text in err and "not finite" in out  # refused nothing, said it twice
    code, _, err = run(capsys, "verify", tmp_path / "w.rnnrt")
    assert code == 1 and "w/weight" in err
    sound = rnnrt.from_torch(
        {"w.weight": np.ones((2, 3), "f4"), "w.bias": np.zeros(2, "f4")}, spec="w: Linear\n"
    )
    with pytest.raises(VerificationError, match="not finite"):
        sound.verify(np.ones((1, 3)), np.array([[np.nan, 1.0]]))


def test_a_norm_that_was_never_trained_and_the_scale_of_inputs_are_said():
    fresh = verification.assumptions(normed([0.0, 0.0], [1.0, 1.0]))
    assert len(fresh) == 1 and "mean 0 and variance 1 exactly" in fresh[0] and "'norm'" in fresh[0]
    trained = verification.assumptions(normed([500.0, 20.0], [1e4, 4.0]))
    assert trained == (
        "input 'x' is expected on the scale of layer 'norm': mean 20 to 500, standard deviation 2 to 100",
    )


def test_a_gru_without_bias_says_what_was_taken(tmp_path):
    keras = need("keras")
    model = keras.Sequential([keras.Input((9, 3)), keras.layers.GRU(5, use_bias=False, reset_after=False)])
    path = str(tmp_path / "g.weights.h5")
    model.save_weights(path)
    assumed = rnnrt.from_keras(path, spec="GRU use_bias=False\n").assumptions
    assert any("reset_after=True taken" in text for text in assumed)
    said = rnnrt.from_keras(path, spec="GRU use_bias=False reset_after=False\n").assumptions
    assert not any("reset_after" in text for text in said)
    x = np.ones((1, 9, 3), "f4")
    with pytest.raises(VerificationError):
        rnnrt.from_keras(
            path, spec="GRU use_bias=False\n", check=(x, np.asarray(model.predict(x, verbose=0)))
        )


def test_assumptions_of_a_graph_built_by_hand_are_about_its_weights_alone():
    b = GraphBuilder()
    b.output(
        "y", b.add(LSTM, "l", b.input("x", (1,)), weight=np.ones((8, 1)), recurrent_weight=np.ones((8, 2)))
    )
    model = rnnrt.from_graph(b.graph())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.assumptions == () and model.verify() < 1e-5


# ---- sample inputs -----------------------------------------------------------------------------------------


def test_sample_inputs_are_like_those_the_network_was_made_for():
    graph = normed([500.0, -20.0], [1e4, 4.0])
    x = verification.sample_inputs(graph, time=4000)["x"]
    assert x.shape == (2, 4000, 2) and x.dtype == np.float32
    assert np.abs(x.mean((0, 1)) - [500, -20]).max() < 5
    assert np.abs(x.std((0, 1)) / [100, 2] - 1).max() < 0.1
    b = GraphBuilder()
    b.output("y", b.add(Embedding, "e", b.input("ids", (), ids=True), weight=np.ones((7, 2))))
    ids = verification.sample_inputs(b.graph(), time=500)["ids"]
    assert set(np.unique(ids)) == set(range(7))


def test_sample_ids_are_in_every_table_that_they_look_into():
    b = GraphBuilder()
    ids = b.input("ids", (), ids=True)
    tables = [b.add(Embedding, f"table{n}", ids, weight=np.ones((n, 2))) for n in (50, 3)]
    b.output("y", b.add(Add, "sum", *tables))
    drawn = verification.sample_inputs(b.graph(), time=100)["ids"]
    assert set(np.unique(drawn)) == {0, 1, 2}


def test_weights_that_are_not_finite_are_found_inside_a_layer_too():
    inner = GraphBuilder()
    inner.output("out", inner.add(Dense, "fc", inner.input("frame", (2,), time=False), weight=[[1, np.nan]]))
    b = GraphBuilder()
    b.output("y", b.add(TimeDistributed, "per_frame", b.input("x", (2,)), graph=inner.graph()))
    (found,) = verification.not_finite(b.graph())
    assert "fc/weight" in found and "1 NaN among 2 numbers" in found


def test_statistics_that_no_inputs_have_are_not_drawn_from():
    for mean, variance in (([np.nan], [1.0]), ([1e30], [1.0]), ([0.0], [np.inf])):
        x = verification.sample_inputs(normed(mean, variance))["x"]
        assert np.isfinite(x).all() and np.abs(x).max() < 10


# ---- a stream that met NaN ---------------------------------------------------------------------------------


def test_a_stream_says_whether_its_state_is_finite_and_resetting_the_row_mends_it():
    b = GraphBuilder()
    cell = {"weight": np.ones((8, 1)), "recurrent_weight": np.ones((8, 2))}
    b.output("y", b.add(LSTM, "l", b.input("x", (1,)), **cell))
    model = rnnrt.from_graph(b.graph())
    stream = model.stream()
    stream.push(np.ones((5, 1), "f4"))
    assert stream.finite is True
    stream.step(np.array([np.nan], "f4"))
    assert stream.finite is False and np.isnan(stream.push(np.ones((5, 1), "f4"))).all()
    stream.reset()
    assert stream.finite is True
    rows = model.stream(3)
    x = np.ones((3, 5, 1), "f4")
    x[1, 2] = np.nan
    rows.push(x)
    assert rows.finite.tolist() == [True, False, True]
    rows.reset(rows=[1])
    assert rows.finite.all() and np.isfinite(rows.push(np.ones((3, 5, 1), "f4"))).all()


def test_a_start_that_is_not_finite_is_named():
    b = layers.GraphBuilder()
    x, weights = b.input("x", (2,)), {"weight": np.ones((9, 2)), "recurrent_weight": np.ones((9, 3))}
    b.output("y", b.add(layers.GRU, "g", x, **weights))
    b.start = {"g/h": [0.0, np.nan, np.inf]}
    (found,) = verification.not_finite(b.graph())
    assert found == "the tensor 'g/h' holds 1 NaN and 1 inf among 3 numbers"
