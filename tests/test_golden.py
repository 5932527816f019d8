"""The golden sample: answered by the source framework where that can run it, kept with its provenance, and
judged by ``Model.verify``.
"""

import gc
import hashlib
import json
import subprocess
import sys
import weakref
import zipfile
from dataclasses import replace

import keras_records as records
import numpy as np
import pytest
from needs import need

import rnnrt
from rnnrt import golden, importers, reference, verification
from rnnrt.command import demo
from rnnrt.errors import UnsupportedModelError, VerificationError
from rnnrt.format import file
from rnnrt.graph import GraphBuilder
from rnnrt.importers.keras.rewrite import rewrite
from rnnrt.layers import LSTM, Conv1D, Dense

need("h5py")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

LSTM_KERAS = demo.FOLDER / "lstm.keras"
WHY = "golden_by_reference_because"


@pytest.fixture
def destination(tmp_path):
    return tmp_path / "model.rnnrt"


def keras_name():
    keras = need("keras")
    return f"keras {keras.__version__} ({keras.backend.backend()})"


def recorded(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(records.file(name))
    return path


# ---- files in Keras ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["forecaster.keras", "text_classifier.keras", "branches.keras", "words.h5", "cells.keras"]
)
def test_keras_answers_for_its_own_file(tmp_path, destination, name):
    by, source = keras_name(), recorded(tmp_path, name)
    made = rnnrt.convert(source, destination)
    assert made.golden_by == by and WHY not in made.provenance
    stored = file.load(destination)
    assert stored.golden_by == by
    exact, _ = reference.run(stored.graph, stored.golden[0])
    for output, y in stored.golden[1].items():
        assert 0 < np.abs(y - exact[output]).max() < 1e-5, (
            "float32 answers of another program are near the reference, never equal to it"
        )
    assert rnnrt.load(destination, verify=True).golden_by == by


def test_a_file_says_where_it_came_from(destination):
    rnnrt.convert(LSTM_KERAS, destination, golden="reference")
    found = file.load(destination).provenance
    digest = hashlib.sha256(LSTM_KERAS.read_bytes()).hexdigest()
    assert (
        found["file"] == "lstm.keras"
        and found["sha256"] == digest
        and found["format"] == "keras-v3"
        and found["source"] == "keras"
    )
    assert found["keras_version"].startswith("3.") and found["assumptions"] == []


def test_no_framework_is_imported_but_for_a_file_to_write(destination):
    code = (
        "import os, sys, rnnrt\n"
        f"rnnrt.convert({str(LSTM_KERAS)!r}).verify(); rnnrt.from_keras({str(LSTM_KERAS)!r}); loaded = "
        f"'keras' in sys.modules\n"
        f"made = rnnrt.convert({str(LSTM_KERAS)!r}, {str(destination)!r}, golden='reference'); loaded |= "
        f"'keras' in sys.modules\n"
        f"by = rnnrt.convert({str(LSTM_KERAS)!r}, {str(destination)!r}).golden_by\n"
        "print(loaded, made.golden_by, 'KERAS_BACKEND' in os.environ, by.partition(' ')[0], sep='|')"
    )
    need("keras")
    environment = {k: v for k, v in golden.os.environ.items() if k != "KERAS_BACKEND"}
    folder = importers.__file__.rpartition("/rnnrt/")[0]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["False|reference|False|keras"], done.stderr


def test_what_keras_cannot_answer_for_says_why(tmp_path, destination, monkeypatch):
    keras_name()

    def reason(source, **options):
        made = rnnrt.convert(source, destination, **options)
        assert made.golden_by == "reference" and rnnrt.load(destination, verify=True).golden_by == "reference"
        return made.provenance[WHY]

    assert "'LNSimpleRNNCell'" in reason(demo.FOLDER / "ln_rnn.keras")
    assert "written by keras 2.2.4" in reason(recorded(tmp_path, "old_words.keras2.2.4.h5"))
    assert "only a part" in reason(LSTM_KERAS, outputs=["lstm_2"])
    assert "weights alone" in reason(
        recorded(tmp_path, "branches.weights.h5"), spec=records.file("branches.json").decode()
    )

    def refuse(*_, **__):
        raise TypeError("Could not locate class\nand much more")

    def absent(_):
        raise golden.importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(sys.modules["keras"].saving, "load_model", refuse)
    assert reason(LSTM_KERAS) == "keras cannot load the file (TypeError: Could not locate class)"
    monkeypatch.setattr(golden.importlib.metadata, "version", absent)
    assert reason(LSTM_KERAS) == "keras is not installed"


def test_a_state_dict_has_nobody_to_ask(destination):
    made = rnnrt.convert(
        demo.FOLDER / "lstm_torch.pt", destination, spec=(demo.FOLDER / "lstm_torch.spec").read_text()
    )
    assert made.golden_by == "reference" and "weights alone" in made.provenance[WHY]
    rnnrt.convert({"weight_ih_l0": np.ones((8, 1)), "weight_hh_l0": np.ones((8, 2))}, destination)
    assert "no framework runs a mapping" in file.load(destination).provenance[WHY]


def test_a_rnnrt_file_keeps_its_sample(tmp_path, destination):
    graph = GraphBuilder()
    graph.output("y", graph.add(Dense, "fc", graph.input("x", (2,)), weight=np.ones((1, 2))))
    graph = graph.graph()
    file.save(
        graph,
        tmp_path / "first",
        golden=verification.reference_sample(graph),
        golden_by="torch 1.0",
        provenance={"file": "w.pt"},
    )
    rnnrt.convert(tmp_path / "first", destination)
    assert file.load(destination).golden_by == "torch 1.0" and file.load(destination).provenance == {
        "file": "w.pt"
    }


# ---- hostile files -----------------------------------------------------------------------------------------


def test_a_module_named_where_only_training_looks_is_never_imported(tmp_path, destination, monkeypatch):
    by = keras_name()
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    trap = {"module": "trap", "class_name": "Trap", "config": {}, "registered_name": None}

    def arm(config):
        for layer in config["config"]["layers"][1:]:
            layer["config"]["kernel_initializer"] = layer["config"]["bias_constraint"] = trap
        config["compile_config"] = {"loss": trap}

    source = tmp_path / "trap.keras"
    source.write_bytes(records.with_config(records.file("text_classifier.keras"), arm))
    assert rnnrt.convert(source, destination).golden_by == by and "trap" not in sys.modules
    with zipfile.ZipFile(rewrite(source, tmp_path)) as rewritten:
        assert b"trap" not in rewritten.read("config.json") and b"kernel_initializer" not in rewritten.read(
            "config.json"
        )


@pytest.mark.parametrize(
    "planted",
    [
        {
            "module": "keras.layers",
            "class_name": "TorchModuleWrapper",
            "config": {"name": "float32", "module": "AAAA"},
        },
        {"module": "keras.layers", "class_name": "Lambda", "config": {"name": "float32"}},
        {"module": "trap", "class_name": "DTypePolicy", "config": {"name": "float32"}},
        {"class_name": "__lambda__", "config": {"name": "float32", "value": "4wAA"}},
    ],
    ids=lambda p: f"{p.get('module')}.{p['class_name']}",
)
def test_an_object_planted_in_an_option_keeps_keras_from_the_file(tmp_path, destination, planted):
    keras_name()
    source = tmp_path / "planted.keras"
    source.write_bytes(records.with_layer("text_classifier.keras", "conv1d", dtype=planted))
    with pytest.raises(UnsupportedModelError, match="not one of Keras's own"):
        rewrite(source, tmp_path)
    made = rnnrt.convert(source, destination)
    assert made.golden_by == "reference" and planted["class_name"] in made.provenance[WHY]


def test_further_members_of_an_archive_are_not_handed_on(tmp_path):
    source = tmp_path / "assets.keras"
    source.write_bytes(
        records.repacked(records.file("words.keras"), lambda members: members.update({"assets/evil": b"x"}))
    )
    with pytest.raises(UnsupportedModelError, match="more than config"):
        rewrite(source, tmp_path)


# ---- live models -------------------------------------------------------------------------------------------


def torch_module():
    torch = need("torch")

    class Tagger(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.drop = torch.nn.Conv1d(3, 8, 3), torch.nn.Dropout(0.9)
            self.lstm, self.fc = torch.nn.LSTM(8, 5, batch_first=True), torch.nn.Linear(5, 2)

        def forward(self, x):
            made, state = self.lstm(self.drop(self.conv(x)).transpose(1, 2))
            return {"tags": self.fc(made), "last": made[:, -1], "state": state[0]}

    return Tagger()


def test_a_live_module_answers_at_once_and_is_left_as_it_was(destination):
    module = torch_module().train()
    module.fc.eval()
    model = rnnrt.from_torch(module)
    assert model.golden_by == f"torch {need('torch').__version__.partition('+')[0]}"
    assert module.training and module.drop.training and not module.fc.training
    with need("torch").no_grad():
        module.fc.weight += 1  # training goes on
    model.save(destination)
    assert rnnrt.load(destination, verify=True).golden_by == model.golden_by
    gone = weakref.ref(module)
    del module
    gc.collect()
    assert gone() is None, "an imported model keeps no module alive"


def test_ids_states_lengths_and_double_precision_reach_the_module():
    torch = need("torch")
    packing = torch.nn.utils.rnn

    class Words(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.gru = torch.nn.Embedding(11, 4), torch.nn.GRU(4, 3)

        def forward(self, words):
            return self.gru(self.table(words))

    class Packed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = torch.nn.GRU(3, 4, batch_first=True)

        def forward(self, x, lengths):
            packed = packing.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            return packing.pad_packed_sequence(self.gru(packed)[0], batch_first=True)[0]

    for module in (Words(), Words().double(), Packed(), torch.nn.GRU(3, 4, num_layers=2, bidirectional=True)):
        model = rnnrt.from_torch(module)
        assert model.golden_by.startswith("torch ") and model.verify() < 1e-6


def test_a_module_that_cannot_be_asked_says_why(destination):
    torch = need("torch")

    class Continued(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = torch.nn.GRU(3, 4, batch_first=True)

        def forward(self, x, h):
            return self.gru(x, h)[0]

    for module, why in (
        (Continued(), "could not be run: TypeError"),
        (torch.nn.Linear(3, 2).half(), "float32"),
    ):
        model = rnnrt.from_torch(module)
        assert model.golden_by == "reference" and why in model.provenance[WHY] and model.verify() < 1e-6
        model.save(destination)
        assert rnnrt.load(destination, verify=True).provenance[WHY] == model.provenance[WHY]


def test_a_live_keras_model_answers_at_once():
    keras, by = need("keras"), keras_name()
    first, second = keras.Input((None, 3), name="b"), keras.Input((4,), name="a")
    series = keras.layers.GRU(5, return_sequences=True)(first)
    top = keras.layers.Dense(2)(keras.layers.Concatenate()([keras.layers.LSTM(3)(series), second]))
    model = rnnrt.from_keras(keras.Model([first, second], {"z": series, "top": top}))
    assert model.golden_by == by and model.verify() < 1e-6
    fixed = keras.Sequential([keras.Input((7, 3), batch_size=1), keras.layers.LSTM(4)])
    assert rnnrt.from_keras(fixed).golden_by == by
    stateful = keras.Sequential([keras.Input((7, 3), batch_size=2), keras.layers.LSTM(4, stateful=True)])
    assert "is stateful" in rnnrt.from_keras(stateful).provenance[WHY]
    half = keras.Sequential([keras.Input((7, 3)), keras.layers.LSTM(4, dtype="mixed_bfloat16")])
    assert "computes in bfloat16" in rnnrt.from_keras(half).provenance[WHY]


# ---- judging -----------------------------------------------------------------------------------------------


def bent(graph, by=1e-3):
    """The graph with its last bias off by a little: an import gone wrong."""
    last = graph.layers[-1]
    return graph.replace([*graph.layers[:-1], replace(last, bias=last.bias + np.float32(by))])


def test_an_import_that_keras_does_not_agree_with_is_not_written(destination, monkeypatch):
    by, read = keras_name(), importers.read
    monkeypatch.setattr(importers, "read", lambda *a, **k: bent(read(*a, **k)))
    with pytest.raises(VerificationError) as refused:
        rnnrt.convert(LSTM_KERAS, destination)
    assert by in str(refused.value) and 1e-4 < float(refused.value.found) < 2e-3 and not destination.exists()
    rnnrt.convert(LSTM_KERAS, destination, golden="reference")  # which cannot know
    assert destination.exists()


def test_answers_of_another_shape_are_not_taken(monkeypatch):
    module = need("torch").nn.Linear(3, 2)
    traced = rnnrt.from_torch(module).graph
    wider = GraphBuilder()
    wider.output("output", wider.add(Dense, "fc", wider.input("input", (3,)), weight=np.ones((5, 3))))
    with pytest.raises(VerificationError, match="another shape"):
        golden.of(module, wider.graph())
    assert golden.of(module, traced).by.startswith("torch")


#: Twice the error of the reference in float32 on ``sensitive``: its sums have a written order, so it is the
#: same number everywhere.
ROUNDED = 0.004040970585265313


def sensitive():
    """A network whose float32 answers are off by far more than 1e-5: large terms that cancel."""
    b, weight = GraphBuilder(), np.random.default_rng(0).standard_normal((4, 300)) * 1e2
    weight[:, 150:] = -weight[:, :150] * (1 + 1e-6)
    hidden = b.add(Dense, "spread", b.input("x", (1,)), weight=np.ones((300, 1)), bias=np.full(300, 3.0))
    b.output("y", b.add(Dense, "cancel", hidden, weight=weight))
    return b.graph()


@pytest.mark.parametrize("by", ["reference", "torch 2"])
def test_rounding_is_allowed_twice_over_and_a_wrong_import_is_not(by):
    graph = sensitive()
    inputs, exact = verification.reference_sample(graph)
    answers = (
        exact
        if by == "reference"
        else {n: y.astype(np.float32) for n, y in reference.run(graph, inputs, dtype=np.float32)[0].items()}
    )
    model = rnnrt.Model(graph, golden=(inputs, answers), golden_by=by)
    allowed = verification.allowances(graph, inputs, answers, by)["y"]
    assert allowed == pytest.approx(ROUNDED, rel=1e-6)
    assert 1e-5 < model.verify() <= allowed
    off = {n: y + np.float32(0.1) for n, y in answers.items()}
    with pytest.raises(VerificationError):
        rnnrt.Model(graph, golden=(inputs, off), golden_by=by).verify()


def test_without_rounding_to_speak_of_the_bound_is_the_promise():
    b = GraphBuilder()
    b.output("y", b.add(Conv1D, "conv", b.input("x", (2,)), weight=np.ones((1, 3, 2))))
    inputs, exact = verification.reference_sample(b.graph())
    for off, passes in ((0.9e-5, True), (2e-5, False)):
        moved = {n: y + np.float32(off * max(1, np.abs(y).max())) for n, y in exact.items()}
        model = rnnrt.Model(b.graph(), golden=(inputs, moved), golden_by="torch 2")
        if passes:
            model.verify()
        else:
            with pytest.raises(VerificationError, match="torch 2 is not reproduced"):
                model.verify()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_answer_that_is_not_finite_is_never_the_right_one(bad):
    graph = sensitive()
    inputs, outputs = verification.reference_sample(graph)
    made = {name: array.copy() for name, array in outputs.items()}
    assert verification.check(graph, inputs, outputs, made, "reference") == 0
    next(iter(made.values())).ravel()[1] = bad
    with pytest.raises(VerificationError, match="not reproduced"):
        verification.check(graph, inputs, outputs, made, "reference")


def test_distance_counts_what_differs_and_not_equal_infinities():
    inf, nan = np.inf, np.nan
    assert verification.distance(np.array([inf, nan, 1.0]), np.array([inf, nan, 1.5])) == 0.5
    assert verification.distance(np.array([100.0, 0.0]), np.array([101.0, 0.0])) == pytest.approx(0.01)
    assert (
        not verification.distance(np.array([1.0]), np.array([nan])) <= 1
        and not verification.distance(np.array([inf]), np.array([1.0])) <= 1
    )


def test_convert_takes_no_other_word():
    with pytest.raises(UnsupportedModelError, match="golden"):
        rnnrt.convert(LSTM_KERAS, golden="engine")


def test_the_reference_answers_what_was_built_by_hand(destination):
    b = GraphBuilder()
    b.output(
        "y", b.add(LSTM, "lstm", b.input("x", (1,)), weight=np.ones((8, 1)), recurrent_weight=np.ones((8, 2)))
    )
    rnnrt.convert(b.graph(), destination)
    assert file.load(destination).golden_by == "reference" and json.dumps(file.load(destination).provenance)
