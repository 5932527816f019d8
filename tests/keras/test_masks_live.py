"""Masks against the installed Keras: every layer that does something to one, on rows that are real
throughout, ragged, left-padded, with holes, masked throughout or at one frame.
"""

import json
import warnings
import zipfile

import masked_networks
import numpy as np
import pytest
from masked_networks import NETWORKS
from needs import need

import rnnrt
from rnnrt.importers.keras.layers import LAYERS
from rnnrt.importers.keras.mask_rules import ENDS, MERGES, PASSES
from rnnrt.importers.keras.recurrent import RECURRENT
from rnnrt.importers.keras.tensorflow import TENSORFLOW

pytestmark = pytest.mark.filterwarnings("ignore")


def distance(found, wanted):
    """The greatest difference; NaN only where both are (a mean over no frames)."""
    assert found.shape == wanted.shape and (np.isnan(found) == np.isnan(wanted)).all()
    return np.abs(np.nan_to_num(found - wanted)).max(initial=0)


@pytest.fixture(scope="module")
def keras():
    module = need("keras")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras says where a mask ends
        yield module


@pytest.mark.parametrize("make", NETWORKS, ids=lambda make: make.__name__)
def test_masks_flow_as_in_keras(keras, make, tmp_path):
    model, given = masked_networks.built(make, keras, seed=1)
    inputs = list(given.values())
    answers = model(inputs if len(inputs) > 1 else inputs[0])
    answers = [np.asarray(y.detach()) for y in (answers if isinstance(answers, (list, tuple)) else [answers])]
    sources = [model]
    large = make.__name__ in ("recurrent", "between", "stacks")  # which stand among the records as .h5
    for suffix in (".keras",) if large else (".keras", ".h5"):
        model.save(tmp_path / f"model{suffix}")
        sources.append(tmp_path / f"model{suffix}")
    for source in sources:
        made = rnnrt.from_keras(source)
        found = made(*inputs)
        found = found if isinstance(found, tuple) else (found,)
        for output, a, b in zip(made.graph.outputs, found, answers, strict=True):
            assert distance(a, b) < 2e-5, (output.name, source)


def test_what_a_layer_does_with_a_mask_is_known_of_every_layer_that_is_read(keras):
    own = {"Concatenate", "Masking", "Embedding", "GlobalAveragePooling1D"}
    own |= {"Attention", "AdditiveAttention", "Dot"}
    refused = {"MultiHeadAttention"}  # behind a mask, by name: test_attention.py
    known = PASSES | MERGES | ENDS | own | refused
    assert set(LAYERS) | set(RECURRENT) <= known | set(RECURRENT)
    assert not PASSES & ENDS and not MERGES & (PASSES | ENDS)
    arguments = {
        "Dense": (2,),
        "Activation": ("relu",),
        "TimeDistributed": (keras.layers.ReLU(),),
        "Conv1D": (2, 1),
        "Conv1DTranspose": (2, 1),
        "DepthwiseConv1D": (1,),
        "SeparableConv1D": (2, 1),
        "Conv2D": (2, 1),
        "Conv2DTranspose": (2, 1),
        "DepthwiseConv2D": (1,),
        "SeparableConv2D": (2, 1),
        "Reshape": ((2, 3),),
        "Permute": ((2, 1),),
        "RepeatVector": (2,),
        "Embedding": (2, 2),
        "Rescaling": (2.0,),
        **dict.fromkeys(("AdaptiveAveragePooling1D", "AdaptiveMaxPooling1D"), (2,)),
        **dict.fromkeys(("Dropout", "SpatialDropout1D", "SpatialDropout2D"), (0.1,)),
        **dict.fromkeys(("GaussianNoise", "GaussianDropout"), (0.1,)),
        **dict.fromkeys(("AlphaDropout", "ActivityRegularization"), (0.1,)),
        **dict.fromkeys(("AveragePooling1D", "MaxPooling1D", "AveragePooling2D", "MaxPooling2D"), (2,)),
    }
    for name in sorted((PASSES | MERGES | ENDS) - set(TENSORFLOW)):  # Keras 3 has no such layers
        layer = getattr(keras.layers, name)(*arguments.get(name, ()))
        passes = name in PASSES | MERGES or name == "GlobalAveragePooling1D"
        assert layer.supports_masking == passes, name


def test_normalization_hands_a_mask_on(keras, tmp_path):
    L, rng = keras.layers, np.random.default_rng(8)
    x = keras.Input((None, 4))
    y = L.Normalization(mean=[1.0, 2, 3, 4], variance=[0.5, 1, 2, 1])(L.Masking(-1.0)(x))
    model = keras.Model(x, [L.GRU(3, return_sequences=True)(y), L.LSTM(2)(y)])
    given = masked_networks.frames(rng, masked_networks.patterns(), -1.0)
    model.save(tmp_path / "m.keras")
    for found, wanted in zip(rnnrt.from_keras(tmp_path / "m.keras")(given), model(given), strict=True):
        assert distance(found, np.asarray(wanted.detach())) < 2e-5


@pytest.mark.parametrize("kind", ["dot", "concat", "additive"])
def test_attention_leaves_masked_frames_out(keras, kind, tmp_path):
    """Masks of queries, of values, of both; where all values are masked, all count alike."""
    L, rng = keras.layers, np.random.default_rng(9)
    make = lambda: L.AdditiveAttention() if kind == "additive" else L.Attention(True, score_mode=kind)
    x, z = keras.Input((masked_networks.LENGTH, 4)), keras.Input((masked_networks.LENGTH, 4))
    a, b = L.Masking(-1.0)(x), L.Masking(-1.0)(z)
    made = [make()(parts) for parts in ([a, b], [a, z], [x, b], [a, b, z])]
    made += [L.GRU(2, return_sequences=True)(y) for y in made]
    made.append(make()([L.Reshape((1, 4))(L.GRU(4)(a)), b]))
    model = keras.Model([x, z], made)
    masks = masked_networks.patterns()
    given = [masked_networks.frames(rng, m, -1.0) for m in (masks, np.roll(masks, 2, axis=0))]
    model.save(tmp_path / "m.keras")
    for source in (model, tmp_path / "m.keras"):
        for found, wanted in zip(rnnrt.from_keras(source)(*given), model(given), strict=True):
            assert distance(found, np.asarray(wanted.detach())) < 2e-5


def test_masked_values_of_an_older_keras_3_are_refused(keras, tmp_path):
    """Before 3.12 it takes the rows of a batch for its queries."""
    L = keras.layers
    x = keras.Input((5, 4))
    a = L.Masking(-1.0)(x)
    path = tmp_path / "m.keras"
    keras.Model(x, L.Attention()([a, a])).save(path)
    with zipfile.ZipFile(path) as held:
        files = {name: held.read(name) for name in held.namelist()}
    said = json.loads(files["metadata.json"]) | {"keras_version": "3.9.2"}
    with zipfile.ZipFile(path, "w") as held:
        for name, data in (files | {"metadata.json": json.dumps(said).encode()}).items():
            held.writestr(name, data)
    with pytest.raises(rnnrt.UnsupportedModelError, match=r"3\.9\.2\. Load the model with Keras 3\.12"):
        rnnrt.from_keras(path)


def unmasked(keras):
    """Networks without masks of their own, which Keras may be given: (network, its inputs)."""
    L, rng = keras.layers, np.random.default_rng(4)
    x = lambda width=masked_networks.WIDTH: rng.normal(size=(7, masked_networks.LENGTH, width)).astype("f")
    chain = [L.Dense(3), L.Bidirectional(L.GRU(3, return_sequences=True)), L.LSTM(3), L.Dense(2)]
    yield keras.Sequential([keras.Input((None, 4)), *chain]), [x()]
    chain = [L.LSTM(3, return_sequences=True, go_backwards=True), L.BatchNormalization()]
    yield keras.Sequential([keras.Input((9, 4)), *chain, L.GlobalAveragePooling1D()]), [x()]
    a, b = keras.Input((None, 4)), keras.Input((None, 4))
    p, q = L.Concatenate()([a, b]), L.Add()([a, L.Dense(4)(b)])
    state = L.GRU(3)(a)
    made = [L.GRU(2)(p), L.LSTM(2, return_sequences=True)(q), L.GRU(3)(b, initial_state=state)]
    yield keras.Model([a, b], made), [x(), x()]


def test_a_network_is_masked_as_keras_masks_it_when_it_is_called(keras, tmp_path):
    for number, (model, inputs) in enumerate(unmasked(keras)):
        given = [np.roll(masked_networks.patterns(), 2 * k, axis=0) for k in range(len(inputs))]
        one = len(inputs) == 1
        tensors = [keras.ops.convert_to_tensor(m) for m in given]
        answers = model(inputs[0] if one else inputs, mask=tensors[0] if one else tensors)
        answers = answers if isinstance(answers, (list, tuple)) else [answers]
        model.save(tmp_path / f"{number}.keras")
        made = rnnrt.from_keras(tmp_path / f"{number}.keras")
        made.save(tmp_path / f"{number}.rnnrt")
        names = [f"{name}_mask" for name in made.inputs]
        mask = given[0] if one else dict(zip(names, given))
        for source in (made, rnnrt.load(tmp_path / f"{number}.rnnrt")):
            found = source(*inputs, mask=mask)
            for a, b in zip(found if isinstance(found, tuple) else [found], answers, strict=True):
                assert distance(a, np.asarray(b.detach())) < 2e-5
        assert made.inputs.keys() == rnnrt.from_graph(made.graph).inputs.keys()


def test_a_stream_is_masked_as_keras_masks_the_whole(keras):
    L = keras.layers
    chain = [
        L.LSTM(3, return_sequences=True),
        L.Dense(3, "tanh"),
        L.GRU(3, return_sequences=True, zero_output_for_mask=True),
    ]
    model = keras.Sequential([keras.Input((None, 4)), *chain])
    mask = masked_networks.patterns()
    x = np.random.default_rng(6).normal(size=(*mask.shape, 4)).astype("f")
    expected = np.asarray(model(x, mask=keras.ops.convert_to_tensor(mask)).detach())
    made = rnnrt.from_keras(model)
    stream = made.stream(len(mask), masked=True)
    steps = np.stack(
        [stream.step(np.ascontiguousarray(x[:, t]), mask=mask[:, t]) for t in range(x.shape[1])], 1
    )
    assert steps.tobytes() == made(x, mask=mask).tobytes()
    assert distance(steps, expected) < 2e-5
    streams = [made.stream(masked=True) for _ in mask]
    for t in range(x.shape[1]):
        y = np.stack(made.step_many(streams, np.ascontiguousarray(x[:, t]), mask=mask[:, t]))
        assert y.tobytes() == np.ascontiguousarray(steps[:, t]).tobytes()
