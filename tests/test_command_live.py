"""``rnnrt stream MODEL --input -``: pipes in and out of a process of its own."""

import json
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from case_layers import conv
from needs import need
from small_models import built

import rnnrt
from rnnrt.format import wav

need("rnnrt._engine")


@pytest.fixture(scope="module")
def ahead(tmp_path_factory):
    """A model of two numbers a frame that looks two frames ahead, its path, and frames."""
    model = built(lambda b, x, r: conv(b, x, r, 3, 5, padding="same"), features=(2,))
    path = tmp_path_factory.mktemp("live") / "ahead.rnnrt"
    model.save(path)
    return model, path, np.random.default_rng(0).uniform(-1, 1, (50, 2)).astype(np.float32)


def command(path, *words):
    return [sys.executable, "-m", "rnnrt", "stream", str(path), "--input", "-", *map(str, words)]


def opened(path, *words):
    """A process whose pipes are open."""
    return subprocess.Popen(
        command(path, *words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def piped(path, content, *words):
    return subprocess.run(command(path, *words), input=content, capture_output=True, check=False, timeout=120)


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_what_comes_through_a_pipe_has_the_bits_of_a_whole_call(ahead, chunk):
    model, path, x = ahead
    done = piped(path, x.tobytes(), "--chunk", chunk, "--output", "-", "--rate", 1000)
    assert done.returncode == 0, done.stderr
    assert done.stdout == model(x).tobytes()
    said = done.stderr.decode()
    assert (
        "50 frames in, 50 out" in said and "p99.9" in said and "x real time at 1000 frames a second" in said
    )


def test_answers_as_lines_and_samples_of_16_bits(ahead):
    model, path, x = ahead
    samples = (x * 20000).astype("<i2")
    wanted = model(samples.astype(np.float32) / np.float32(32768))
    done = piped(path, samples.tobytes(), "--raw", "int16", "--output", "-", "--format", "csv")
    np.testing.assert_array_equal(
        np.loadtxt(done.stdout.decode().split("\n"), np.float32, delimiter=","), wanted
    )
    done = piped(path, samples.tobytes(), "--raw", "int16", "--output", "-", "--format", "jsonl")
    rows = [json.loads(line) for line in done.stdout.decode().splitlines()]
    np.testing.assert_array_equal(np.array(rows, np.float32), wanted)


def test_a_summary_alone(ahead):
    _, path, x = ahead
    done = piped(path, x.tobytes(), "--json", "--chunk", 8, "--rate", 0.001)
    found = json.loads(done.stdout)
    assert (found["frames_in"], found["frames_out"], found["latency_us"]["calls"]) == (50, 50, 7)
    assert found["late"] == 0 and found["times_real_time"] > 1 and found["ended"] == "the input ended"


#: A shell's background job ignores Ctrl-C, and so do its children.
HEARS = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from rnnrt.command.main import main; sys.exit(main())"
)


def test_answers_come_while_the_input_is_open_and_ctrl_c_ends_it_with_a_summary(ahead):
    model, path, x = ahead
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    words = [sys.executable, "-c", HEARS, *command(path, "--output", "-")[3:]]
    with subprocess.Popen(words, **pipes) as process:
        process.stdin.write(x[:10].tobytes())
        process.stdin.flush()
        made = process.stdout.read(8 * 3 * 4)  # two frames late
        process.send_signal(signal.SIGINT)
        try:
            status = process.wait(60)
        finally:
            process.kill()
        np.testing.assert_array_equal(np.frombuffer(made, "<f4").reshape(8, 3), model(x[:10])[:8])
        said = process.stderr.read().decode()
        assert status == 0
        assert re.search(
            "10 frames in, [78] out, chunks of 1; interrupted", said
        )  # it may come as 8 is counted


def test_a_reader_that_leaves_ends_it(ahead):
    _, path, x = ahead
    with opened(path, "--output", "-") as process:
        process.stdout.close()
        _, said = process.communicate(x.tobytes() * 100, timeout=60)
    assert process.returncode == 0 and b"the reader of the answers left" in said and b"Exception" not in said


def test_what_a_pipe_cannot_carry_is_refused(ahead, tmp_path):
    _, path, x = ahead
    done = piped(path, x.tobytes()[:-3], "--output", "-")
    assert done.returncode == 2 and b"ends in the middle of a frame" in done.stderr
    assert b"found 49 frames and 5 bytes" in done.stderr and len(done.stdout) == 47 * 3 * 4
    done = piped(path, b"", "--output", tmp_path / "y.npy")
    assert done.returncode == 2 and b"--output -" in done.stderr
    done = piped(path, b"", "--output", "-", "--json")
    assert done.returncode == 2 and b"stdout cannot take answers and --json" in done.stdout
    once = built(lambda b, x, r: b.add(rnnrt.layers.Last, "last", conv(b, x, r, 3, 2)), features=(2,))
    once.save(tmp_path / "once.rnnrt")
    done = piped(tmp_path / "once.rnnrt", b"")
    assert done.returncode == 2 and b"it comes once, at the end" in done.stderr
    words = [sys.executable, "-m", "rnnrt", "stream", str(path), "--input", "x.npy", "--output", "-"]
    done = subprocess.run(words, capture_output=True, check=False)
    assert done.returncode == 2 and b"expected --input -" in done.stderr
    done = subprocess.run([*command(path), "x.npy"], input=b"", capture_output=True, check=False)
    assert done.returncode == 2 and b"stdin is the only input" in done.stderr


@pytest.mark.parametrize("kind", ["npy", "wav", "csv"])
def test_a_file_in_place_of_numbers_is_refused(ahead, kind, tmp_path):
    """Read as numbers its header would be frames, and every later answer of other samples."""
    _, path, x = ahead
    if kind == "npy":
        np.save(tmp_path / "x.npy", x)
    elif kind == "wav":
        (tmp_path / "x.wav").write_bytes(b"".join(wav.encode(wav.Sound(x, 16000, "pcm16"))[0]))
    else:
        np.savetxt(tmp_path / "x.csv", x, delimiter=",")
    content = (tmp_path / f"x.{kind}").read_bytes()
    for words in ((), ("--raw", "int16"), ("--chunk", 30)):
        done = piped(path, content, "--output", "-", *words)
        assert done.returncode == 2 and b"is not numbers alone: begins as " in done.stderr
        assert f"--input X.{kind}".encode() in done.stderr
    assert not done.stdout


def test_files_are_paced_too(ahead, tmp_path):
    _, path, x = ahead
    np.save(tmp_path / "x.npy", x)
    words = [sys.executable, "-m", "rnnrt", "stream", path, "--chunk", "8", "--json", "--input"]

    def said(*more):
        done = subprocess.run([*words, *more], capture_output=True, check=False)
        return done.returncode, json.loads(done.stdout)

    code, data = said(tmp_path / "x.npy")
    assert code == 0 and "late" not in data and data["latency_us"]["calls"] == 7
    for rate, late in (("0.001", 0), ("1e12", 7)):
        code, data = said(tmp_path / "x.npy", "--rate", rate)
        assert code == 0 and data["late"] == late and data["budget_us"] == pytest.approx(8e6 / float(rate))
        assert (data["times_real_time"] > 1) == (late == 0)
    (tmp_path / "x.wav").write_bytes(b"".join(wav.encode(wav.Sound(x, 16000, "pcm16"))[0]))
    code, data = said(tmp_path / "x.wav")
    assert code == 0 and data["budget_us"] == 500
    code, data = said(tmp_path / "x.wav", "--rate", "8000")
    assert code == 2 and "a sound has a rate of its own" in json.dumps(data)
