"""The command: nothing is lost, nothing is a traceback."""

import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from case_layers import conv
from command import LSTM_KERAS, LSTM_SPEC, LSTM_TORCH, run
from needs import need
from small_models import built

import rnnrt
from rnnrt import errors
from rnnrt.command import bench, info, main, measure
from rnnrt.format import wav

need("rnnrt._engine")
need("h5py")


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
    from rnnrt.format import atomic_write

    def full(*_):
        raise OSError(28, "No space left on device")

    for name in ("y.npy", "y.npz", "y.csv"):
        output = tmp_path / name
        command = ("run", converted, "--input", window[0], "--output", output)
        assert run(capsys, *command)[0] == 0
        before = output.read_bytes()
        with monkeypatch.context() as patched:
            patched.setattr(atomic_write.os, "fsync", full)
            code, _, err = run(capsys, *command)
        assert code == 2 and err == f"rnnrt: {output}: cannot be written: No space left on device\n"
        assert output.read_bytes() == before and len(list(tmp_path.glob("*tmp*"))) == 0


def test_a_disk_that_fills_while_numpy_writes_is_the_systems_reason(capsys, converted, window, tmp_path):
    """A limit on a file's size, set in a process of its own, stops the write itself in the middle."""
    code = (
        "import resource, signal, sys; from rnnrt.command import main; "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); sys.exit(main.main(sys.argv[1:]))"
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
    calm = measure.Latency(1, 1, 1.5, 1.9, 50, 1, 100_000, switches=3)
    assert not calm.noisy and bench.noise({"step": calm}) == []
    assert not measure.Latency(1, 1, 1.1, 1.2, 1.3, 1, 1000, switches=100).noisy  # it shows in no figure
    for noisy in (
        measure.Latency(1, 1, 2, 300, 900, 1, 100_000, switches=150),
        measure.Latency(90, 100, 120, 130, 130, 100, 10, switches=40),  # every call is interrupted
    ):
        assert noisy.noisy and "noisy machine" in bench.noise({"step": noisy})[0]


def test_a_fault_of_rnnrt_itself_is_a_sentence_too(capsys, monkeypatch):
    def fails(*_, **__):
        raise ZeroDivisionError("deep inside")

    monkeypatch.setattr(info, "open_model", fails)
    code, out, err = run(capsys, "info", LSTM_KERAS)
    assert code == main.FAULT and not out and "ZeroDivisionError: deep inside" in err and err.count("\n") == 1


def test_a_table_is_read_line_by_line(capsys, tmp_path):
    model = built(lambda b, x, r: conv(b, x, r, 3, 2), features=(2,))
    model.save(tmp_path / "m.rnnrt")
    x = np.random.default_rng(0).standard_normal((9, 2)).astype(np.float32)
    table = "".join(f"{a:.9g},{b:.9g}\n" for a, b in x)
    for text in (table, "left,right\r\n" + table.replace("\n", "\r\n"), "\ufeff" + table + "\n"):
        (tmp_path / "x.csv").write_text(text, encoding="utf-8", newline="")
        for command in ("run", "stream"):
            arguments = (command, tmp_path / "m.rnnrt", "--input", tmp_path / "x.csv", "--output")
            assert run(capsys, *arguments, tmp_path / "y.npy")[0] == 0
            assert (np.load(tmp_path / "y.npy") == model(x)).all()
    for text, said in {
        "1,2\n3\n": "line 2: does not have a column for each number in a frame of the input 'x'; expected 2",
        "1,2\n\n3,4\n": "line 2: does not have a column",
        "1,2,3\n4,5,6\n": "line 1: does not have a column",
        "a,b\n1,2\n3,\n": "line 3: holds what is not a number; found could not convert string to float: ''",
        "1,2\n3,n/a\n": "line 2: holds what is not a number",
        "1;2\n3;4\n": "line 2: does not have a column",
        "a,b\n": "holds no numbers",
        "": "holds no numbers",
    }.items():
        (tmp_path / "x.csv").write_text(text)
        code, _, err = run(capsys, "run", *arguments[1:], tmp_path / "y.npy")
        assert code == 2 and said in err, err


def test_a_table_follows_the_axes_of_the_source_and_is_not_ids(capsys, tmp_path):
    torch = need("torch")
    channels_first = rnnrt.from_torch(torch.nn.Conv1d(2, 3, 2))
    channels_first.save(tmp_path / "m.rnnrt")
    x = np.random.default_rng(0).standard_normal((9, 2)).astype(np.float32)
    np.savetxt(tmp_path / "x.csv", x, fmt="%.9g", delimiter=",")
    arguments = ("--input", tmp_path / "x.csv", "--output", tmp_path / "y.npy")
    assert run(capsys, "run", tmp_path / "m.rnnrt", *arguments)[0] == 0
    assert (np.load(tmp_path / "y.npy") == channels_first(x.T)).all()
    rnnrt.from_torch(torch.nn.Embedding(9, 2)).save(tmp_path / "ids.rnnrt")
    code, _, err = run(capsys, "run", tmp_path / "ids.rnnrt", *arguments)
    assert code == 2 and "is a table, which the input" in err


def test_one_channel_of_a_sound_is_run_as_if_it_were_alone(capsys, tmp_path):
    model = built(lambda b, x, r: conv(b, x, r, 3, 2), features=(1,))
    model.save(tmp_path / "m.rnnrt")
    x = np.random.default_rng(0).uniform(-1, 1, (9, 2)).astype(np.float32)
    (tmp_path / "x.wav").write_bytes(b"".join(wav.encode(wav.Sound(x, 8000, "float32"))[0]))
    arguments = (
        tmp_path / "m.rnnrt",
        "--input",
        tmp_path / "x.wav",
        "--output",
        tmp_path / "y.npy",
        "--channel",
    )
    for command in ("run", "stream"):
        for k in (1, 2):
            assert run(capsys, command, *arguments, k)[0] == 0
            y = np.load(tmp_path / "y.npy")
            assert (y.reshape(-1, 3) == model(x[:, k - 1 : k])).all()
        code, _, err = run(capsys, command, *arguments, 3)
        assert code == 2 and "expected --channel 1 to 2; found 3" in err
        np.save(tmp_path / "x.npy", x[:, :1])
        code, _, err = run(capsys, command, arguments[0], "--input", tmp_path / "x.npy", *arguments[3:], 1)
        assert code == 2 and "--channel is for .wav files" in err
