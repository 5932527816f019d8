"""Trained networks that other people published as ONNX, against what onnxruntime answered (tests/data/golden)
or answers.

``python tools/fetch_models.py`` fetches them; where one is absent its tests skip, and fail in CI.
"""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from fetch_models import folder
from needs import absent, need, tool

import rnnrt
from rnnrt.command import main
from rnnrt.passes import optimise

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).resolve().parents[1] / "data" / "golden"
CHUNK, CONTEXT = 512, 64

STATE = {"state": {"state": "stateN"}}
SIZE = {"shapes": {"input": (None, CHUNK + CONTEXT)}}
RATE = {"constants": {"sr": 16000}}
#: The six forms of Silero VAD in one package, and how each is imported.
SILERO = {
    "silero_vad": STATE | SIZE | RATE,  # two networks, chosen by the sample rate
    "silero_vad_16k_op15": STATE | SIZE | RATE,  # Ifs on sizes; an input that nothing reads
    "silero_vad_op18_ifless": STATE | SIZE | RATE,  # the cell written out
    "silero_vad_half": STATE | SIZE,  # other weights
    "silero_vad_openvino_16k": STATE,
    "silero_vad_16k_sequence": {"state": {"h": "hn", "c": "cn"}},  # rows are frames
}


def path_of(name):
    path = folder() / f"{name}.onnx"
    if not path.is_file():
        absent(f"{path.name} is not here; fetch it with: python tools/fetch_models.py {path.name}")
    return path


def chunks(wav):
    """(batch, calls, 576): each call has the last samples of the one before in front."""
    padded = np.concatenate([np.zeros((len(wav), CONTEXT), np.float32), wav], 1)
    count = wav.shape[1] // CHUNK
    return np.stack([padded[:, k * CHUNK : (k + 1) * CHUNK + CONTEXT] for k in range(count)], 1)


def by_runtime(path, x):
    """What onnxruntime answers, its state carried by hand."""
    session = need("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = [i.name for i in session.get_inputs()]
    if "h" in inputs:
        zero = np.zeros((1, 1, 128), np.float32)
        return np.stack([session.run(None, {"input": row, "h": zero, "c": zero})[0].ravel() for row in x])
    state, made = np.zeros((2, len(x), 128), np.float32), []
    for k in range(x.shape[1]):
        given = {"input": x[:, k], "state": state, "sr": np.array(16000)}
        y, state = session.run(None, {n: given[n] for n in inputs})
        made.append(y[:, 0])
    return np.stack(made, 1)


@pytest.mark.parametrize("name", SILERO)
def test_silero_vad(name):
    """Whole and streamed, alone and in a batch: equal bits, and the runtime's answers."""
    path = path_of(name)
    with np.load(GOLDEN / "silero_vad.npz") as record:
        x, recorded = chunks(record["wav"]), record["prob"]
    model = rnnrt.from_onnx(path, **SILERO[name])
    assert model.streamable and list(model.inputs) == ["input"] and len(model.outputs) == 1
    whole = model(x)
    stream, alone = model.stream(batch_size=len(x)), model.stream()
    assert (np.stack([stream.step(x[:, k]) for k in range(x.shape[1])], 1) == whole).all()
    assert (np.concatenate([alone.push(x[0, :3]), alone.push(x[0, 3:])]) == whole[0]).all()
    wanted = recorded
    if name in ("silero_vad_half", "silero_vad_16k_sequence"):
        wanted = by_runtime(path, x if "half" in name else x[:, :])
    np.testing.assert_allclose(whole.reshape(recorded.shape), wanted, atol=1e-5)
    assert "lstm" in [layer.kind for layer in optimise(model.graph).layers]


def test_silero_vad_in_c(tmp_path):
    """examples/c/vad.c, built with the library of the package, on a file that its own words convert."""
    path, source = path_of("silero_vad"), ROOT / "examples" / "c" / "vad.c"
    saved, program = tmp_path / "vad.rnnrt", tmp_path / "vad"
    words = re.search(r"rnnrt convert silero_vad.onnx -o vad.rnnrt ([^*]*)\* +(.*)", source.read_text())
    words = " ".join(words.groups()).replace("\\", "").split()
    assert main.main(["convert", str(path), "-o", str(saved), *words]) == 0
    build = [source, f"-I{rnnrt.get_include()}", rnnrt.get_library(), "-lm", "-o", program]
    subprocess.run([tool("gcc"), "-std=c11", "-Wall", "-Wextra", "-Werror", *build], check=True)
    x = np.random.default_rng(0).normal(0, 0.1, 512 * 6).astype(np.float32)
    x.tofile(tmp_path / "x.f32")
    stream, sound = rnnrt.load(saved).stream(), np.concatenate([np.zeros(64, np.float32), x])
    wanted = [stream.step(sound[512 * k : 512 * k + 576]) for k in range(6)]
    done = subprocess.run([program, saved, tmp_path / "x.f32"], capture_output=True, text=True, check=True)
    assert (np.array(done.stdout.split(), np.float32) == np.ravel(wanted)).all()


def test_silero_vad_at_the_other_rate():
    path, x = path_of("silero_vad"), np.random.RandomState(0).standard_normal((2, 7, 288)).astype(np.float32)
    model = rnnrt.from_onnx(path, **STATE, constants={"sr": 8000}, shapes={"input": (None, 288)})
    session = need("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    state = np.zeros((2, 2, 128), np.float32)
    for k in range(7):
        wanted, state = session.run(None, {"input": x[:, k], "state": state, "sr": np.array(8000)})
        np.testing.assert_allclose(model(x[:, : k + 1])[:, -1], wanted, atol=1e-5)


def test_silero_vad_without_what_it_must_be_told():
    path = path_of("silero_vad")
    with pytest.raises(rnnrt.UnsupportedModelError, match="input 'sr'.*constants={name: value}"):
        rnnrt.from_onnx(path, **SIZE)
    with pytest.raises(rnnrt.UnsupportedModelError, match="shapes="):
        rnnrt.from_onnx(path, **RATE)


def test_nsnet2():
    """Export of an old PyTorch: MatMul and Add, two GRUs whose zero state is worked out from the input."""
    with np.load(GOLDEN / "nsnet2.npz") as record:
        x, gain = record["x"], record["gain"]
    model = rnnrt.from_onnx(path_of("nsnet2"))
    whole = model(x)
    np.testing.assert_allclose(whole, gain, atol=1e-5)
    stream = model.stream(batch_size=len(x))
    assert (np.stack([stream.step(x[:, t]) for t in range(x.shape[1])], 1) == whole).all()
