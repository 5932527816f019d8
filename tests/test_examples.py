"""The scripts of examples/, run as their pages say, on sounds and series whose answers are known. Those that
need a published network skip where tools/fetch_models.py has not fetched it.
"""

import importlib.util
import json
import re
from pathlib import Path

import captures
import numpy as np
import pytest
from fetch_models import folder
from needs import absent, need
from voices import RATE, talk

import rnnrt
from rnnrt.command import demo
from rnnrt.format import wav

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def model_path(name):
    path = folder() / name
    return path if path.is_file() else absent(f"{name} is not here; fetch it with tools/fetch_models.py")


def written(path, samples, rate=RATE):
    path.write_bytes(b"".join(wav.encode(wav.Sound(np.float32(samples)[:, None], rate, "float32"))[0]))
    return str(path)


@pytest.fixture(scope="module")
def spoken():
    return talk()


def is_picture(path):
    return path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and path.stat().st_size > 10_000


def test_every_example_says_how_it_is_run():
    scripts = sorted(EXAMPLES.rglob("*.py"))
    assert len(scripts) >= 8
    for path in scripts:
        if path.stem != "voice_hub":
            assert f"python {path.relative_to(EXAMPLES.parent)} " in path.read_text(), path.name


# ---- speech ------------------------------------------------------------------------------------------------


def test_speech_segments_are_found_where_somebody_speaks(tmp_path, capsys, spoken):
    need("matplotlib")
    model, picture = str(model_path("silero_vad.onnx")), tmp_path / "segments.png"
    noise = 0.001 * np.random.RandomState(0).standard_normal(len(spoken))
    sound = written(tmp_path / "talk.wav", spoken + noise)
    example("speech_segments").main([model, sound, "--picture", str(picture)])
    lines = capsys.readouterr().out.splitlines()
    found = [[float(t) for t in re.findall(r"([\d.]+) s", line)] for line in lines[:-1]]
    assert np.abs(np.array(found) - [[0.5, 2.0], [3.0, 4.0]]).max() < 0.15
    assert lines[-1].startswith("2 segments, ") and lines[-1].endswith(" of 4.50 s")
    assert is_picture(picture)
    with pytest.raises(SystemExit):
        example("speech_segments").main([model, written(tmp_path / "8k.wav", spoken, 8000)])
    assert "8000 samples a second, not 16000" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("chances", "found"),
    [
        ([0.1] * 20, []),
        # From its first chunk to the first silent one; 480 samples of padding at both ends.
        ([0.1] * 5 + [0.9] * 10 + [0.1] * 5, [(5 * 512 - 480, 15 * 512 + 480)]),
        # Between the two thresholds speech goes on, and does not begin.
        ([0.1] * 5 + [0.9] * 4 + [0.4] * 6 + [0.1] * 5, [(5 * 512 - 480, 15 * 512 + 480)]),
        ([0.4] * 20, []),
        # A pause of three chunks is shorter than 0.1 s, one of five is not.
        ([0.9] * 10 + [0.1] * 3 + [0.9] * 10, [(0, 23 * 512)]),
        ([0.9] * 10 + [0.1] * 5 + [0.9] * 10, [(0, 10 * 512 + 480), (15 * 512 - 480, 25 * 512)]),
        # 7 chunks are shorter than 0.25 s, 8 are not.
        ([0.1] * 2 + [0.9] * 7 + [0.1] * 9, []),
        ([0.1] * 2 + [0.9] * 8 + [0.1] * 9, [(2 * 512 - 480, 10 * 512 + 480)]),
    ],
)
def test_rules_of_segments(chances, found):
    assert example("speech_segments").segments(chances, len(chances) * 512) == found


def test_padding_of_segments_does_not_overlap():
    chances = [0.9] * 10 + [0.1] * 5 + [0.9] * 10
    found = example("speech_segments").segments(chances, 25 * 512, pad=0.2)
    assert found == [(0, 12 * 512 + 256), (12 * 512 + 256, 25 * 512)]


def test_denoising_takes_noise_and_leaves_speech(tmp_path, capsys, spoken):
    need("matplotlib")
    model, picture = str(model_path("nsnet2.onnx")), tmp_path / "spectra.png"
    noisy = spoken[:-100] + np.float32(0.03) * np.random.RandomState(1).standard_normal(len(spoken) - 100)
    noisy, clean = noisy.astype(np.float32), tmp_path / "clean.wav"
    arguments = [model, written(tmp_path / "noisy.wav", noisy), str(clean), "--picture", str(picture)]
    module = example("denoise")
    module.main(arguments)
    assert "10 ms behind" in capsys.readouterr().out
    heard = wav.read(clean).samples[:, 0]
    assert len(heard) == len(noisy) and is_picture(picture)
    before, after = (np.square(x - spoken[:-100]) for x in (noisy, heard))
    assert after.sum() < before.sum() / 4  # 6 dB and more, and in silence
    assert after[:7000].sum() < before[:7000].sum() / 1000
    live = module.NSNet2(model)  # the bits do not hang on how the samples come
    parts = [live.push(part) for part in np.split(noisy[:3200], [1, 400, 1003, 1003, 2900])]
    assert (np.concatenate(parts) == heard[: 3200 - 160]).all()


def by_onnxruntime(models, samples):
    """DTLN as its authors run it: a block of 512 samples shifts by 128, states go in and out by hand."""
    onnxruntime = need("onnxruntime")
    first, second = (onnxruntime.InferenceSession(m, providers=["CPUExecutionProvider"]) for m in models)
    states = [np.zeros((1, 2, 128, 2), np.float32)] * 2
    block, overlap, clean = np.zeros(512, np.float32), np.zeros(512), []
    for hop in samples.reshape(-1, 128):
        block = np.concatenate([block[128:], hop])
        spectrum = np.fft.rfft(block.astype(np.float64))
        given = {"input_2": np.float32(np.abs(spectrum))[None, None], "input_3": states[0]}
        gains, states[0] = first.run(None, given)
        back = np.fft.irfft(spectrum * gains[0, 0])
        better, states[1] = second.run(None, {"input_4": np.float32(back)[None, None], "input_5": states[1]})
        overlap = np.concatenate([overlap[128:], np.zeros(128)]) + better[0, 0]
        clean.append(overlap[:128])
    return np.concatenate(clean)


def test_denoising_with_two_networks_is_what_onnxruntime_makes_of_them(tmp_path, capsys, spoken):
    need("matplotlib")
    models, picture = [str(model_path(f"dtln_{k}.onnx")) for k in (1, 2)], tmp_path / "spectra.png"
    noisy = spoken[:-100] + np.float32(0.03) * np.random.RandomState(1).standard_normal(len(spoken) - 100)
    noisy, clean = noisy.astype(np.float32), tmp_path / "clean.wav"
    module = example("denoise")
    module.main([*models, written(tmp_path / "noisy.wav", noisy), str(clean), "--picture", str(picture)])
    assert "24 ms behind" in capsys.readouterr().out
    heard = wav.read(clean).samples[:, 0]
    assert len(heard) == len(noisy) and is_picture(picture)
    before, after = (np.square(x - spoken[:-100]) for x in (noisy, heard))
    assert after[:7000].sum() < before[:7000].sum() / 100  # silence
    padded = np.concatenate([noisy, np.zeros(384 + -len(noisy) % 128, np.float32)])
    assert np.abs(by_onnxruntime(models, padded)[384:][: len(heard)] - heard).max() < 1e-5
    live = module.DTLN(*models)  # the bits do not hang on how the samples come
    parts = [live.push(part) for part in np.split(noisy[:3200], [1, 400, 1003, 1003, 2900])]
    assert (np.concatenate(parts) == heard[: 3200 - 384]).all()


# ---- music -------------------------------------------------------------------------------------------------


def drums(beats, gap, rate=22050):
    """Kicks, every ``gap`` seconds from 0.5 s on, with hats between them."""
    rng, samples = np.random.RandomState(0), np.zeros(int((1 + beats * gap) * rate))
    t = np.arange(int(0.2 * rate)) / rate
    kick = np.sin(2 * np.pi * (50 * t + 3 * (1 - np.exp(-30 * t)))) * np.exp(-18 * t)
    hat = rng.standard_normal(len(t)) * np.exp(-90 * t)
    for k in range(2 * beats):
        at = int((0.5 + k * gap / 2) * rate)
        samples[at : at + len(t)] += 0.15 * hat if k % 2 else 0.8 * kick + 0.1 * hat
    return samples.astype(np.float32)


def test_beats_are_found_where_the_drum_is_struck(tmp_path, capsys):
    need("matplotlib")
    model, picture = str(model_path("beatnet_1.pt")), tmp_path / "beats.png"
    sound = written(tmp_path / "drums.wav", drums(12, 0.6), 22050)
    example("beats").main([model, sound, "--picture", str(picture)])
    *lines, last = capsys.readouterr().out.splitlines()
    times = np.array([float(line.split()[0]) for line in lines])
    heard = times[times > 2]  # the network listens in first
    assert len(heard) == 9 and np.abs(heard - (0.5 + 0.6 * np.arange(3, 12))).max() < 0.05
    assert re.fullmatch(r"\d+ beats, (97|100|103) a minute", last)
    assert is_picture(picture)


def test_the_bands_of_beats_are_those_it_was_trained_on():
    """As many as its input takes, from 30 Hz to 17 kHz, each with a sum of 1."""
    made = example("beats").bands()
    assert made.shape == (136, 705) and np.abs(made.sum(axis=1) - 1).max() < 1e-12
    hertz = made.argmax(axis=1) * 22050 / 1410
    assert (np.diff(hertz) > 0).all() and 30 < hertz[0] < 60 and 10000 < hertz[-1] < 11025


# ---- amplifiers, sensors, words ----------------------------------------------------------------------------


def test_an_amp_plays_a_recording_block_by_block(tmp_path, capsys):
    layers = {"input_size": 1, "hidden_size": 4, "num_layers": 1}
    amp, wet = tmp_path / "amp.nam", tmp_path / "wet.wav"
    amp.write_text(json.dumps(captures.nam("LSTM", **layers)))
    dry = np.float32(0.1) * np.random.RandomState(0).standard_normal(5000).astype(np.float32)
    module = example("amp")
    module.main([str(amp), written(tmp_path / "dry.wav", dry, 48000), str(wet)])
    assert "a block may take 1.33 ms" in capsys.readouterr().out
    sound, model = wav.read(wet), rnnrt.from_nam(amp)
    assert sound.rate == 48000 and (sound.samples == model(dry[:, None])).all()
    model.save(tmp_path / "amp.rnnrt")
    again = tmp_path / "again.wav"
    module.main([str(tmp_path / "amp.rnnrt"), str(tmp_path / "dry.wav"), str(again), "--block", "7"])
    assert again.read_bytes() == wet.read_bytes()
    with pytest.raises(SystemExit):
        module.main([str(amp), written(tmp_path / "44.wav", dry, 44100), str(wet)])
    assert "44100 samples a second, the amplifier 48000" in capsys.readouterr().err


def test_anomalies_are_what_was_put_into_a_series(tmp_path, capsys):
    need("h5py")
    need("matplotlib")
    series, picture = demo.series()[20000:23000].astype(float), tmp_path / "anomalies.png"
    series[1500:1530] += np.linspace(0, 2, 30)
    series[2400] = 4
    path = tmp_path / "sensor.csv"
    path.write_text("mV\n" + "".join(f"{value:.3f}\n" for value in series))
    module = example("anomalies")
    module.main([str(path), "--picture", str(picture)])
    lines = capsys.readouterr().out.splitlines()
    begins = [int(re.match(r"samples (\d+) to", line)[1]) for line in lines[:-1]]
    assert lines[-1] == "2 anomalies in 3000 samples" and is_picture(picture)
    assert 1500 <= begins[0] <= 1535 and begins[1] == 2400
    path.write_text("mV\n0.1\n0.2x\n")
    with pytest.raises(SystemExit):
        module.main([str(path)])
    assert "sensor.csv, line 3: not a number: '0.2x'" in capsys.readouterr().err


def test_words_are_pronounced(capsys):
    model, module = str(model_path("g2p_en.npz")), example("pronounce")
    assert len(module.PHONEMES) == 74
    module.main([model, "cython", "Streaming"])
    assert capsys.readouterr().out == "cython: S AY1 TH AH0 N\nStreaming: S T R IY1 M IH0 NG\n"
    with pytest.raises(SystemExit):
        module.main([model, "naïve"])
    assert "letters from a to z: 'naïve'" in capsys.readouterr().err
