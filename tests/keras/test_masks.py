"""Masks of Keras: as the versions of Keras that wrote the files answered, across cuts, written out."""

import io
import json
import zipfile

import masked_networks
import numpy as np
import pytest
from keras_records import FOLDER, file, find, with_config, with_hdf5, with_weights

import rnnrt
from rnnrt import reference, verification
from rnnrt.errors import UnsupportedModelError
from rnnrt.importers.keras import reader as importer

CLASSIFIER = "text_classifier.keras"
RECORDS = zipfile.ZipFile(FOLDER / "masks.zip")
MODELS = sorted(name for name in RECORDS.namelist() if not name.endswith(".npz"))


def recorded(name):
    """(inputs, outputs) of a recorded model."""
    with np.load(io.BytesIO(RECORDS.read(name.rpartition(".")[0] + ".npz"))) as arrays:
        count = lambda letter: sum(key[0] == letter for key in arrays.files)
        return tuple([arrays[f"{letter}{k}"] for k in range(count(letter))] for letter in "xy")


def model_of(data, **options):
    return rnnrt.from_graph(importer.read(data, **options))


def of_class(config, class_name):
    return next(x for x in config["config"]["layers"] if x["class_name"] == class_name)


def answers(model, *inputs):
    made = model(*inputs)
    return list(made) if isinstance(made, tuple) else [made]


def assert_close(found, wanted, tolerance=2e-5):
    """A mean over no frames is NaN in both."""
    assert found.shape == wanted.shape and (np.isnan(found) == np.isnan(wanted)).all()
    assert np.abs(np.nan_to_num(found - wanted)).max(initial=0) < tolerance


@pytest.mark.parametrize("name", MODELS)
def test_a_recorded_network_answers_as_the_keras_that_wrote_it(name):
    inputs, outputs = recorded(name)
    model = model_of(RECORDS.read(name))
    for found, wanted in zip(answers(model, *inputs), outputs, strict=True):
        assert_close(found, wanted)
    meaning, _ = reference.run(model.graph, dict(zip(model.graph.inputs, inputs)))
    for found, wanted in zip(meaning.values(), outputs, strict=True):
        assert_close(found, wanted)


def test_the_recorded_networks_are_those_of_three_sets_of_rules():
    versions = {name.split(".", 1)[1].rpartition(".")[0] for name in MODELS}
    assert {v[:3] for v in versions} >= {"2.1", "3.3", "3.1"}
    names = {make.__name__ for make in masked_networks.NETWORKS + masked_networks.ON_TENSORFLOW}
    assert {name.partition(".")[0] for name in MODELS if ".2." in name} == names
    rows = masked_networks.patterns()
    assert rows[0].all() and not rows[4].any() and len(rows) == len({row.tobytes() for row in rows})


@pytest.mark.parametrize("name", [n for n in MODELS if n.startswith("chain")])
def test_a_stream_of_a_masked_network_needs_no_mask(name):
    """All but what goes backwards, which streams nowhere."""
    (x,), _ = recorded(name)
    rest = model_of(RECORDS.read(name)).graph.layers
    relu = next(x.name for x in rest if x.kind == "activation")
    model = model_of(RECORDS.read(name), outputs=[relu])
    stream = model.stream(len(x))
    made = [stream.step(x[:, t]) for t in range(4)] + [stream.push(x[:, 4:])]
    made = np.concatenate([np.stack(made[:4], 1), made[4]], 1)
    assert made.tobytes() == model(x).tobytes()


def test_a_recurrence_that_is_masked_streams(tmp_path):
    data = masked_chain(random_weights=True)
    model = model_of(data, outputs=["lstm"])
    ids = np.array([[3, 0, 5, 2, 0, 0, 1], [0, 0, 4, 4, 0, 2, 0]])
    assert model.streamable
    stream = model.stream(2, every_step=True)
    for t in range(ids.shape[1]):
        assert stream.step(ids[:, t]).tobytes() == model(ids[:, : t + 1]).tobytes()
    alone = [model(row[row != 0]) for row in ids]
    assert_close(model(ids), np.stack(alone), 1e-6)


# ---- where masks end, and cuts -----------------------------------------------------------------------------


def masked(change=lambda config: None, mask_zero=True):
    def both(config):
        find(config, "embedding")["config"]["mask_zero"] = mask_zero
        change(config)

    return with_config(file(CLASSIFIER), both)


def masked_chain(random_weights=False, mask_zero=True):
    """Embedding (mask_zero) -> Dropout -> Dropout -> LSTM -> ...: the mask reaches the LSTM."""
    rng = np.random.default_rng(3)

    def pass_on(config):
        for name in ("conv1d", "max_pooling1d"):
            find(config, name).update(class_name="Dropout", config={"name": name, "rate": 0.5})
        find(config, "lstm")["build_config"] = {"input_shape": [None, None, 7]}

    def fit(opened):
        del opened["layers/conv1d"], opened["layers/lstm/cell/vars/0"]
        kernel = rng.standard_normal((7, 24)) if random_weights else np.zeros((7, 24))
        opened["layers/lstm/cell/vars/0"] = kernel.astype(np.float32)

    return with_weights(masked(pass_on, mask_zero), fit)


def test_a_mask_that_nobody_consults_leaves_nothing_in_the_graph():
    made, plain = importer.read(masked()), importer.read(file(CLASSIFIER))  # the convolution ends it
    assert [x.kind for x in made.layers] == [x.kind for x in plain.layers]


@pytest.mark.parametrize("start", ["embedding", "spatial_dropout1d", "max_pooling1d"])
def test_a_part_of_a_network_does_not_drop_the_mask_that_crosses_its_cut(start):
    """The mask comes in beside the frames: as mask=, or as lengths=."""
    whole = model_of(masked_chain(random_weights=True))
    part = model_of(masked_chain(random_weights=True), inputs=[start])
    assert part.inputs == {start: (None, None, 7), f"{start}_mask": (None, None)}
    assert f"input '{start}_mask': the mask of layer 'embedding' (Embedding)" in part.assumptions[0]
    ids = np.array([[3, 0, 5, 2, 0, 0], [1, 2, 4, 0, 0, 0]])
    vectors = model_of(masked_chain(), outputs=["embedding"])(ids)
    assert_close(part(vectors, mask=ids != 0), whole(ids), 1e-6)
    assert_close(part(vectors[1:], lengths=[3]), whole(ids[1:]), 1e-6)
    assert np.abs(part(vectors) - whole(ids)).max() > 1e-3
    behind = importer.read(masked_chain(), inputs=["lstm"])  # return_sequences=False ends the mask
    assert behind.inputs == ("lstm",)


def test_a_part_whose_output_carries_a_mask_says_so():
    words = "layer 'max_pooling1d': its output carries the mask of layer 'embedding'"
    made = importer.read(masked_chain(), outputs=["max_pooling1d"])
    assert words in made.metadata["assumptions"][0]


def test_the_advice_says_that_a_part_takes_a_mask():
    def unknown(config):
        find(config, "conv1d").update(class_name="Lambda", config={"name": "conv1d"})

    words = "input 'max_pooling1d_mask': the mask of layer 'embedding'"
    with pytest.raises(UnsupportedModelError, match=rf"inputs=\['max_pooling1d'\]\. {words}.*mask="):
        importer.read(with_config(masked_chain(), unknown))


def test_a_cut_before_a_mask_that_is_written_out_takes_the_mask_as_an_input():
    name = next(n for n in MODELS if n.startswith("stacks.3.15"))
    (x,), _ = recorded(name)
    data = RECORDS.read(name)
    graph = importer.read(data)
    gru = next(o.name for o in graph.outputs if o.name.startswith("gru"))
    below = graph[graph[gru].inputs[0]].name
    part = model_of(data, inputs=[below], outputs=[gru])
    assert len(part.inputs) == 2 and part.graph.mask_inputs == (list(part.inputs)[1],)
    whole = model_of(data, outputs=[below, gru])
    frames, wanted = whole(x)
    assert_close(part(frames, mask=(x != -1).any(-1)), wanted, 1e-6)


# ---- masks that a caller gives to a network without any ----------------------------------------------------


def forecaster():
    """An LSTM and what follows it in the classifier, without any mask."""
    return model_of(masked_chain(random_weights=True, mask_zero=False), inputs=["embedding"])


def test_lengths_are_a_mask_of_the_first_frames():
    model, x = forecaster(), np.random.default_rng(1).standard_normal((3, 6, 7)).astype(np.float32)
    lengths = [6, 2, 4]
    made = model(x, lengths=lengths)
    mask = np.arange(6) < np.array(lengths)[:, None]
    assert made.tobytes() == model(x, mask=mask).tobytes()
    alone = [model(row[:n]) for row, n in zip(x, lengths)]
    assert_close(made, np.stack(alone), 1e-6)
    assert model(x).tobytes() != made.tobytes() and model.inputs.keys() == {"embedding"}
    _, state = model(x, lengths=lengths, return_state=True)
    assert model(x, initial_state=state).shape == made.shape
    rows = [row[:n] for row, n in zip(x, lengths)]
    masks = [np.arange(n) % 2 == 0 for n in lengths]
    for row, m, y in zip(rows, masks, model(rows, mask=masks)):
        assert y.tobytes() == model(row, mask=m).tobytes()


def test_masks_of_a_network_in_which_nobody_asks_for_one_are_refused():
    model = model_of(file(CLASSIFIER))  # a convolution ends it
    ids = np.ones((2, 20))
    with pytest.raises(UnsupportedModelError, match="mask= means nothing to this model"):
        model(ids, mask=ids)
    with pytest.raises(UnsupportedModelError, match="lengths= means nothing.*no layer"):
        model(ids, lengths=[3, 4])
    chained = model_of(masked_chain())  # Embedding makes its own
    with pytest.raises(UnsupportedModelError, match="lengths= means nothing"):
        chained(ids, lengths=[3, 4])


def test_a_masked_form_that_was_tampered_with_is_refused():
    graph = forecaster().graph
    said, x = graph.metadata["masked"], np.zeros((1, 4, 7), np.float32)
    new = {"kind": "dense", "name": "d", "inputs": ["lstm"], "weight": "lstm/weight", "bias": None}
    for wrong in (
        3,
        {},
        said | {"layers": ["nobody"]},
        said | {"layers": [{"like": "lstm", "secret": 1}]},
        said | {"layers": [*said["layers"], new]},
        said | {"outputs": [["y", "nothing", "btf"]]},
        said | {"inputs": ["embedding"]},
    ):
        changed = graph.replace(graph.layers, metadata=graph.metadata | {"masked": wrong})
        with pytest.raises(rnnrt.ModelFileError, match="masked form is not understood"):
            rnnrt.from_graph(changed)(x, lengths=[3])
    said = graph.replace(graph.layers, metadata=graph.metadata | {"masked": "for a reason"})
    with pytest.raises(UnsupportedModelError, match="cannot be masked: for a reason"):
        rnnrt.from_graph(said)(x, lengths=[3])


# ---- masks written out -------------------------------------------------------------------------------------


def operation(name, class_name, config, *args):
    return {
        "module": "keras.src.ops.numpy",
        "class_name": class_name,
        "config": config,
        "registered_name": class_name,
        "name": name,
        "inbound_nodes": [{"args": list(args), "kwargs": {}}],
    }


def tensor(name, *shape):
    config = {"shape": [None, *shape], "dtype": "float32", "keras_history": [name, 0, 0]}
    return {"class_name": "__keras_tensor__", "config": config}


def with_mask(*operations, name="shared", last="mask"):
    """branches.keras, in which the layer ``name`` is called with the mask that the operations make."""

    def give(config):
        layers = config["config"]["layers"]
        node = find(config, name)["inbound_nodes"][0]
        layers[3:3] = [make(node["args"][0]) for make in operations]
        node["kwargs"]["mask"] = tensor(last, None)

    return with_config(file("branches.keras"), give)


def test_masks_recorded_as_arguments_are_masks():
    """Keras 3 writes the mask that flows into a layer of a functional model as one of its arguments."""
    data = with_mask(
        lambda x: operation("unequal", "NotEqual", {"name": "unequal"}, x, 0.25),
        lambda x: operation("mask", "Any", {"axis": [-1], "keepdims": False}, tensor("unequal", None, 3)),
    )
    made = importer.read(data)
    shared, *_ = [x for x in made.layers if getattr(x, "mask", None)]
    assert made[shared.mask].kind == "not_equal" and made[shared.mask].value == 0.25
    assert made[shared.mask].inputs == shared.inputs
    plain = importer.read(data, outputs=["key"])  # which needs no part of it
    assert not any(x.kind == "not_equal" for x in plain.layers)


@pytest.mark.parametrize(
    "operations",
    [
        [lambda x: operation("mask", "NotEqual", {"name": "mask"}, x, 0)],  # one flag a number
        [lambda x: operation("mask", "Isnan", {"name": "mask"}, x)],
        [lambda x: operation("mask", "NotEqual", {"name": "mask"}, x, x)],
        [
            lambda x: operation("unequal", "NotEqual", {"name": "unequal"}, x, 0),
            lambda x: operation("mask", "All", {"axis": -1}, tensor("unequal", None, 3)),
        ],
        [
            lambda x: operation("unequal", "NotEqual", {"name": "unequal"}, x, 0),
            lambda x: operation("mask", "Any", {"axis": 1}, tensor("unequal", None, 3)),
        ],
    ],
)
def test_a_mask_made_in_a_way_that_is_not_known_is_refused_by_name(operations):
    with pytest.raises(UnsupportedModelError, match="'(shared|mask|unequal)'.*(mask|Isnan)"):
        importer.read(with_mask(*operations))


# ---- refusals ----------------------------------------------------------------------------------------------


def test_what_would_lay_a_mask_along_other_axes_is_refused():
    def softmax(config):
        find(config, "max_pooling1d").update(class_name="Softmax", config={"name": "max_pooling1d"})
        find(config, "conv1d").update(class_name="Dropout", config={"name": "conv1d", "rate": 0.5})

    data = with_weights(masked(softmax), lambda opened: opened.__delitem__("layers/conv1d"))
    with pytest.raises(UnsupportedModelError, match=r"'max_pooling1d' \(Softmax\).*mask.*'embedding'"):
        importer.read(data)


def test_files_whose_masks_depend_on_a_version_that_they_do_not_say_are_refused():
    """What a merge makes of masks changed in Keras 3 and in 3.4; to_json() does not say which wrote it."""
    name = next(n for n in MODELS if n.startswith("merged.3.15"))
    with zipfile.ZipFile(io.BytesIO(RECORDS.read(name))) as archive:
        weights, config = archive.read("model.weights.h5"), json.loads(archive.read("config.json"))
    with pytest.raises(UnsupportedModelError, match=r"does not say which Keras 3.*keras_version"):
        importer.read(weights, json.dumps(config))
    made = importer.read(weights, json.dumps(config | {"keras_version": "3.15.0"}))
    assert len(made.outputs) == len(recorded(name)[1])


def test_a_mask_value_that_is_not_a_number_is_refused():
    name = next(n for n in MODELS if n.startswith("chain.3.15"))
    (x,), (wanted,) = recorded(name)

    def masking(value):
        return with_config(
            RECORDS.read(name), lambda c: of_class(c, "Masking")["config"].update(mask_value=value)
        )

    assert np.abs(model_of(masking(12.5))(x) - wanted).max() > 1e-3
    with pytest.raises(rnnrt.RnnrtError, match="mask_value"):
        model_of(masking([0.0, 1.0]))


def test_a_sample_of_a_masked_network_has_masked_frames_and_the_scale_of_its_norm():
    """What verify compares must be able to tell a mask that is ignored."""
    name = next(n for n in MODELS if n.startswith("chain.3.15"))
    graph = importer.read(RECORDS.read(name))
    x = verification.sample_inputs(graph, time=40)["frames"]
    masked = (x == -1).all(-1)
    assert masked[0, 0] and not masked[:, -1].any() and 0.1 < masked.mean() < 0.5
    (norm,) = [layer for layer in graph.layers if layer.kind == "batch_normalization"]
    assert verification.input_norm(graph, "frames") is norm
    words = importer.read(masked_chain(random_weights=True))
    ids = verification.sample_inputs(words, time=40)["ids"]
    assert ids[0, 0] == 0 and ids[:, -1].all() and 0.1 < (ids == 0).mean() < 0.6


def of_version(data, version):
    def say(opened):
        for group in (opened, opened["model_weights"]):
            if "keras_version" in group.attrs:
                group.attrs["keras_version"] = version

    return with_hdf5(data, say)


def test_masked_frames_of_a_bidirectional_are_zeros_but_where_keras_2_stood_alone():
    data = RECORDS.read(next(n for n in MODELS if n.startswith("chain.2")))
    for version, output in (("2.2.4", "hold"), ("2.3.1", "hold"), ("2.2.4-tf", "zero"), ("2.4.0", "zero")):
        layers = importer.read(of_version(data, version)).layers
        found = {x.name.rpartition(".")[2]: x.masked_output for x in layers if x.kind == "gru"}
        assert found == {"forward": output, "backward": output}, version
    started = RECORDS.read(next(n for n in MODELS if n.startswith("stacks.2")))
    with pytest.raises(UnsupportedModelError, match="initial_state and the mask of"):
        importer.read(of_version(started, "2.3.1"))
