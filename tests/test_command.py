"""The command: what each command prints and writes."""

import re

import numpy as np
import pytest
from command import LSTM_KERAS, LSTM_SPEC, LSTM_TORCH, run, run_json
from needs import need

import rnnrt
from rnnrt.command import demo
from rnnrt.graph import GraphBuilder
from rnnrt.layers import GRU, LSTM, Add, Conv1D, ConvTranspose1D, Dense, Last

need("rnnrt._engine")
need("h5py")


def test_convert_then_run_gives_what_keras_answered(capsys, converted, window, tmp_path):
    path, recorded = window
    for model in (converted, LSTM_KERAS):
        assert run(capsys, "run", model, "--input", path, "--output", tmp_path / "y.npy")[0] == 0
        assert np.abs(np.load(tmp_path / "y.npy") - recorded).max() < 1e-5


def test_run_takes_inputs_by_name_and_writes_all_outputs_by_name(capsys, tmp_path):
    b = GraphBuilder()
    first, second = b.input("first", (2,), time=False), b.input("second", (3,), time=False)
    b.output("a", b.add(Dense, "a", first, weight=np.full((1, 2), 1.0)))
    b.output("b", b.add(Dense, "b", second, weight=np.full((1, 3), 10.0)))
    rnnrt.from_graph(b.graph()).save(tmp_path / "two.rnnrt")
    np.save(tmp_path / "ones2.npy", np.ones((1, 2), np.float32))
    np.save(tmp_path / "ones3.npy", np.ones((1, 3), np.float32))
    inputs = ["--input", f"second={tmp_path / 'ones3.npy'}", tmp_path / "ones2.npy"]
    assert run(capsys, "run", tmp_path / "two.rnnrt", *inputs, "--output", tmp_path / "y.npz")[0] == 0
    with np.load(tmp_path / "y.npz") as made:
        assert made["a"] == 2 and made["b"] == 30
    code, _, err = run(capsys, "run", tmp_path / "two.rnnrt", *inputs, "--output", tmp_path / "y.npy")
    assert code == 2 and ".npz" in err
    code, _, err = run(
        capsys,
        "run",
        tmp_path / "two.rnnrt",
        "--input",
        tmp_path / "ones2.npy",
        "--output",
        tmp_path / "y.npz",
    )
    assert code == 2 and "second" in err


@pytest.mark.parametrize("chunk", [1, 7, 500])
@pytest.mark.parametrize("batched", [True, False])
def test_stream_writes_the_bits_of_run(capsys, converted, window, tmp_path, chunk, batched):
    path, _ = window
    if not batched:
        np.save(path, np.load(path)[0])
    run(capsys, "run", converted, "--input", path, "--output", tmp_path / "whole.npy")
    code, data = run_json(
        capsys, "stream", converted, "--input", path, "--chunk", chunk, "--output", tmp_path / "streamed.npy"
    )
    assert code == 0 and data["frames_in"] == 240 and data["latency_us"]["calls"] == -(-240 // chunk)
    whole, streamed = np.load(tmp_path / "whole.npy"), np.load(tmp_path / "streamed.npy")
    assert whole.shape == streamed.shape and whole.tobytes() == streamed.tobytes()


def test_stream_flushes_what_a_look_ahead_held_back(capsys, tmp_path):
    b = GraphBuilder()
    b.output("y", b.add(Conv1D, "conv", b.input("x", (1,)), weight=np.ones((1, 5, 1)), padding="same"))
    rnnrt.from_graph(b.graph()).save(tmp_path / "same.rnnrt")
    np.save(tmp_path / "x.npy", np.arange(9, dtype=np.float32)[:, None])
    code, data = run_json(
        capsys,
        "stream",
        tmp_path / "same.rnnrt",
        "--input",
        tmp_path / "x.npy",
        "--output",
        tmp_path / "y.npy",
    )
    assert code == 0 and data["flushed"] == data["delay"] == 2
    assert (
        np.load(tmp_path / "y.npy").ravel().tolist() == np.convolve(np.arange(9), np.ones(5), "same").tolist()
    )


def test_info_names_layers_sizes_and_assumptions(capsys):
    code, out, _ = run(capsys, "info", demo.FOLDER / "ln_rnn.keras")
    assert code == 0 and "epsilon 0.001" in out
    assert "\ntakes mask= (input_layer_1_mask) or lengths=\n" in out and "{" not in out
    code, data = run_json(capsys, "info", LSTM_KERAS)
    assert code == 0 and data["streamable"] and data["delay"] == 0
    assert [x["kind"] for x in data["layers"]].count("lstm") == 2
    assert (
        data["parameters"]
        == sum(x["parameters"] for x in data["layers"])
        == 4 * 20 * (1 + 20 + 1) + 4 * 20 * (20 + 20 + 1) + 210
    )


def test_info_of_bare_weights_prints_a_draft_spec_that_completes_to_a_working_one(capsys, tmp_path):
    code, out, err = run(capsys, "info", LSTM_TORCH)
    assert code == 4 and "lstm: LSTM" in out and "fc: Linear" in out
    assert "lstm: LSTM" not in err and err.startswith("rnnrt: ")
    code, data = run_json(capsys, "info", LSTM_TORCH)
    assert (
        code == 4
        and data["error"]["kind"] == "UnsupportedModelError"
        and "fc: Linear" in data["error"]["draft"]
    )
    code, data = run_json(capsys, "info", LSTM_TORCH, "--spec", LSTM_SPEC)
    assert code == 0 and data["parameters"] > 5000


def test_verify_replays_the_stored_answers(capsys, converted, tmp_path):
    code, data = run_json(capsys, "verify", converted)
    assert code == 0 and data["ok"]
    whole = bytearray(converted.read_bytes())
    whole[-3] ^= 0x40
    (tmp_path / "bent.rnnrt").write_bytes(whole)
    assert run(capsys, "verify", tmp_path / "bent.rnnrt")[0] in (1, 3)


def test_convert_info_and_verify_say_who_answered(capsys, converted, tmp_path):
    keras = need("keras")
    by, path = f"keras {keras.__version__} ({keras.backend.backend()})", tmp_path / "m.rnnrt"
    code, out, _ = run(capsys, "convert", LSTM_KERAS, "-o", path)
    assert code == 0 and by in out
    for command in ("info", "verify"):
        assert by in run(capsys, command, path)[1] and run_json(capsys, command, path)[1]["golden_by"] == by
    data = run_json(capsys, "info", path)[1]
    assert data["provenance"]["file"] == "lstm.keras" and len(data["provenance"]["sha256"]) == 64
    code, out, _ = run(capsys, "convert", LSTM_KERAS, "-o", path, "--golden", "reference")
    assert (
        code == 0
        and "rnnrt's own reading: not compared" in out
        and "rnnrt's own reading: not compared" in run(capsys, "verify", path)[1]
    )
    code, out, _ = run(capsys, "convert", demo.FOLDER / "ln_rnn.keras", "-o", path)
    assert code == 0 and "'LNSimpleRNNCell'" in out and "'LNSimpleRNNCell'" in run(capsys, "info", path)[1]


def test_bench_measures_steps_chunks_and_whole_calls(capsys, converted):
    code, data = run_json(
        capsys, "bench", converted, "--seconds", 0.2, "--rate", 120, "--chunk", 16, "--time", 50
    )
    assert code == 0
    assert [row["call"] for row in data["rows"]] == ["step", "chunk of 16", "whole, 1 x 50"]
    for row in data["rows"]:
        assert 0 < row["min"] <= row["p50"] <= row["p99"] <= row["p999"] <= row["max"]
        assert row["x_real_time"] == pytest.approx(
            row["steps"] / 120 / (row["mean"] * 1e-6), rel=0.01, abs=0.1
        )


def test_bench_of_a_strided_and_of_a_whole_sequence_model(capsys, tmp_path):
    code, data = run_json(capsys, "bench", demo.FOLDER / "conv_gru.keras", "--seconds", 0.1)
    assert code == 0 and data["rows"][0]["call"] == "step"
    b = GraphBuilder()
    cell = {"weight": np.ones((8, 1)), "recurrent_weight": np.ones((8, 2)), "reverse": True}
    b.output("y", b.add(Last, "last", b.add(LSTM, "lstm", b.input("x", (1,)), **cell)))
    rnnrt.from_graph(b.graph()).save(tmp_path / "reverse.rnnrt")
    code, out, _ = run(capsys, "bench", tmp_path / "reverse.rnnrt", "--seconds", 0.1)
    assert code == 0 and "does not stream" in out and "whole" in out
    code, out, _ = run(capsys, "info", tmp_path / "reverse.rnnrt")
    assert code == 0 and "does not stream" in out and "lstm" in out


def test_info_says_what_each_layer_means_to_a_stream(capsys, tmp_path):
    b = GraphBuilder()
    x, speaker = b.input("x", (3,)), b.input("speaker", (2,), time=False)
    conv = b.add(Conv1D, "conv", x, weight=np.ones((4, 5, 3)), padding=(2, 2))
    down = b.add(Conv1D, "down", conv, weight=np.ones((4, 2, 4)), stride=2)
    up = b.add(ConvTranspose1D, "up", down, weight=np.ones((4, 2, 4)), stride=2)
    both = b.add(Add, "both", conv, up)
    gru = b.add(GRU, "gru", both, weight=np.ones((18, 4)), recurrent_weight=np.ones((18, 6)))
    b.output("y", gru)
    b.output("z", b.add(Dense, "dense", speaker, weight=np.ones((1, 2))))
    rnnrt.from_graph(b.graph()).save(tmp_path / "m.rnnrt")
    code, data = run_json(capsys, "info", "--streaming", tmp_path / "m.rnnrt")
    keys = ("name", "delay", "receptive_field", "rate", "state_bytes")
    assert code == 0 and [tuple(row[k] for k in keys) for row in data["streaming"]["layers"]] == [
        ("x", 0, 1, 1, 0),
        ("speaker", None, None, None, 0),
        ("conv", 2, 5, 1, 4 * 3 * 4),
        ("down", 2, 6, 0.5, 4 * 4),
        ("up", 2, 7, 1, 0),
        ("both", 2, 7, 1, 2 * 4 * 4),  # two frames of ``conv``, until ``up`` has them
        ("gru", 2, None, 1, 6 * 4),
        ("dense", None, None, None, 0),
    ]
    code, out, _ = run(capsys, "info", "--streaming", tmp_path / "m.rnnrt")
    assert re.search(r"^gru +gru +2 +- +1 +24$", out, re.MULTILINE) and "state of one stream: " in out
    assert "streaming" not in run_json(capsys, "info", tmp_path / "m.rnnrt")[1]
    code, out, _ = run(capsys, "info", "--streaming", "--rate", 100, tmp_path / "m.rnnrt")
    assert code == 0 and re.search(r"^gru +gru +2 +20 +- +1 +24$", out, re.MULTILINE)
    assert re.search(r"^dense +dense +- +- +- +- +0$", out, re.MULTILINE)


def test_bench_against_keras_runs_the_same_file_there(capsys):
    need("keras")
    code, data = run_json(capsys, "bench", LSTM_KERAS, "--against", "keras", "--seconds", 0.2, "--time", 20)
    own, *theirs = data["rows"]
    assert code == 0 and own["call"] == "rnnrt" and len(theirs) >= 1
    for row in theirs:
        assert row["max_error"] < 1e-5
        assert row["speed_up"] == pytest.approx(row["p50"] / own["p50"], rel=0.01, abs=0.01)


def test_a_comparison_that_cannot_be_made_says_why(capsys):
    need("onnxruntime")
    need("torch")
    for against, kind in (("onnxruntime", ".onnx"), ("onnxruntime", "--source")):
        code, _, err = run(capsys, "bench", LSTM_TORCH, "--spec", LSTM_SPEC, "--against", against)
        assert code == 4 and kind in err
    code, _, err = run(capsys, "bench", LSTM_TORCH, "--against", "torch")
    assert code == 4 and "forward()" in err


def test_doctor_finds_this_machine_fit(capsys):
    code, data = run_json(capsys, "doctor")
    assert code == 0 and all(check["ok"] for check in data["checks"])
    assert any("kernels are right" in check["check"] for check in data["checks"])
    code, out, _ = run(capsys, "doctor")
    assert code == 0 and "denormals are kept" in out


def test_doctor_fails_where_denormals_are_flushed(capsys, monkeypatch):
    from rnnrt.command import doctor

    monkeypatch.setattr(
        doctor,
        "denormals",
        lambda: {"check": "denormals", "ok": False, "found": "flushed", "fix": "Update it."},
    )
    code, out, _ = run(capsys, "doctor")
    assert code == 1 and "FAILED denormals: flushed. Update it." in out
