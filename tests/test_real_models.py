"""Trained networks that other people published, against what their own frameworks answered
(tests/data/golden).

``python tools/fetch_models.py`` fetches them; where one is absent its tests skip, and fail in CI. Each runs
through the float64 reference and through the engine. The golden files hold inputs and outputs recorded with
keras 3.15.1 and torch 2.13.0, or, for g2p-en, with the package's own NumPy code.
"""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from fetch_models import folder
from needs import absent, need

from rnnrt import reference
from rnnrt.importers.keras import reader as keras_importer
from rnnrt.importers.torch import reader as torch_importer

GOLDEN = Path(__file__).resolve().parent / "data" / "golden"

BEATNET = """
input features=272
per_frame               # a convolution over the 272 features of each frame
conv1: Conv1d
relu
MaxPool1d 2
flatten
linear0: Linear
end
lstm: LSTM
linear: Linear
Softmax dim=-1
"""

#: The package's own names for its arrays, and PyTorch's.
GRU_NAMES = "weight_ih_l0={0}_w_ih weight_hh_l0={0}_w_hh bias_ih_l0={0}_b_ih bias_hh_l0={0}_b_hh"
G2P_EMBEDDED_ENCODER = f"enc: GRU {GRU_NAMES.format('enc')}\nignore enc_emb\nignore dec_*\nignore fc_*"
G2P_ENCODER = f"Embedding weight=enc_emb\nenc: GRU {GRU_NAMES.format('enc')}\nignore dec_*\nignore fc_*"
G2P_DECODER = (
    f"Embedding weight=dec_emb\ndec: GRU {GRU_NAMES.format('dec')}\nLinear weight=fc_w "
    f"bias=fc_b\nignore enc_*"
)


def model_path(name):
    path = folder() / name
    if not path.is_file():
        absent(f"{name} is not here; fetch it with: python tools/fetch_models.py {name}")
    return path


def golden(name):
    with np.load(GOLDEN / f"{name}.npz") as opened:
        return dict(opened)


def by_reference(graph, inputs):
    return reference.run(graph, inputs)[0]


def by_engine(graph, inputs):
    import rnnrt

    return rnnrt.from_graph(graph).run(inputs)


@pytest.fixture(params=["reference", "engine"])
def answer(request):
    """f(graph, {input: array}) -> {output: array}, once by the oracle and once by the engine."""
    if request.param == "engine":
        need("rnnrt._engine")
    return {"reference": by_reference, "engine": by_engine}[request.param]


def assert_close(made, graph, inputs, recorded):
    """Within max(1e-5, twice the framework's own float32 error) of float64; and float64 itself within float32
    rounding of the record.
    """
    exact = next(iter(by_reference(graph, inputs).values())).reshape(recorded.shape)
    framework_error = np.abs(recorded - exact).max()
    assert framework_error <= 1e-5 * max(1.0, np.abs(exact).max())
    assert np.abs(made.reshape(recorded.shape) - exact).max() <= max(1e-5, 2 * framework_error)


def test_dgaintel_tells_domains_from_noise(answer):
    """Legacy Keras 2.2 .h5: Embedding, Conv1D same, MaxPool1D same, LSTM, Dense."""
    need("h5py")
    graph, record = keras_importer.read(model_path("dgaintel.h5")), golden("dgaintel")
    inputs = {graph.inputs[0]: record["x0"]}
    (made,) = answer(graph, inputs).values()
    assert_close(made, graph, inputs, record["y0"])
    assert (made.ravel() > 0.5).tolist() == [False, False, True, True, False, True]


@pytest.mark.parametrize("name", ["6960", "75cc", "157e"])
def test_deeplc(answer, name):
    """Keras 3 functional .keras: four inputs, Conv1D towers with even kernels and padding same, pooling,
    Flatten, nine Dense.
    """
    need("h5py")
    graph, record = keras_importer.read(model_path(f"deeplc_{name}.keras")), golden(f"deeplc_{name}")
    inputs = {n: record[f"x{k}"] for k, n in enumerate(graph.inputs)}
    (made,) = answer(graph, inputs).values()
    assert_close(made, graph, inputs, record["y"])


@pytest.mark.parametrize("name", ["wrn-gru-mesa", "ws-gru-mesa"])
def test_sleepecg(answer, name):
    """Keras 3 .keras in an archive: Masking, BatchNormalization, 2 x Bidirectional GRU. Epochs that were not
    recorded are -1, at the end of a night and within one; there the head sees zeros.
    """
    need("h5py")
    with zipfile.ZipFile(model_path(f"sleepecg_{name}.zip")) as archive:
        graph = keras_importer.read(archive.read("classifier.keras"))
    x = np.random.RandomState(0).randn(3, 200, 36).astype(np.float32)
    x[1, 150:] = x[2, 40:60] = -1
    inputs, recorded = {graph.inputs[0]: x}, golden(f"sleepecg_{name}")["y"]
    (made,) = answer(graph, inputs).values()
    assert_close(made, graph, inputs, recorded)
    assert np.ptp(made[1, 150:], axis=0).max() == np.ptp(made[2, 40:60], axis=0).max() == 0
    assert np.ptp(made[0], axis=0).max() > 0.1


@pytest.mark.parametrize("number", [1, 2, 3])
def test_beatnet(answer, number):
    """A torch zip state dict by a spec: a convolution inside each frame, 2 x LSTM(150)."""
    graph, record = (
        torch_importer.read(model_path(f"beatnet_{number}.pt"), BEATNET),
        golden(f"beatnet_{number}"),
    )
    inputs = {"input": record["x"]}
    (made,) = answer(graph, inputs).values()
    assert_close(made, graph, inputs, record["y"].T[None])


def test_beatnet_streams_frame_by_frame():
    """As its users call it: one frame every 20 ms, state carried; the bits are those of the whole
    sequence.
    """
    need("rnnrt._engine")
    import rnnrt

    x = golden("beatnet_1")["x"]
    model = rnnrt.from_graph(torch_importer.read(model_path("beatnet_1.pt"), BEATNET))
    stream = model.stream()
    stepped = np.stack([stream.step(frame) for frame in x[0]])
    assert stepped.tobytes() == model(x)[0].tobytes()


def test_g2p_encoder(answer):
    """An .npz of a GRU under names of its own."""
    graph, record = torch_importer.read(model_path("g2p_en.npz"), G2P_EMBEDDED_ENCODER), golden("g2p_en")
    inputs = {"input": record["x"]}
    (made,) = answer(graph, inputs).values()
    assert_close(made, graph, inputs, record["enc"])


WORD = "cythonized"
START, END, LONGEST = 2, 3, 20


def graphemes(word):
    return [3 + ord(c) - ord("a") for c in word] + [2]  # 2 ends a word; 0 pads, 1 is unknown


def greedy(step, state):
    """The token loop: (token, state) -> (logits, state), until END."""
    token, made = START, []
    while len(made) < LONGEST:
        logits, state = step(token, state)
        token = int(logits.argmax())
        if token == END:
            break
        made.append(token)
    return made


def test_g2p_spells_a_word_by_the_reference():
    encoder, decoder = (
        torch_importer.read(model_path("g2p_en.npz"), spec) for spec in (G2P_ENCODER, G2P_DECODER)
    )
    _, states = reference.run(encoder, {"input": np.array([graphemes(WORD)])})

    def step(token, state):
        made, state = reference.run(decoder, {"input": np.array([[token]])}, initial_state=state)
        return made["output"][0, 0], state

    assert greedy(step, {"dec.l0/h": states["enc.l0/h"]}) == golden("g2p_en")["phonemes"].tolist()


def test_g2p_spells_a_word_by_streams():
    """Encoder whole, its final state into the decoder's stream, one token a step."""
    need("rnnrt._engine")
    import rnnrt

    encoder, decoder = (
        rnnrt.from_graph(torch_importer.read(model_path("g2p_en.npz"), spec))
        for spec in (G2P_ENCODER, G2P_DECODER)
    )
    encoded = encoder(np.array(graphemes(WORD)))
    stream = decoder.stream()
    stream.state = {"dec.l0/h": encoded[-1]}

    def step(token, state):
        return stream.step(np.array(token)), state

    assert greedy(step, None) == golden("g2p_en")["phonemes"].tolist()
