"""The command: exit codes and what is said of what it cannot do."""

from pathlib import Path

import numpy as np
import onnx_bytes
import pytest
from command import LSTM_KERAS, LSTM_TORCH, run, run_json
from needs import need

import rnnrt
from rnnrt import errors
from rnnrt.command import main
from rnnrt.graph import GraphBuilder
from rnnrt.layers import LSTM, Add

need("rnnrt._engine")
need("h5py")


def test_every_command_takes_json_and_usage_errors_exit_with_2(capsys):
    for command in (
        "convert",
        "info",
        "run",
        "stream",
        "score",
        "verify",
        "bench",
        "profile",
        "explain",
        "demo",
        "doctor",
    ):
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
    onnx.write_bytes(onnx_bytes.model([onnx_bytes.node("Twist", "x", "y")], {"x": ("b", 2)}, ["y"]))
    code, _, err = run(capsys, "info", onnx)
    assert code == 4 and "the operator Twist is not supported" in err
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
    assert {kind: main.exit_code(kind("what")) for kind in kinds} == kinds
