"""The command: what it prints, what it writes, and its exit codes."""

import json
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from needs import need

import rnnrt
from rnnrt import bench, cli, cli_commands, demo, errors
from rnnrt.graph import GraphBuilder
from rnnrt.layers import LSTM, Add, Conv1D, Dense, Last

need("rnnrt._engine")
need("h5py")

LSTM_KERAS = str(demo.FOLDER / "lstm.keras")
LSTM_TORCH, LSTM_SPEC = str(demo.FOLDER / "lstm_torch.pt"), str(demo.FOLDER / "lstm_torch.spec")


def run(capsys, *arguments):
    """(exit code, stdout, stderr)."""
    code = cli.main([str(a) for a in arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def run_json(capsys, *arguments):
    code, out, _ = run(capsys, *arguments, "--json")
    return code, json.loads(out)


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "lstm.rnnrt"
    assert cli.main(["convert", LSTM_KERAS, "-o", str(path), "--json"]) == 0
    return path


@pytest.fixture
def window(tmp_path):
    """A held-out window of the demo as a .npy file, and what Keras answered for it."""
    with np.load(demo.FOLDER / "golden.npz") as golden:
        np.save(tmp_path / "x.npy", golden["x"])
        return tmp_path / "x.npy", golden["lstm"]


# ---- each command does its work ----------------------------------------------------------------------------


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


def test_bench_against_keras_runs_the_same_file_there(capsys):
    need("keras")
    code, data = run_json(capsys, "bench", LSTM_KERAS, "--against", "keras", "--seconds", 0.2, "--time", 20)
    own, *theirs = data["rows"]
    assert code == 0 and own["call"] == "rnnrt" and len(theirs) >= 1
    assert all(row["max_error"] < 1e-5 and row["speed_up"] > 1 for row in theirs)


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
    from rnnrt import doctor

    monkeypatch.setattr(
        doctor,
        "denormals",
        lambda: {"check": "denormals", "ok": False, "found": "flushed", "fix": "Update it."},
    )
    code, out, _ = run(capsys, "doctor")
    assert code == 1 and "FAILED denormals: flushed. Update it." in out


# ---- exit codes --------------------------------------------------------------------------------------------


def test_every_command_takes_json_and_usage_errors_exit_with_2(capsys):
    for command in ("convert", "info", "run", "stream", "verify", "bench", "demo", "doctor"):
        code, out, err = run(capsys, command, "--help")
        assert code == 0 and "--json" in out and not err
    wrong = (
        ["bench", "m.rnnrt", "--seconds", "-1"],
        ["bench", "m.rnnrt", "--seconds", "x"],
        ["stream", "m", "--input", "x", "--chunk", "0"],
    )
    for arguments in (
        ["frobnicate"],
        ["run", "model.rnnrt"],
        ["convert", "m", "-o", "n", "--golden", "engine"],
        *wrong,
    ):
        code, out, err = run(capsys, *arguments)
        assert (
            code == 2 and not out and err.startswith("rnnrt: ") and err.count("\n") == 1 and "--help" in err
        )
        code, data = run_json(capsys, *arguments)
        assert code == 2 and data["error"]["kind"] == "UsageError"


BAD = {
    "missing": None,
    "empty": b"",
    "page": b"<!DOCTYPE html><html>",
    "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "cut": Path(LSTM_KERAS).read_bytes()[:20000],
    "noise": b"PK\x03\x04 nothing",
    "folder": ...,
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_exits_with_3_whatever_is_done_with_it(capsys, tmp_path, kind):
    path, x = tmp_path / "model.keras", tmp_path / "x.npy"
    np.save(x, np.zeros((5, 1), np.float32))
    if BAD[kind] is ...:
        path.mkdir()
    elif BAD[kind] is not None:
        path.write_bytes(BAD[kind])
    y = tmp_path / "y"
    for arguments in (
        ["info"],
        ["convert", "-o", y],
        ["verify"],
        ["run", "--input", x, "--output", y],
        ["stream", "--input", x],
        ["bench"],
        ["bench", "--against", "keras"],
    ):
        arguments = [arguments[0], path, *arguments[1:]]
        code, out, err = run(capsys, *arguments)
        assert code == 3 and not out and err.startswith(f"rnnrt: {path}: ") and err.count("\n") == 1
        code, data = run_json(capsys, *arguments)
        assert code == 3 and data["error"]["kind"] == "ModelFileError" and not y.exists()


def test_what_is_sound_and_not_supported_exits_with_4(capsys, tmp_path):
    onnx = tmp_path / "m.onnx"
    onnx.write_bytes(b"\x08\x08:\x05\n\x03abc")  # ir_version 8, a graph
    code, _, err = run(capsys, "info", onnx)
    assert code == 4 and "ONNX" in err
    b = GraphBuilder()
    cell = {"weight": np.ones((8, 1)), "recurrent_weight": np.ones((8, 2)), "reverse": True}
    b.output("y", b.add(LSTM, "lstm", b.input("x", (1,)), **cell))
    rnnrt.from_graph(b.graph()).save(tmp_path / "reverse.rnnrt")
    np.save(tmp_path / "x.npy", np.zeros((5, 1), np.float32))
    code, _, err = run(capsys, "stream", tmp_path / "reverse.rnnrt", "--input", tmp_path / "x.npy")
    assert code == 4 and "from the last frame to the first" in err
    code, _, err = run(capsys, "bench", tmp_path / "reverse.rnnrt", "--against", "keras")
    assert code == 4 and "which Keras does not run" in err


def test_a_wrong_spec_names_its_line(capsys, tmp_path):
    spec = tmp_path / "wrong.spec"
    for text, code in (
        ("lstm: GRU\nfc: Linear\n", 3),
        ("lstm: LSTM ?\n", 4),
        ("lstm: Lstm\n", 4),
        ("fc: Linear\nlstm: LSTM\n", 3),
    ):
        spec.write_text(text)
        found, _, err = run(capsys, "convert", LSTM_TORCH, "-o", tmp_path / "m.rnnrt", "--spec", spec)
        assert (found, "spec, line 1" in err or "spec, line 2" in err) == (code, True), err
    for content in (b"\xff\xfe", None):
        spec.unlink()
        spec.write_bytes(content) if content else spec.mkdir()
        code, _, err = run(capsys, "info", LSTM_TORCH, "--spec", spec)
        assert code == 2 and str(spec) in err


def test_a_place_that_cannot_be_written_is_said(capsys, converted, window, tmp_path):
    nowhere = tmp_path / "none" / "y.npy"
    for arguments in (
        ["run", converted, "--input", window[0], "--output", nowhere],
        ["stream", converted, "--input", window[0], "--output", nowhere],
    ):
        code, _, err = run(capsys, *arguments)
        assert code == 2 and f"{nowhere}: cannot be written" in err
    code, _, err = run(capsys, "convert", LSTM_KERAS, "-o", nowhere, "--golden", "reference")
    assert code == 3 and f"{nowhere}: cannot be written" in err


def test_inputs_of_a_stream_must_agree(capsys, tmp_path):
    b = GraphBuilder()
    b.output("y", b.add(Add, "sum", b.input("p", (1,)), b.input("q", (1,))))
    rnnrt.from_graph(b.graph()).save(tmp_path / "sum.rnnrt")
    for name, shape in (("long", (9, 1)), ("short", (8, 1)), ("batch", (2, 9, 1)), ("scalar", ())):
        np.save(tmp_path / f"{name}.npy", np.ones(shape, np.float32))
    for second, code in (("long", 0), ("short", 2), ("batch", 2), ("scalar", 2)):
        found, _, err = run(
            capsys,
            "stream",
            tmp_path / "sum.rnnrt",
            "--input",
            tmp_path / "long.npy",
            tmp_path / f"{second}.npy",
        )
        assert found == code and (code == 0 or "differ" in err or "wrong shape" in err)


def test_a_wrong_array_is_usage_and_names_the_input(capsys, converted, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((5, 3), np.float32))
    assert (
        run(capsys, "run", converted, "--input", tmp_path / "x.npy", "--output", tmp_path / "y.npy")[0] == 2
    )
    (tmp_path / "text.npy").write_text("no array")
    code, _, err = run(
        capsys, "run", converted, "--input", tmp_path / "text.npy", "--output", tmp_path / "y.npy"
    )
    assert code == 2 and "text.npy" in err
    code, _, err = run(
        capsys, "run", converted, "--input", f"other={tmp_path / 'x.npy'}", "--output", tmp_path / "y.npy"
    )
    assert code == 2 and "other" in err
    code, _, err = run(capsys, "info", LSTM_TORCH, "--spec", tmp_path / "none.spec")
    assert code == 2 and "none.spec" in err


def test_exit_codes_by_kind_of_error():
    kinds = {
        errors.VerificationError: 1,
        errors.ShapeError: 2,
        errors.DTypeError: 2,
        errors.MissingExtraError: 2,
        errors.ModelFileError: 3,
        errors.ResourceLimitError: 3,
        errors.UnsupportedModelError: 4,
        errors.NotStreamableError: 4,
    }
    assert {kind: cli.exit_code(kind("what")) for kind in kinds} == kinds


# ---- nothing is lost, nothing is a traceback ---------------------------------------------------------------


def test_nothing_is_written_over_what_is_read(capsys, converted, window, tmp_path):
    model, x, spec = tmp_path / "m.pt", tmp_path / "x.npy", tmp_path / "s.spec"
    shutil.copy(LSTM_TORCH, model)
    shutil.copy(LSTM_SPEC, spec)
    (tmp_path / "soft").symlink_to(model)
    (tmp_path / "hard").hardlink_to(model)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    given = ("--spec", spec, "--force")
    for output in (model, tmp_path / "soft", tmp_path / "hard", spec):
        code, _, err = run(capsys, "convert", model, "-o", output, *given)
        assert code == 2 and str(output) in err and "overwritten" in err
    for command in ("run", "stream"):
        for output, suffix in ((x, ""), (model, ".npy"), (spec, ".npy")):
            link = tmp_path / f"link{suffix}"
            if suffix:
                link.hardlink_to(output)
            code, _, err = run(
                capsys, command, model, "--input", x, "--output", link if suffix else output, *given
            )
            assert code == 2 and "overwritten" in err
            link.unlink(missing_ok=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    for link in ("m.pt", "hard"):
        with pytest.raises(errors.ModelFileError, match="imported from"):
            rnnrt.convert(model, tmp_path / link, spec=spec.read_text())
    with pytest.raises(errors.ModelFileError, match="imported from"):
        rnnrt.from_torch(model, spec=spec.read_text()).save(model)


def test_a_file_of_another_kind_is_written_over_only_when_told(capsys, converted, window, tmp_path):
    x, _ = window
    shutil.copy(LSTM_TORCH, tmp_path / "other.pt")
    shutil.copy(LSTM_KERAS, tmp_path / "y.npz")
    (tmp_path / "y.csv").write_bytes(b"PK\x03\x04\0\0")
    shutil.copy(LSTM_KERAS, tmp_path / "y.npy")
    convert = ("convert", LSTM_KERAS, "--golden", "reference", "-o", tmp_path / "other.pt")
    runs = [("run", converted, "--input", x, "--output", tmp_path / f"y.{k}") for k in ("npy", "npz", "csv")]
    for command in (convert, *runs):
        path = Path(command[-1])
        before = path.read_bytes()
        code, _, err = run(capsys, *command)
        assert code == 2 and "another kind" in err and "--force" in err and path.read_bytes() == before
        assert run(capsys, *command, "--force")[0] == 0 and path.read_bytes() != before
        assert run(capsys, *command)[0] == 0  # now it is of the kind


def test_a_full_disk_leaves_the_old_answer_and_says_why(capsys, converted, window, tmp_path, monkeypatch):
    from rnnrt import atomic

    def full(*_):
        raise OSError(28, "No space left on device")

    for name in ("y.npy", "y.npz", "y.csv"):
        output = tmp_path / name
        command = ("run", converted, "--input", window[0], "--output", output)
        assert run(capsys, *command)[0] == 0
        before = output.read_bytes()
        with monkeypatch.context() as patched:
            patched.setattr(atomic.os, "fsync", full)
            code, _, err = run(capsys, *command)
        assert code == 2 and err == f"rnnrt: {output}: cannot be written: No space left on device\n"
        assert output.read_bytes() == before and len(list(tmp_path.glob("*tmp*"))) == 0


def test_a_disk_that_fills_while_numpy_writes_is_the_systems_reason(capsys, converted, window, tmp_path):
    """A limit on a file's size, set in a process of its own, stops the write itself in the middle."""
    code = (
        "import resource, signal, sys; from rnnrt import cli; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); sys.exit(cli.main(sys.argv[1:]))"
    )
    command = ["run", converted, "--input", window[0], "--output", tmp_path / "y.npy"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, command)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "cannot be written: File too large" in done.stderr
    assert not (tmp_path / "y.npy").exists() and done.stderr.count("\n") == 1


def header_of(shape, descr="<f4"):
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        header_of((1 << 50, 1)),
        header_of((1 << 70,)),
        header_of((-1, 2)),
        header_of((3, 1)) + bytes(11),
        header_of("'ab'"),
        header_of((3,), "O") + bytes(24),
        header_of((2,), "<c8") + bytes(16),
        header_of((3,), ",".join(["f4"] * 1000)),
        b"\x93NUMPY\x01\x00\xff\xff{" + b"(" * 60000,
        b"\x93NUMPY\x09\x00",
        b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f4",
        b"\x93NUM",
        b"",
    ],
)
def test_a_damaged_array_is_one_sentence(capsys, converted, tmp_path, content):
    (tmp_path / "x.npy").write_bytes(content)
    code, _, err = run(
        capsys, "run", converted, "--input", tmp_path / "x.npy", "--output", tmp_path / "y.npy"
    )
    assert code == 2 and err.startswith(f"rnnrt: {tmp_path / 'x.npy'}: ") and err.count("\n") == 1


def test_arrays_of_every_layout_are_read_as_numpy_reads_them(capsys, converted, tmp_path):
    x = np.linspace(-1, 1, 30).reshape(5, 6, 1)
    answers = []
    for k, array in enumerate((x.astype("<f4"), np.asfortranarray(x.astype("<f4")), x.astype(">f4"))):
        np.save(tmp_path / f"{k}.npy", array)
        command = ("run", converted, "--input", tmp_path / f"{k}.npy", "--output", tmp_path / "y.npy")
        assert run(capsys, *command)[0] == 0
        answers.append(np.load(tmp_path / "y.npy").tobytes())
    assert len(set(answers)) == 1


def test_an_answer_is_written_as_its_name_says(capsys, converted, window, tmp_path):
    x, _ = window
    np.save(x, np.load(x)[:1])
    assert run(capsys, "run", converted, "--input", x, "--output", tmp_path / "y.npy")[0] == 0
    assert run(capsys, "run", converted, "--input", x, "--output", tmp_path / "y.csv")[0] == 0
    table = np.loadtxt(tmp_path / "y.csv", delimiter=",", dtype=np.float32)
    assert table.tobytes() == np.load(tmp_path / "y.npy")[0].tobytes()  # nine digits are a float32, whole
    code, _, err = run(capsys, "run", converted, "--input", x, "--output", tmp_path / "y.json")
    assert code == 2 and ".csv" in err and not (tmp_path / "y.json").exists()
    np.save(x, np.zeros((2, 3, 1), np.float32))
    code, _, err = run(capsys, "run", converted, "--input", x, "--output", tmp_path / "two.csv")
    assert code == 2 and "one table" in err


def test_a_size_that_no_machine_holds_is_refused_before_it_is_made(capsys, converted):
    for size in (["--batch", 1 << 30, "--time", 1 << 20], ["--chunk", (1 << 31) - 1, "--batch", 1 << 30]):
        code, _, err = run(capsys, "bench", converted, *size)
        assert code == 2 and "memory" in err and err.count("\n") == 1


def test_names_that_hold_equal_signs_marks_or_terminal_codes(capsys, tmp_path, window):
    x, _ = window
    folder = tmp_path / "date=2026-01-01"
    folder.mkdir()
    shutil.copy(x, folder / "x.npy")
    spec = tmp_path / "with a mark.spec"
    spec.write_bytes(b"\xef\xbb\xbf" + Path(LSTM_SPEC).read_bytes())
    source = tmp_path / "caf\udce9 \x1b[31m.pt"
    shutil.copy(LSTM_TORCH, source)
    model = tmp_path / "caf\udce9.rnnrt"
    code, out, err = run(capsys, "convert", source, "-o", model, "--spec", spec)
    assert code == 0 and "\x1b" not in out + err and "\\x1b[31m" in out and "\\udce9" in out
    assert "\x1b" not in "".join(run(capsys, "info", model)[1:])
    command = ("run", model, "--input", folder / "x.npy", "--output", tmp_path / "y.npy")
    assert run(capsys, *command)[0] == 0
    code, _, err = run(capsys, "run", model, "--input", "dat=nothing.npy", "--output", tmp_path / "y.npy")
    assert code == 2 and "no input 'dat'" in err
    code, _, err = run(capsys, "info", tmp_path / "none\x1b[2J")
    assert code == 3 and "\x1b" not in err and "\\x1b[2J" in err


def command_line(arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "rnnrt", *map(str, arguments)], check=False, text=True, **options
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_stdout_that_is_full_or_closed_is_said(converted):
    for arguments in (["info", converted], ["info", converted, "--json"], ["--help"], ["info", "none"]):
        with open("/dev/full", "w") as full:
            done = command_line(arguments, stdout=full, stderr=subprocess.PIPE)
        wanted = (
            "cannot be read: No such" if arguments[-1] == "none" else "stdout cannot be written: No space"
        )
        assert done.returncode == (3 if arguments[-1] == "none" else 2)
        assert wanted in done.stderr and done.stderr.count("\n") == 1
        with open("/dev/full", "w") as full:
            assert command_line(arguments, stdout=full, stderr=full).returncode == done.returncode
    closed = subprocess.run(
        ["sh", "-c", 'exec "$0" -m rnnrt info "$1" >&-', sys.executable, str(converted)],
        check=False,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert closed.returncode == 2 and "stdout cannot be written: Bad file descriptor" in closed.stderr


def test_the_module_is_the_command_and_says_its_version():
    done = command_line(["--version"], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"rnnrt {rnnrt.__version__}\n", "")
    done = command_line([], capture_output=True)
    assert done.returncode == 0 and "convert" in done.stdout and not done.stderr


def test_a_word_that_is_nearly_right_is_named(capsys, tmp_path):
    for arguments, word in (
        (["conver", "m"], "'convert'"),
        (["run", "m", "--imput", "x", "--input", "x", "--output", "y"], "'--input'"),
        (["bench", "m", "--against", "kera"], "'keras'"),
    ):
        code, _, err = run(capsys, *arguments)
        assert code == 2 and f"Did you mean {word}?" in err
    spec = tmp_path / "s.spec"
    for text, word in (("lstm: LTSM\n", "'LSTM'"), ("lstm: LSTM\nlats\n", "'last'")):
        spec.write_text(text)
        code, _, err = run(capsys, "info", LSTM_TORCH, "--spec", spec)
        assert code == 4 and f"Did you mean {word}?" in err
    with pytest.raises(errors.UnsupportedModelError, match="Did you mean 'lstm'?"):
        rnnrt.from_keras(LSTM_KERAS, outputs=["lstmm"])


def test_the_wrong_function_names_the_right_one():
    for function, source, right in (
        (rnnrt.from_keras, LSTM_TORCH, "from_torch"),
        (rnnrt.from_torch, LSTM_KERAS, "from_keras"),
        (rnnrt.from_keras, {"w": np.zeros(2)}, "from_torch"),
    ):
        with pytest.raises(errors.UnsupportedModelError, match=f"Use rnnrt.{right}"):
            function(source)


def test_a_model_is_loaded_from_a_path_or_an_open_file_and_bytes_are_told_apart(converted):
    with pytest.raises(
        errors.DTypeError, match=r"content of a file.*path or an open file.*bytes of \d"
    ) as caught:
        rnnrt.load(converted.read_bytes())
    assert len(str(caught.value)) < 200
    with open(converted, "rb") as opened:
        opened.read(100)
        assert rnnrt.load(opened).graph.parameters == rnnrt.load(converted).graph.parameters
    with pytest.raises(errors.RnnrtError) as caught:
        rnnrt.load("x" * 100_000)
    assert len(str(caught.value)) < 200


def test_a_large_file_is_refused_by_its_size_and_the_limit_can_be_raised(capsys, tmp_path):
    for source, spec in ((LSTM_KERAS, ()), (LSTM_TORCH, ("--spec", LSTM_SPEC))):
        large = tmp_path / f"large{Path(source).suffix}"
        large.write_bytes(Path(source).read_bytes())
        with open(large, "r+b") as file:
            file.seek(0)
        code, _, err = run(capsys, "info", large, *spec, "--max-bytes", "1K")
        assert code == 3 and "--max-bytes" in err and "max_bytes=" in err
        assert run(capsys, "info", large, *spec, "--max-bytes", "1M")[0] == 0
    sparse = tmp_path / "sparse.h5"
    with open(sparse, "wb") as file:
        file.write(b"\x89HDF\r\n\x1a\n")
        file.truncate(40 << 30)
    tracemalloc.start()
    code, _, err = run(capsys, "info", sparse)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert code == 3 and f"{40 << 30:,}" in err and peak < 16 << 20
    for option in ("0", "-1", "1X", "", "9" * 30):
        assert run(capsys, "info", sparse, "--max-bytes", option)[0] == 2


def test_a_machine_that_others_use_is_called_noisy():
    calm = bench.Latency(1, 1, 1.5, 1.9, 50, 1, 100_000, switches=3)
    assert not calm.noisy and cli_commands.noise({"step": calm}) == []
    assert not bench.Latency(1, 1, 1.1, 1.2, 1.3, 1, 1000, switches=100).noisy  # it shows in no figure
    for noisy in (
        bench.Latency(1, 1, 2, 300, 900, 1, 100_000, switches=150),
        bench.Latency(90, 100, 120, 130, 130, 100, 10, switches=40),  # every call is interrupted
    ):
        assert noisy.noisy and "noisy machine" in cli_commands.noise({"step": noisy})[0]


def test_a_fault_of_rnnrt_itself_is_a_sentence_too(capsys, monkeypatch):
    def fails(*_, **__):
        raise ZeroDivisionError("deep inside")

    monkeypatch.setattr(cli_commands, "open_model", fails)
    code, out, err = run(capsys, "info", LSTM_KERAS)
    assert code == cli.FAULT and not out and "ZeroDivisionError: deep inside" in err and err.count("\n") == 1


# ---- the demo ----------------------------------------------------------------------------------------------


def test_the_demo_checks_every_network_and_beats_the_naive_forecast(capsys):
    code, data = run_json(capsys, "demo", "--seconds", 0.2)
    assert code == 0 and data["ok"] and not data["skipped"]
    assert [n["network"] for n in data["networks"]] == list(demo.NETWORKS)
    for network in data["networks"]:
        assert network["difference"] < 1e-5 and network["same_bits"]
        assert network["mae"] < 0.8 * network["naive_mae"]
        assert network["x_real_time"] > 1


def test_the_demo_fails_where_an_answer_is_wrong(capsys, monkeypatch, tmp_path):
    folder = tmp_path / "demo"
    shutil.copytree(demo.FOLDER, folder)
    with np.load(folder / "golden.npz") as golden:
        np.savez(
            folder / "golden.npz", **{n: y + np.float32(1e-3 if n == "gru" else 0) for n, y in golden.items()}
        )
    monkeypatch.setattr(demo, "FOLDER", folder)
    code, data = run_json(capsys, "demo", "--seconds", 0.1)
    assert code == 1 and not data["ok"]
    assert [n["network"] for n in data["networks"] if not n["same_answer"]] == ["gru"]


def test_without_h5py_the_demo_runs_what_it_can_and_says_what_it_skipped(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    code, out, _ = run(capsys, "demo", "--seconds", 0.1)
    assert code == 0 and out.count("SKIPPED") == 4 and "rnnrt[keras]" in out and "lstm_torch" in out


def test_the_demo_draws(capsys, tmp_path):
    need("matplotlib")
    for wrong in (tmp_path / "forecast.word", tmp_path / "none" / "forecast.png"):
        code, _, err = run(capsys, "demo", "--plot", wrong)
        assert code == 2 and str(wrong) in err
    assert run(capsys, "demo", "--seconds", 0.1, "--plot", tmp_path / "forecast.png")[0] == 0
    assert (tmp_path / "forecast.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_runs_as_a_module_without_importing_a_framework():
    frameworks = {"torch", "keras", "scipy", "rich", "matplotlib"}
    code = (
        f"import sys; from rnnrt import cli; cli.main(['info', sys.argv[1], '--json']); "
        f"print(sorted({frameworks} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, LSTM_KERAS],
        check=False,
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parent.parent,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("[]")
