"""``Model.profile`` and ``rnnrt profile``: every layer once, with the operations of its equations. No test
looks at how long anything took, but for that it is a time.
"""

import dataclasses
import math

import numpy as np
import pytest
from cases import CASES
from command import LSTM_KERAS, run, run_json
from needs import need
from small_models import built, frames, model_of, two_inputs_two_outputs, with_value

import rnnrt
from rnnrt import _engine, core_limits, lowering, passes, profiling
from rnnrt import layers as L

need("rnnrt._engine")

BATCH, FRAMES = 2, 40
CORE = core_limits.Core(
    "avx2", 50.0, (core_limits.Level("L1", 1 << 15, 100.0), core_limits.Level("m", None, 9.0))
)


@pytest.fixture(autouse=True)
def known_core(monkeypatch):
    """Nothing is measured but the layers."""
    monkeypatch.setattr("rnnrt.profiling.core", lambda isa: CORE)


# ---- operations: by hand, for T frames in and out of a row ----


def product(layer, frames):
    out, bias = len(layer.weight), layer.bias is not None
    return layer.weight.size * frames, out * frames * (bias + (layer.activation.name != "linear"))


def conv2d(layer, signal, frames):
    return [n * signal.features[0] for n in product(layer, frames)]


def conv_transpose(layer, frames_in):
    taps = layer.weight.shape[1] * layer.weight.shape[2] * len(layer.weight)
    return taps * frames_in, product(layer, frames_in * layer.stride)[1]


def norm(layer, numbers):
    return numbers * (5 + (layer.gamma is not None) + (layer.beta is not None))


def cell(layer, frames):
    """W x + U h + b over the gates; then for every unit the functions, products and sums of the cell."""
    of_unit = {"rnn": 1, "gru": 3 + 1 + 1 + 1 + 1 + 1, "lstm": 4 + 1 + 1 + 1 + 1 + 1}[layer.kind]
    gates = {"rnn": 1, "gru": 3, "lstm": 4}[layer.kind] * layer.units
    out = layer.recurrent_weight.shape[1]
    products = gates * (layer.weight.shape[1] + out)
    others = gates * (1 + (layer.bias is not None)) + layer.units * of_unit
    if getattr(layer, "recurrent_bias", None) is not None:
        others += gates
    if layer.norm != "none":
        others += norm(layer, gates)
    if getattr(layer, "projection", None) is not None:
        products += out * layer.units
    if getattr(layer, "cell_clip", 0):
        others += 2 * layer.units
    return products * frames, others * frames


def attention(layer, x, y, pairs):
    """Of every query with every key: a score, what a softmax does to it, and its part in the values."""
    if layer.weight is None:
        score = layer.heads * (layer.scale != 1)
    else:
        score = x.width * (1 + (layer.activation.name != "linear")) + (layer.bias is not None)
    score += layer.heads * (4 + (layer.score_activation.name != "linear") + len(layer.inputs) - 3)
    return pairs * (x.width + y.width), pairs * score


def inside(graph):
    """All layers of a graph inside a layer, whose frames are its own."""
    found = [by_hand(x, graph) for x in graph.layers if not isinstance(x, L.Input)]
    return np.sum(found, axis=0) if found else (0, 0)


def by_hand(layer, graph):
    """(multiply-adds, other operations) of one row."""
    x, y = graph.signals[layer.inputs[0]], graph.signals[layer.name]
    came, made = x.length or 1, y.length or 1
    numbers = made * y.width
    match layer.kind:
        case "dense" | "conv1d":
            products, others = product(layer, made)
            return products, others + (len(layer.inputs) - 1) * numbers
        case "conv2d":
            return conv2d(layer, y, made)
        case "conv_transpose1d":
            return conv_transpose(layer, came)
        case "rnn" | "gru" | "lstm":
            return cell(layer, came * int(np.prod(x.features[:-1])))
        case "scan":
            return np.multiply(inside(layer.graph), layer.steps or came)
        case "time_distributed":
            return np.multiply(inside(layer.graph), made)
        case "softmax" | "log_softmax":
            return 0, 5 * numbers
        case "attention":
            return attention(layer, x, y, made * graph.signals[layer.inputs[1]].length)
        case "layer_normalization":
            return 0, norm(layer, numbers)
        case "batch_normalization":
            return 0, 3 * numbers
        case "affine":
            return 0, 2 * numbers
        case "activation":
            return 0, numbers * (layer.activation.name != "linear")
        case "max_pool1d":
            return 0, (layer.size - 1) * numbers
        case "average_pool1d":
            return 0, layer.size * numbers
        case "global_max_pool" | "global_average_pool" | "global_sum" | "global_variance":
            return 0, came * x.width
        case "add" | "multiply" | "maximum":
            return 0, (len(layer.inputs) - 1) * numbers
        case "divide" | "greater" | "greater_equal" | "equal" | "where":
            return 0, numbers
        case "feature_max" | "not_equal":
            return 0, came * x.width
    moves = "embedding reshape select concatenate expand last first crop pad reverse flatten unflatten"
    assert layer.kind in moves.split(), layer.kind
    return 0, 0


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_every_layer_is_there_once_with_the_operations_of_its_equations(case):
    model, x = rnnrt.from_graph(case.graph()), case.sample(BATCH, FRAMES)
    found = model.profile(x, seconds=0)
    graph = lowering.with_length(passes.optimise(case.graph()), x.shape[1])
    layers = [x for x in graph.layers if not isinstance(x, L.Input)]
    assert [(p.name, p.kind) for p in found.layers] == [(x.name, x.kind) for x in layers]
    for layer, p in zip(layers, found.layers):
        products, others = by_hand(layer, graph)
        assert (p.flops, p.others) == (2 * BATCH * products, BATCH * others), layer
        assert p.runs >= 1 and p.frames == BATCH * (graph.signals[layer.inputs[0]].length or 1), layer
        assert math.isfinite(p.seconds) and p.seconds >= 0
    assert sum(p.seconds for p in found.layers) > 0 or not layers
    assert 0 < found.seconds < 60 and found.between >= 0
    assert found.share(found.between) + sum(found.share(p.seconds) for p in found.layers) == pytest.approx(1)
    assert str(found).count("\n") == len(layers) + 3 + found.noisy


# ---- steps, bytes, limits ----------------------------------------------------------------------------------


def one(found, name):
    return next(x for x in found.layers if x.name == name)


def test_a_step_is_the_share_of_one_frame():
    case = next(c for c in CASES if c.name == "textbook_conv_gru")
    model = rnnrt.from_graph(case.graph())
    found = model.profile(case.sample(BATCH, FRAMES), steps=True, seconds=0)
    conv, gru = one(found, "conv"), one(found, "one")
    assert found.steps and (conv.runs, conv.frames) == (1, BATCH)
    due = (FRAMES - model.graph["conv"].span) // model.graph["conv"].stride + 1
    assert gru.frames == BATCH * due / FRAMES and gru.runs == due / FRAMES
    products, others = cell(model.graph["one"], due)
    assert (gru.flops, gru.others) == (2 * BATCH * products / FRAMES, BATCH * others / FRAMES)
    assert found.as_dict()["steps"] and "one by one" in found.what


def test_steps_of_one_row_of_values_given_once_and_of_several_frames_out():
    assert one(model_of("lstm_20").profile(frames(7, 20), steps=True, seconds=0), "lstm").frames == 1
    found = with_value().profile(frames(2, 7, 3), frames(2, 4), steps=True, seconds=0)
    assert [x.name for x in found.layers] == ["rnn", "last", "cat"] and one(found, "rnn").frames == 2
    found = model_of("conv_transpose_doubling").profile(frames(9, 4), steps=True, seconds=0)
    assert found.layers[0].frames == 1 and found.layers[0].flops > 0


def test_rows_of_different_length_are_counted_together():
    found = model_of("lstm_5").profile([frames(9, 5), frames(4, 5)], seconds=0)
    assert found.what == "a call with 2 rows of their own lengths" and one(found, "lstm").frames == 13


def test_what_has_no_steps_is_refused_by_name():
    with pytest.raises(rnnrt.NotStreamableError, match="whole"):
        model_of("lstm_reverse").profile(frames(5, 3), steps=True)
    b = L.GraphBuilder()
    x = b.input("x", (3,), time=False)
    b.output("y", b.add(L.Dense, "fc", x, weight=frames(2, 3)))
    with pytest.raises(rnnrt.NotStreamableError, match="no steps"):
        rnnrt.from_graph(b.graph()).profile(frames(1, 3), steps=True)
    b = L.GraphBuilder()
    for name in "ab":
        y = b.add(L.Last, f"last_{name}", b.input(name, (3,)))
        b.output(f"y_{name}", y)
    with pytest.raises(rnnrt.UnsupportedModelError, match="of their own"):
        rnnrt.from_graph(b.graph()).profile(frames(5, 3), frames(4, 3), steps=True)
    with pytest.raises(rnnrt.ShapeError, match="missing"):
        two_inputs_two_outputs().profile(frames(1, 5, 3))


def test_bytes_are_those_of_weights_and_frames():
    """Weights once a block, those of a recurrence at every step, of a table what is looked up; frames in and
    out, and out only where somebody reads them."""
    n, batch, time = 20, 3, 10
    found = one(model_of("lstm_20").profile(frames(batch, time, n), seconds=0), "lstm")
    weights = 4 * n * n + 4 * n + 4 * n * n * time
    assert found.runs == 1 and found.bytes == 4 * (weights + batch * time * 2 * n)
    last = built(
        lambda b, x, r: b.add(
            L.Dense, "fc", b.add(L.Last, "last", x), weight=r.normal(size=(2, 3)), bias=[1, 2]
        )
    ).profile(frames(batch, time, 3), seconds=0)
    assert one(last, "fc").bytes == 4 * (2 * 3 + 2 + batch * (3 + 2))
    assert one(last, "last").bytes == 4 * batch * (time * 3 + 3)
    table = built(
        lambda b, x, r: b.add(L.Embedding, "t", x, weight=np.ones((1000, 4))), features=(), ids=True
    )
    assert one(table.profile(np.zeros((batch, time)), seconds=0), "t").bytes == 4 * (
        4 * time + batch * time * 5
    )
    b = L.GraphBuilder()
    x = b.input("x", (3,))
    b.add(L.SimpleRNN, "rnn", x, weight=frames(5, 3), recurrent_weight=frames(5, 5))
    b.output("h", "rnn:h")
    unread = rnnrt.from_graph(b.graph()).profile(frames(batch, time, 3), seconds=0)
    assert one(unread, "rnn").bytes == 4 * (15 + 25 * time + batch * time * 3)


def test_the_limit_is_the_nearest_one_of_the_core():
    """CORE does 50 multiply-adds and reads 100 bytes of its first 32 KiB, 9 of others, a nanosecond."""
    wide = built(lambda b, x, r: b.add(L.Dense, "fc", x, weight=r.normal(size=(200, 3))))
    few = one(wide.profile(frames(1, 1, 3), seconds=0), "fc")
    assert few.bound == "L1" and few.limit == pytest.approx(4 * (600 + 3 + 200) / 100 * 1e-9)
    deep = built(lambda b, x, r: b.add(L.Dense, "fc", x, weight=r.normal(size=(200, 300))), features=(300,))
    assert one(deep.profile(frames(1, 1, 300), seconds=0), "fc").bound == "m"
    many = one(deep.profile(frames(40, 40, 300), seconds=0), "fc")
    assert many.bound == "FLOPs" and many.limit == pytest.approx(40 * 40 * 200 * 300 / 50 * 1e-9)
    assert many.of_limit == many.limit / many.seconds
    moved = built(lambda b, x, r: b.add(L.Reshape, "turn", x, features=(3, 1)), features=(3,))
    assert "turn" in str(moved.profile(frames(1, 4, 3), seconds=0))


def test_times_are_medians_of_parts_and_a_call_that_others_interrupt_is_said_to_be_noisy(monkeypatch):
    """Calls of 1000 ns, 400 of them in the layer; the watched ones look at the clock for 50 ns; in many calls
    others have the processor for a while: now in the layer, now outside.
    """
    model, x = built(lambda b, x, r: b.add(L.Dense, "fc", x, weight=r.normal(size=(2, 3)))), frames(1, 4, 3)
    real, number, other = profiling._calls, iter(range(1000)), iter(range(1000))

    def calls(twin, given):
        call = real(twin, given)
        if not isinstance(twin._plans, profiling._Watched):
            return lambda: 1000 + (90_000 if next(other) % 2 else 0)

        def watched():
            call()
            (_, spent), late = twin._plans.used(), next(number)
            spent["nanoseconds"][1] = 400 + (70_000 if late % 8 == 1 else 0)
            return 1050 + (70_000 if late % 8 in (1, 3, 5) else 0)

        return watched

    monkeypatch.setattr(profiling, "_calls", calls)
    monkeypatch.setattr(profiling, "LEAST", 64)
    found = model.profile(x, seconds=0)
    assert found.layers[0].seconds == pytest.approx(400e-9) and found.between == pytest.approx(600e-9)
    assert found.known == pytest.approx(1000e-9) and found.noisy == (found.seconds > 1250e-9)
    noisy = dataclasses.replace(found, seconds=2e-6)
    assert noisy.noisy and str(noisy).endswith(profiling.NOISY) and profiling.NOISY in noisy._repr_html_()
    assert not dataclasses.replace(found, seconds=1.2e-6).noisy


# ---- the twin that is watched ------------------------------------------------------------------------------


def test_a_watched_plan_answers_with_the_same_bits_and_shares_the_weights():
    model, x = model_of("wavenet"), frames(2, 90, 1)
    plan = model._plans.common
    twin = _engine.plan_of(model._run_graph, None, plan)
    spent = twin.watch()
    y, z = (np.empty((90, 2, 1), np.float32) for _ in range(2))
    plan.run(2, [x.transpose(1, 0, 2)], [y])
    assert not spent["runs"].any()
    twin.run(2, [x.transpose(1, 0, 2)], [z])
    assert y.tobytes() == z.tobytes() and twin.nbytes == plan.nbytes
    at = [k for k, name in enumerate(twin.names) if name != "x"]
    assert (spent["rows"][at] == 180).all() and (spent["made"][at] == 180).all() and not spent["runs"][0]
    with pytest.raises(rnnrt.StateError):
        twin.watch()


def test_a_profile_leaves_the_model_as_it_is():
    model = rnnrt.Model(model_of("gru_20").graph, num_threads=2)
    x = frames(3, 9, 20)
    before = model(x)
    model.profile(x, seconds=0)
    assert model._plans.threads == 2 and (model(x) == before).all()
    beside = profiling.alone(model)  # what is compared with the layers' times stays on one thread too
    assert beside._plans.threads == 1 and (beside(x) == before).all() and profiling.alone(beside) is beside


# ---- the core ----------------------------------------------------------------------------------------------


def test_the_core_is_measured_for_every_instruction_set(monkeypatch):
    best = _engine.isas()[0]
    for isa in _engine.isas():
        found = core_limits.measured(isa, 0.001)
        assert found.isa == isa
        speeds = [found.products, *(x.bandwidth for x in found.levels)]
        assert all(math.isfinite(s) and s > 0 for s in speeds) and len(speeds) > 3
        assert [x.size is None for x in found.levels] == [False] * (len(found.levels) - 1) + [True]
    other = dataclasses.replace(CORE, isa="another")
    monkeypatch.setattr(core_limits, "_measured", {best: CORE, "another": other})
    monkeypatch.delenv("RNNRT_ISA", raising=False)
    assert core_limits.core() is core_limits.core("blas") is core_limits.core(best) is CORE
    monkeypatch.setenv("RNNRT_ISA", "another")  # models run on it then
    assert core_limits.core() is core_limits.core("blas") is other and core_limits.core(best) is CORE
    monkeypatch.setenv("RNNRT_ISA", "none such")
    with pytest.raises(rnnrt.UnsupportedModelError, match="instruction set is unknown.*'none such'"):
        core_limits.core()
    assert _engine.core_products(5, "scalar") == 60  # twelve chains
    assert _engine.core_reads(np.ones(64, np.float32), 3, "scalar") == 192
    with pytest.raises(rnnrt.DTypeError):
        _engine.core_reads(np.ones(64), 3)
    assert _engine.core_products(5, "none such") == 0


def test_the_best_look_at_the_clock_counts(monkeypatch):
    now = 0
    takes = iter([1] * 3 + [100] * 3 + [50] + [200] * 100)  # nanoseconds for one round
    monkeypatch.setattr(core_limits, "perf_counter_ns", lambda: now)

    def run(times):
        nonlocal now
        now += next(takes) * times
        return 10.0 * times

    monkeypatch.setattr(core_limits, "PIECE", 200)
    assert core_limits._best(run, 4e-6) == 10 / 50


def test_cache_sizes_come_from_the_system_or_are_the_usual_ones(monkeypatch, tmp_path):
    def write(k, level, kind, size):
        folder = tmp_path / f"index{k}"
        folder.mkdir(exist_ok=True)
        for name, value in (("level", level), ("type", kind), ("size", size)):
            (folder / name).write_text(f"{value}\n")

    monkeypatch.setattr(core_limits, "CACHES", tmp_path)
    assert core_limits.cache_sizes() == list(core_limits.USUAL)
    for row in ((0, 1, "Data", "48K"), (1, 1, "Instruction", "32K"), (2, 2, "Unified", "2M")):
        write(*row)
    assert core_limits.cache_sizes() == [48 << 10, 2 << 20]
    write(2, 2, "Unified", "4K")  # smaller than the first: nobody would believe it
    assert core_limits.cache_sizes() == list(core_limits.USUAL)


# ---- the command -------------------------------------------------------------------------------------------


@pytest.fixture
def window(tmp_path):
    np.save(tmp_path / "x.npy", frames(1, 50, 1))
    return tmp_path / "x.npy"


def test_the_command_prints_a_table_or_json(capsys, window):
    need("h5py")
    code, out, _ = run(capsys, "profile", LSTM_KERAS, "--input", window, "--seconds", "0.001")
    lines = out.splitlines()
    names = [x.name for x in rnnrt.from_keras(LSTM_KERAS)._run_graph.layers[1:]]
    lines = [line for line in lines if line != profiling.NOISY]
    assert code == 0 and [line.split()[0] for line in lines[2:-2]] == names
    assert lines[-2].startswith("(between layers)") and lines[-1] == str(CORE)
    code, data = run_json(capsys, "profile", LSTM_KERAS, "--input", window, "--steps", "--seconds", "0.001")
    assert code == 0 and data["steps"] and [x["name"] for x in data["layers"]] == names
    assert data["core"]["gflops"] == 100 and data["core"]["levels"][1] == {
        "name": "m",
        "bytes": None,
        "gb_per_s": 9,
    }
    assert sum(x["share"] for x in data["layers"]) <= 1.001 and data["us"] > 0


def test_the_page_stands_alone_and_is_never_written_over_something_else(capsys, window, tmp_path):
    b = L.GraphBuilder()
    x = b.input("x", (1,))
    b.output("y", b.add(L.Dense, "<b>&", x, weight=[[2.0]]))
    rnnrt.from_graph(b.graph()).save(tmp_path / "m.rnnrt")
    page = tmp_path / "p.html"
    words = ["profile", tmp_path / "m.rnnrt", "--input", window, "--seconds", "0.001", "--html", page]
    for _ in range(2):  # its own page is written over
        code, out, _ = run(capsys, *words)
        assert code == 0 and f"drawn: {page}" in out
    text = page.read_text(encoding="utf-8")
    assert "&lt;b&gt;&amp;" in text and "<b>&<" not in text and text.count("<li>") == 2
    assert not [word for word in ("<script", "http", "src=", "@import", "url(") if word in text]
    page.write_text("<!DOCTYPE html>mine")
    code, _, err = run(capsys, *words)
    assert code == 2 and "another kind" in err and page.read_text() == "<!DOCTYPE html>mine"
    assert run(capsys, *words, "--force")[0] == 0 and "mine" not in page.read_text()
    code, _, err = run(capsys, *words[:-1], window, "--force")
    assert code == 2 and "overwritten" in err


def test_inputs_are_given_by_name(capsys, tmp_path):
    model = two_inputs_two_outputs()
    model.save(tmp_path / "m.rnnrt")
    np.save(tmp_path / "left.npy", frames(1, 6, 3))
    np.save(tmp_path / "right.npy", frames(1, 6, 2))
    words = [f"right={tmp_path / 'right.npy'}", f"left={tmp_path / 'left.npy'}"]
    code, data = run_json(capsys, "profile", tmp_path / "m.rnnrt", "--input", *words, "--seconds", "0.001")
    assert code == 0 and {x["name"] for x in data["layers"]} >= {"a", "c", "add"}
