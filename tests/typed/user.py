"""A program as a user writes it: type checkers find nothing in it, and it runs (tests/test_types.py)."""

import os
import pickle
import sys
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt

import rnnrt
from rnnrt import Graph, Model, State, Stream, frontends, layers, textbook

Floats = npt.NDArray[np.float32]
Pair = Model[tuple[Floats, Floats]]


def build(units: int) -> Graph:
    """By hand, from whatever NumPy reads as numbers."""
    x = layers.Input("x", features=[3])
    lstm = layers.LSTM("lstm", "x", np.ones((4 * units, 3)), [[0.5] * units] * 4 * units, activation="tanh")
    conv = layers.Conv1D(
        "conv", ["lstm"], np.ones((2, 3, units)), padding=(2, 0), activation=("leaky_relu", 0.1)
    )
    assert_type(lstm.weight, Floats)
    assert_type(lstm.bias, Floats | None)
    assert_type(conv.activation, layers.Function)
    assert_type(conv.inputs, tuple[str, ...])
    return Graph([x, lstm, conv], outputs=["conv"])


def built() -> Graph:
    """With a builder: two outputs."""
    b = layers.GraphBuilder()
    gru = b.add(
        layers.GRU, "gru", b.input("x", (3,)), weight=np.ones((6, 3)), recurrent_weight=np.ones((6, 2))
    )
    b.output("all", gru)
    b.output("last", gru + ":h")
    return b.graph(metadata={"source": "by hand"})


def whole(model: Model, x: Floats) -> Floats:
    y = model(x)
    assert_type(y, Floats)
    again, state = model(x.tolist(), initial_state={"lstm/h": np.zeros((1, 4))}, return_state=True)
    assert_type(again, Floats)
    arrays: dict[str, Floats] = state.arrays()
    model(x, initial_state=arrays, out=np.empty_like(y))
    named: dict[str, Floats] = model.run({"x": x})
    return y + named["conv"]


def live(model: Model, frames: Floats) -> list[Floats]:
    stream: Stream = model.stream()
    out: list[Floats] = []
    for frame in frames:
        answer = stream.step(frame)
        if answer is not None:
            out.append(answer)
    room = np.empty((stream.max_outputs(2), 2), np.float32)
    out.append(stream.push(frames[:2].tolist(), out=room))
    kept: bytes = stream.state.to_bytes()
    other = stream.clone()
    other.state = State.from_bytes(kept)
    out.extend(model.step_many([stream, other], [frames[0], frames[1]]))
    sound: bool | npt.NDArray[np.bool_] = stream.finite
    stream.reset()
    position: int = stream.position + stream.delay
    return [*out, stream.flush()][position if sound else 0 :]


def several(x: Floats) -> Floats:
    model: Pair = rnnrt.from_graph(built())
    every, last = model(x)
    assert_type(last, Floats)
    stream = model.stream(1, every_step=True)
    assert_type(stream.step(x[:, 0]), tuple[Floats | None, ...])
    assert_type(stream.push(x), tuple[Floats, Floats])
    assert_type(stream.max_outputs(3), tuple[int, ...])
    return every + last[:, None]


def book() -> None:
    sizes = {"Wax": (2, 1), "Waa": (2, 2), "Wya": (1, 2), "ba": (2, 1), "by": (1, 1)}
    parameters = {name: np.ones(size) for name, size in sizes.items()}
    a, y, _ = textbook.rnn_forward(np.ones((1, 1, 4)), np.zeros((2, 1)), parameters)
    assert_type(a, npt.NDArray[np.float64])
    answers = rnnrt.from_numpy(parameters)(np.ones((1, 1, 4)))
    assert_type(answers, tuple[Floats, ...])
    assert np.allclose(answers[1], y)


def fronts(samples: Floats) -> Floats:
    stft = frontends.STFT(512, 128, padding="causal")
    spectra, back = stft.stream(), stft.inverse.stream()
    heard = back.push(spectra.push(samples.tolist()))
    log = frontends.Log(offset=1e-6)
    mel = frontends.MelSpectrogram(
        16000, 512, 160, mel_scale="htk", norm=None, padding=(0, 64), n_mels=20, log=log
    )
    bands: Floats = frontends.MFCC(13, mel)(samples)
    assert_type(frontends.window("hann", 5), npt.NDArray[np.float64])
    print(heard.shape, mel.delay, spectra.delay)
    return bands


def files(path: Path) -> Model:
    rnnrt.from_graph(build(4)).save(path)
    model = rnnrt.load(path, num_threads=2, backend="native", verify=True)
    print(model.summary(), model.nbytes, model.delay, model.isa, model.verify(), model.golden_by)
    profile = model.profile(np.ones((1, 4, 3)), steps=True, seconds=0)
    print(profile, [layer.of_limit for layer in profile.layers], profile.as_dict()["us"])
    assert_type(model.trace(np.ones((1, 4, 3))), dict[str, dict[str, Floats]])
    x = np.ones((1, 5, 3), np.float32)
    error: float = model.verify(x, model(x).tolist(), tolerance=1e-4)
    with path.open("rb") as opened:
        assert_type(rnnrt.load(opened).verify({"x": x}, {"conv": model(x)}), float)
    print(*model.assumptions, model.metadata.get("sample_rate"), error < 1e-4)
    print(sorted(model.inputs), model.outputs["conv"][-1], model.receptive_field, model.streamable)
    small: Model = pickle.loads(pickle.dumps(rnnrt.by_path(model.with_options(num_threads=1))))
    if small != model or len({small, model}) > 1:
        raise SystemExit("a pickle changed the model")
    return small


def refused(path: os.PathLike[str]) -> tuple[str | None, str | None]:
    try:
        rnnrt.load(path)
    except rnnrt.ModelFileError as error:
        return error.where, error.fix
    except (rnnrt.RnnrtError, ValueError):
        raise
    return None, None


def sources(keras_model: Any, state_dict: dict[str, Floats], spec: str) -> list[Model]:
    """Never called here: what the importers take."""

    def swish(config: dict[str, Any], arrays: dict[str, Floats]) -> layers.Layer:
        return layers.Activation("swish", ("x",), activation=config["activation"])

    return [
        rnnrt.from_keras(keras_model, custom_objects={"Swish": swish}, outputs=["dense"]),
        rnnrt.from_torch(state_dict, spec, prefix="encoder.", check="samples.npz", max_bytes=1 << 20),
        rnnrt.from_nam("amp.nam", max_bytes=1 << 20),
        rnnrt.from_rtneural(Path("amp.json"), check=(np.ones((9, 1)), np.ones((9, 1)))),
        rnnrt.convert("m.pt", golden=(np.ones((1, 5, 3)), ([[1.0]], [[2.0]])), spec=spec),
        rnnrt.convert("m.keras", Path("m.rnnrt"), golden="reference", max_bytes=1 << 20),
    ]


def main(folder: Path) -> None:
    model = files(folder / "m.rnnrt")
    x = np.ones((1, 5, 3), np.float32)
    fronts(np.ones(2000, np.float32))
    print(whole(model, x).shape, len(live(model, x[0])), several(x).shape, refused(folder / "none"))
    book()
    print(rnnrt.show_config()["isas"], rnnrt.__version__)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
