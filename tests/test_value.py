"""A model as a value: pickled by value and by path, copied, compared; what a stream and a state do; pickles
that lie.
"""

import copy
import gc
import json
import multiprocessing
import pickle
import pickletools
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest
from needs import need
from sample_graphs import graph_with_every_layer

import rnnrt
from rnnrt import _engine, layers, reference, value

X = np.random.default_rng(1).standard_normal((2, 9, 3)).astype(np.float32)


def network(seed=0, units=4, **metadata):
    """A small GRU with a Dense behind it."""
    draw = np.random.default_rng(seed).standard_normal
    b = layers.GraphBuilder()
    x = b.input("x", (3,))
    gru = b.add(layers.GRU, "gru", x, weight=draw((3 * units, 3)), recurrent_weight=draw((3 * units, units)))
    b.output("y", b.add(layers.Dense, "fc", gru, weight=draw((2, units)), bias=draw(2)))
    return b.graph(metadata={"source": "by hand", "assumptions": ["epsilon is 1e-3"]} | metadata)


def told(graph, **options):
    """A model with a golden sample that no other model has, and a provenance."""
    outputs, _ = reference.run(graph, {"x": X})
    return rnnrt.Model(
        graph,
        **options,
        golden=({"x": X}, {name: np.float32(y) for name, y in outputs.items()}),
        golden_by="keras 3.15.1 (torch)",
        provenance={"file": "m.keras", "sha256": "0" * 64},
    )


@pytest.fixture(autouse=True)
def _nothing_made_before():
    value._living.clear()
    value._held.clear()
    yield
    value._living.clear()
    value._held.clear()


def elsewhere(pickled, code, folder):
    """What ``code`` prints in a process that has only the pickle, as the object ``m``."""
    (folder / "m.pickle").write_bytes(pickled)
    np.save(folder / "x.npy", X)
    code = (
        "import pickle, json, numpy as np\nx = np.load('x.npy')\n"
        f"m = pickle.load(open('m.pickle', 'rb'))\n{code}"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# ---- by value ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_another_process_gets_the_same_answers_golden_sample_and_provenance(tmp_path, protocol):
    model = told(network(), num_threads=2, isa="scalar")
    code = (
        "inputs, outputs = m._golden\n"
        "print(json.dumps([m(x).tobytes().hex(), m.golden_by, m.provenance, m.graph.metadata, m._options,"
        " {k: v.tobytes().hex() for k, v in (inputs | outputs).items()}]))"
    )
    found = json.loads(elsewhere(pickle.dumps(model, protocol), code, tmp_path))
    inputs, outputs = model._golden
    assert found == [
        model(X).tobytes().hex(),
        "keras 3.15.1 (torch)",
        {"file": "m.keras", "sha256": "0" * 64},
        model.graph.metadata,
        {"num_threads": 2, "backend": "native", "weights": "float32", "isa": "scalar", "lift": True},
        {k: v.tobytes().hex() for k, v in (inputs | outputs).items()},
    ]


def test_a_model_without_a_golden_sample_gets_none(tmp_path):
    pickled = pickle.dumps(rnnrt.from_graph(network()))
    assert elsewhere(pickled, "print(m._golden, m.golden_by, m.provenance)", tmp_path) == "None reference {}"


def test_every_layer_survives(tmp_path):
    model = rnnrt.from_graph(graph_with_every_layer())
    pickled = pickle.dumps(model)
    value._living.clear()
    assert pickle.loads(pickled).fingerprint == model.fingerprint


def test_a_process_of_multiprocessing_runs_it():
    model = told(network())
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert (pool.apply(model, (X,)) == model(X)).all()
        state = state_of(model)
        assert pool.apply(rnnrt.State.to_bytes, (state,)) == state.to_bytes()


def test_cloudpickle_and_joblib_carry_it(tmp_path):
    cloudpickle, joblib = need("cloudpickle"), need("joblib")
    model = told(network())
    y = model(X)
    assert (cloudpickle.loads(cloudpickle.dumps(model))(X) == y).all()
    joblib.dump({"model": model}, tmp_path / "m.joblib")
    value._living.clear()
    assert (joblib.load(tmp_path / "m.joblib")["model"](X) == y).all()
    assert joblib.hash(model) == joblib.hash(told(network())) != joblib.hash(told(network(1)))
    for answer in joblib.Parallel(n_jobs=2, backend="loky")(joblib.delayed(model)(X) for _ in range(4)):
        assert (answer == y).all()


def test_a_thousand_tasks_bring_one_model(monkeypatch):
    pickled = pickle.dumps(told(network()))
    gc.collect()  # the model is gone: only the pickle knows it
    made = []
    plan_of = _engine.plan_of
    monkeypatch.setattr(_engine, "plan_of", lambda *a: made.append(1) or plan_of(*a))
    kinds = {id(pickle.loads(pickled)) for _ in range(1000)}
    assert len(kinds) == len(made) == 1
    other = pickle.loads(pickle.dumps(pickle.loads(pickled).with_options(num_threads=2)))
    assert id(other) not in kinds and other._options["num_threads"] == 2


def test_threads_that_unpickle_at_once_get_one_model(monkeypatch):
    pickled, made = pickle.dumps(told(network())), []
    gc.collect()
    both, model_of = threading.Barrier(2, timeout=60), value._model
    # each is at work on a model of its own before the other has finished
    monkeypatch.setattr(value, "_model", lambda *a: both.wait() >= 0 and model_of(*a))
    threads = [threading.Thread(target=lambda: made.append(pickle.loads(pickled))) for _ in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(made) == 2 and made[0] is made[1]


def test_two_models_of_one_network_keep_their_own_provenance():
    """One fingerprint; the file of each is another."""
    first, second = told(network()), rnnrt.Model(network(), provenance={"file": "other.keras"})
    a, b = pickle.dumps(first), pickle.dumps(second)
    value._living.clear()
    a, b = pickle.loads(a), pickle.loads(b)
    assert a == b and a is not b
    assert [m.provenance["file"] for m in (a, b)] == ["m.keras", "other.keras"]


def test_only_the_last_models_are_held():
    pickles = [pickle.dumps(told(network(seed))) for seed in range(9)]
    alive = [weakref.ref(pickle.loads(p)) for p in pickles]
    gc.collect()
    assert [r() is not None for r in alive] == [False] * (9 - value.MOST_HELD) + [True] * value.MOST_HELD
    assert len(value._living) == value.MOST_HELD


def test_a_large_model_is_held_alone(monkeypatch):
    monkeypatch.setattr(value, "MOST_HELD_BYTES", 4 * network().parameters + 1)
    first, second = (pickle.dumps(told(network(seed))) for seed in range(2))
    kept = weakref.ref(pickle.loads(first))
    assert pickle.loads(first) is kept()
    pickle.loads(second)
    gc.collect()
    assert kept() is None and len(value._held) == 1


# ---- by path -----------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    told(network()).save(tmp_path / "m.rnnrt")
    return tmp_path / "m.rnnrt"


def test_a_pickle_by_path_holds_no_weights(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loaded = rnnrt.load("m.rnnrt", num_threads=3)  # a relative path: where it lies is what travels
    model = rnnrt.by_path(loaded)
    assert model == loaded and (model(X) == loaded(X)).all()
    pickled = pickle.dumps(model)
    assert len(pickled) < 600 < len(pickle.dumps(loaded))
    (tmp_path / "else").mkdir()
    code = "print(m(x).tobytes().hex(), m._options['num_threads'], m.golden_by, len(pickle.dumps(m)))"
    found = elsewhere(pickled, code, tmp_path / "else")
    assert found == f"{loaded(X).tobytes().hex()} 3 keras 3.15.1 (torch) {len(pickled)}"
    assert pickle.loads(pickled) is pickle.loads(pickled)
    assert len(pickle.dumps(model.with_options(num_threads=1))) < 600


def test_a_file_that_does_not_fit_is_refused(saved):
    pickled = pickle.dumps(rnnrt.by_path(rnnrt.load(saved)))
    held = saved.read_bytes()
    told(network(1)).save(saved)
    with pytest.raises(rnnrt.ModelFileError, match=r"is not the file that the pickle names") as caught:
        pickle.loads(pickled)
    assert caught.value.where == str(saved) and "by value" not in str(caught.value)
    saved.write_bytes(held + b"\0")
    with pytest.raises(rnnrt.ModelFileError, match="is not the file that the pickle names"):
        pickle.loads(pickled)
    saved.unlink()
    with pytest.raises(rnnrt.ModelFileError, match="No such file"):
        pickle.loads(pickled)
    saved.write_bytes(held)
    assert pickle.loads(pickled).fingerprint == rnnrt.from_graph(network()).fingerprint


def test_by_path_needs_a_file_that_still_holds_the_network(saved):
    with pytest.raises(rnnrt.ModelFileError, match="was not loaded from a .rnnrt file"):
        rnnrt.by_path(told(network()))
    with pytest.raises(rnnrt.DTypeError, match="this is not a model"):
        rnnrt.by_path(str(saved))
    model = rnnrt.load(saved)
    told(network(1)).save(saved)
    with pytest.raises(rnnrt.ModelFileError, match="holds another network than when the model was loaded"):
        rnnrt.by_path(model)
    saved.unlink()
    with pytest.raises(rnnrt.ModelFileError, match="No such file"):
        rnnrt.by_path(model)


# ---- copies, equality --------------------------------------------------------------------------------------


def test_a_copy_is_the_model_itself():
    model = told(network())
    assert copy.copy(model) is model and copy.deepcopy({"m": [model]})["m"][0] is model


def test_equal_is_what_gives_equal_answers():
    model = told(network())
    same = rnnrt.from_graph(network()).with_options(num_threads=2, isa="scalar")
    assert model == same and hash(model) == hash(same) and len({model, same}) == 1
    others = [rnnrt.from_graph(network(1)), rnnrt.from_graph(network(units=5)), "model", None]
    assert all(model != other for other in others)
    need("scipy")
    assert model != model.with_options(backend="blas")


def test_a_subclass_says_that_it_would_come_back_as_something_else():
    class Mine(rnnrt.Model):
        pass

    with pytest.raises(rnnrt.UnsupportedModelError, match="a subclass of rnnrt.Model is not pickled"):
        pickle.dumps(Mine(network()))


@pytest.mark.parametrize("carry", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_a_graph_stays_checked_and_read_only(carry):
    graph = graph_with_every_layer()
    carried = carry(graph)
    assert rnnrt.from_graph(carried).fingerprint == rnnrt.from_graph(graph).fingerprint
    arrays = [getattr(layer, name) for layer in carried.layers for name in layer.arrays]
    assert not any(a.flags.writeable for a in arrays if a is not None)


# ---- streams and states ------------------------------------------------------------------------------------


def state_of(model):
    stream = model.stream(2)
    stream.push(X)
    return stream.state


@pytest.mark.parametrize("carry", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_stream_offers_its_state(carry):
    stream = told(network()).stream()
    with pytest.raises(rnnrt.StateError, match=r"neither pickled nor copied.*stream\.state.*stream\.clone"):
        carry(stream)


@pytest.mark.parametrize("carry", [copy.copy, copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_a_state_travels(carry):
    model = told(network())
    state = state_of(model)
    carried = carry(state)
    assert carried is not state and carried.to_bytes() == state.to_bytes()
    stream, other = model.stream(2), model.stream(2)
    stream.state, other.state = state, carried
    assert (stream.push(X) == other.push(X)).all()


# ---- pickles that lie --------------------------------------------------------------------------------------


def parts(model):
    """(version, content, options) of a pickle."""
    function, arguments = model.__reduce__()
    assert function is value.restore
    value._living.clear()
    return arguments


def test_a_pickle_calls_one_function_of_ours():
    names = [
        arg for op, arg, _ in pickletools.genops(pickle.dumps(told(network()), 2)) if op.name == "GLOBAL"
    ]
    assert [n for n in names if n != "_codecs encode"] == ["rnnrt.value restore"]


def test_damage_is_found_wherever_it_is():
    version, content, options = parts(told(network()))
    value.restore(version, content, options)
    rng = np.random.default_rng(0)
    for at in [*range(16), *rng.integers(16, len(content), 60)]:
        damaged = bytearray(content)
        damaged[at] ^= 1 << int(rng.integers(8))
        with pytest.raises((rnnrt.ModelFileError, rnnrt.UnsupportedModelError)) as caught:
            value.restore(version, bytes(damaged), options)
        assert "the pickled model" in str(caught.value)
    with pytest.raises(rnnrt.ModelFileError, match="the pickled model"):
        value.restore(version, content[:-1], options)


def test_a_header_that_claims_much_allocates_nothing():
    text = b'{"w":{"dtype":"F32","shape":[16777216,64],"data_offsets":[0,4294967296]}}'
    with pytest.raises(rnnrt.ResourceLimitError):
        value.restore(value.VERSION, len(text).to_bytes(8, "little") + text, {})


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("text", {}),
        (b"", {}),
        (None, {}),
        (("m.rnnrt", 3), {}),
        ((b"m.rnnrt", 3, "0" * 64), {}),
        ((["m.rnnrt"], 3, "0" * 64), {}),
        (("/dev/zero", 0, "0" * 64), {}),
        (b"{}", None),
        (b"{}", [("isa", None)]),
        (b"{}", {"num_threads": "2"}),
        (b"{}", {"isa": ["scalar"]}),
    ],
)
def test_what_is_not_ours_is_refused(content, options):
    with pytest.raises(rnnrt.ModelFileError):
        value.restore(value.VERSION, content, options)


def test_options_are_checked_as_load_checks_them():
    version, content, options = parts(told(network()))
    for wrong in ({"isa": "avx1024"}, {"weights": "float16"}, {"backend": "gpu"}):
        with pytest.raises(rnnrt.UnsupportedModelError):
            value.restore(version, content, options | wrong)
    with pytest.raises(rnnrt.ShapeError, match="num_threads"):
        value.restore(version, content, options | {"num_threads": 0})


def test_what_a_newer_rnnrt_wrote_is_named():
    version, content, options = parts(told(network()))
    for arguments in ((version + 1, content, options), (version, content, options, {}), ("2",)):
        with pytest.raises(rnnrt.UnsupportedModelError, match="the pickle was written by a newer rnnrt"):
            value.restore(*arguments)
    with pytest.raises(rnnrt.UnsupportedModelError, match="unknown option 'precision'.*update rnnrt"):
        value.restore(version, content, options | {"precision": "half"})
    newer = content.replace(b'"format_version":"2"', b'"format_version":"9"')
    assert newer != content
    with pytest.raises(rnnrt.UnsupportedModelError, match="the pickled model: was written by a newer rnnrt"):
        value.restore(version, newer, options)
