"""Captures and sounds at the command: convert, info, run, stream."""

import re

import numpy as np
import pytest
from captures import GUITARML, NAM, aida, nam_answer, written
from command import run, run_json
from expect import same_bits

import rnnrt
from rnnrt.format import wav
from rnnrt.format.wav import Sound


def sound(folder, channels=1, rate=48000, encoding="float32", frames=200, name="guitar.wav"):
    samples = np.random.default_rng(2).normal(0, 0.2, (frames, channels)).astype(np.float32)
    path = folder / name
    path.write_bytes(b"".join(map(bytes, wav.encode(Sound(samples, rate, encoding))[0])))
    return path


@pytest.fixture
def amp(capsys, tmp_path, monkeypatch):
    """A capture converted beside itself."""
    monkeypatch.chdir(tmp_path)
    written(tmp_path, NAM["stack"] | {"metadata": {"name": "clean", "loudness": -20.5}}, "amp.nam")
    code, out, _ = run(capsys, "convert", "amp.nam")
    assert code == 0 and "amp.nam -> amp.rnnrt" in out
    return tmp_path / "amp.rnnrt"


def test_a_guitar_goes_through_an_amp(capsys, amp, tmp_path):
    for encoding in wav.ENCODINGS:
        path = sound(tmp_path, encoding=encoding)
        x = wav.read(path).samples
        code, _, err = run(capsys, "run", amp, "--input", path, "--output", "out.wav")
        made = wav.read(tmp_path / "out.wav")
        assert (code, err, made.rate, made.encoding) == (0, "", 48000, "float32")
        assert same_bits(made.samples, rnnrt.load(amp)(x))
        assert np.abs(made.samples - nam_answer(NAM["stack"], x.astype(np.float64))).max() < 1e-5
        code, _, _ = run(capsys, "stream", amp, "--input", path, "--chunk", 64, "--output", "live.wav")
        assert code == 0 and (tmp_path / "live.wav").read_bytes() == (tmp_path / "out.wav").read_bytes()


def test_info_says_what_is_known_of_the_capture(capsys, amp):
    for path in ("amp.nam", amp):
        code, said = run_json(capsys, "info", path)
        assert code == 0 and said["metadata"]["sample_rate"] == 48000
        assert said["metadata"]["loudness"] == -20.5 and said["metadata"]["capture"]["name"] == "clean"
        assert "sample_rate: 48000" in run(capsys, "info", path)[1]


def test_each_channel_of_a_sound_is_run_by_itself(capsys, amp, tmp_path):
    path = sound(tmp_path, channels=2)
    assert run(capsys, "run", amp, "--input", path, "--output", "out.wav")[0] == 0
    model, x = rnnrt.load(amp), wav.read(path).samples
    wanted = np.concatenate([model(x[:, :1]), model(x[:, 1:])], axis=1)
    assert same_bits(wav.read(tmp_path / "out.wav").samples, wanted)


def test_a_network_of_two_channels_takes_both(capsys, tmp_path):
    amp = written(tmp_path, NAM["lstms"])
    path, out = sound(tmp_path, channels=2), tmp_path / "out.wav"
    assert run(capsys, "run", amp, "--input", path, "--output", out)[0] == 0
    assert same_bits(wav.read(out).samples, rnnrt.from_nam(amp)(wav.read(path).samples))


def test_pcm_is_cut_at_full_scale_and_said(capsys, tmp_path):
    amp = written(tmp_path, aida(out_gain=20))
    path, out = sound(tmp_path, rate=44100), tmp_path / "out.wav"
    code, _, err = run(capsys, "run", amp, "--input", path, "--output", out, "--encoding", "pcm24")
    made, whole = wav.read(out), rnnrt.from_rtneural(amp)(wav.read(path).samples)
    cut = int((np.abs(whole) > 1).sum())
    assert code == 0 and cut > 5 and f"{cut} samples were beyond full scale" in err
    assert made.encoding == "pcm24" and np.abs(made.samples - np.clip(whole, -1, 1)).max() < 2**-22


def test_an_array_goes_in_and_a_sound_comes_out_where_the_rate_is_known(capsys, amp, tmp_path):
    np.save("x.npy", wav.read(sound(tmp_path)).samples)
    assert run(capsys, "run", amp, "--input", "x.npy", "--output", "out.wav")[0] == 0
    assert wav.read(tmp_path / "out.wav").rate == 48000
    code, _, err = run(
        capsys, "run", written(tmp_path, GUITARML["lstm"], "g.json"), "--input", "x.npy", "--output", "g.wav"
    )
    assert code == 2 and "sample rate of the answer is not known" in err and not (tmp_path / "g.wav").exists()


def test_a_capture_without_a_rate_takes_any(capsys, tmp_path):
    amp, out = written(tmp_path, GUITARML["lstm"]), tmp_path / "out.wav"
    assert run(capsys, "run", amp, "--input", sound(tmp_path, rate=22050), "--output", out)[0] == 0
    assert wav.read(out).rate == 22050


@pytest.mark.parametrize(
    ("made", "arguments", "words"),
    [
        (
            {"rate": 44100},
            (),
            "another sample rate than the model, which answers at 48000 Hz.*44100.*-ar 48000",
        ),
        ({"frames": 0}, (), "holds no samples"),
        ({}, ("--output", "out.aiff"), "not written as .aiff"),
        ({}, ("--output", "out.npy", "--encoding", "pcm16"), "only the samples of a .wav"),
        ({}, ("--encoding", "mp3"), "there is no choice 'mp3'"),
        ({}, ("--output", "guitar.wav"), "would be overwritten"),
        ({}, ("--output", "amp.wav"), "another kind and would be lost"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(
    capsys, amp, tmp_path, made, arguments, words
):
    path = sound(tmp_path, **made)
    (tmp_path / "amp.wav").write_bytes(b"not a sound")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    given = ["run", amp, "--input", path, "--output", "out.wav", *arguments]
    code, _, err = run(capsys, *given)
    assert code == 2 and re.search(words, err), err
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_knobs_are_not_in_a_sound_of_one_channel(capsys, tmp_path):
    amp = written(tmp_path, GUITARML["lstm_with_knobs"])
    code, _, err = run(capsys, "run", amp, "--input", sound(tmp_path), "--output", tmp_path / "y.wav")
    assert code == 2 and "expected 3; found 1. Give a .npy file of (time, 3)" in err and "knobs" in err


def test_a_capture_is_measured_against_its_own_rate(capsys, amp):
    asked = ("bench", amp, "--seconds", 0.05, "--time", 20)
    own, other = run_json(capsys, *asked), run_json(capsys, *asked, "--rate", 8000)
    for (code, said), rate in ((own, 48000), (other, 8000)):
        assert code == 0 and said["rows"]
        for row in said["rows"]:
            assert row["x_real_time"] == pytest.approx(
                row["steps"] / rate / (row["mean"] * 1e-6), rel=0.01, abs=0.1
            )


def test_a_capture_needs_no_spec(capsys, amp, tmp_path):
    (tmp_path / "s").write_text("lstm: LSTM")
    code, _, err = run(capsys, "info", "amp.nam", "--spec", "s")
    assert code == 2 and "is a Neural Amp Modeler capture, which needs no spec" in err
