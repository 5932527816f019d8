"""Scan: any graph of one step as a recurrent layer."""

import numpy as np
import pytest
import steps
from case_layers import weights
from cases import CASES
from expect import VECTOR_ROWS, keeps_promise_1, pushed, same_bits
from steps import FEATURES, around, generator

import rnnrt
from rnnrt import layers as L
from rnnrt import reference

SCANS = [c for c in CASES if c.name.startswith("scan")]


def run_all(model, x):
    return list(model.run({"x": x}).values())


# ---- states, lengths, inputs given once --------------------------------------------------------------------


def two_widths(**fields):
    return around(steps.two_widths(generator(13), FEATURES), ("slow", "was", "fast"), **fields)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("batch", [5, 70])
def test_a_row_past_its_end_keeps_its_states_and_says_0(batch, reverse):
    model = rnnrt.from_graph(two_widths(reverse=reverse, initial=generator(14).standard_normal(11)))
    x = generator(15).standard_normal((batch, 70, FEATURES)).astype(np.float32)
    lengths = np.arange(batch) * 7 % 71
    made, state = model(x, lengths=lengths, return_state=True)
    for b, n in enumerate(lengths):
        alone = [np.zeros((0, *y.shape[2:]), np.float32) for y in made[:4]]
        if n:
            alone, end = model(x[b, :n], return_state=True)
            for name, array in state.arrays().items():
                assert same_bits(array[b], end.arrays()[name]), (b, name)
        for y, wanted in zip(made[:4], alone):
            assert same_bits(y[b, :n], wanted), b
            assert not y[b, n:].any(), b


def test_a_stored_start_comes_back_at_every_reset_and_another_start_takes_its_place():
    start = generator(16).standard_normal(11).astype(np.float32)
    model = rnnrt.from_graph(two_widths(initial=start))
    x = generator(17).standard_normal((3, 30, FEATURES)).astype(np.float32)
    whole = run_all(model, x)
    stream = model.stream(batch_size=3)
    for _ in range(2):
        arrays = stream.state.arrays()
        assert [
            np.array_equal(a, np.tile(p, (3, 1))) for a, p in zip(arrays.values(), np.split(start, [5, 8]))
        ]
        for y, wanted in zip(stream.push(x)[:4], whole):
            assert same_bits(y, wanted)
        stream.reset()
    zero = {f"cell/{s}": np.zeros((3, n)) for s, n in (("slow", 5), ("was", 3), ("fast", 3))}
    plain = rnnrt.from_graph(two_widths())
    for y, wanted in zip(model(x, initial_state=zero), plain(x)):
        assert same_bits(y, wanted)
    stream = model.stream(batch_size=3)
    stream.state = zero
    assert same_bits(stream.push(x)[0], plain(x)[0])
    only = model(x, initial_state={"cell/slow": zero["cell/slow"]})[0]
    assert not same_bits(only, plain(x)[0])
    assert not same_bits(only, whole[0])


def test_rows_of_a_scan_are_reset_alone_to_where_they_start():
    start = generator(18).standard_normal(11).astype(np.float32)
    for fields in ({}, {"initial": start}):
        model = rnnrt.from_graph(two_widths(**fields))
        x = generator(19).standard_normal((4, 20, FEATURES)).astype(np.float32)
        stream = model.stream(batch_size=4)
        stream.push(x[:, :8])
        stream.reset(rows=[2])
        y = stream.push(x[:, 8:])[0]
        assert same_bits(y[2], model(x[2, 8:])[0])
        for row in (0, 1, 3):
            assert same_bits(y[row], model(x[row])[0][8:]), row


def speaker(r, features=FEATURES, units=6, voice=4):
    """A step that reads a value given once, once through a product of its own and once beside the state."""
    step = steps.Step(features, {"h": units}, once=(voice,))
    told = step.dense(step.once[0], weights(r, units, voice), activation="tanh")
    joined = step.dense(
        step.join(step.x, step.state["h"], step.once[0]), weights(r, units, features + units + voice)
    )
    new = step.act("tanh", step.add(joined, told))
    return step.graph([new], {"y": step.times(new, told)})


def test_values_given_once():
    b = L.GraphBuilder()
    x, voice = b.input("x", (FEATURES,)), b.input("voice", (4,), time=False)
    start = b.input("start", (6,), time=False)
    step = speaker(generator(20))
    b.output("y", b.add(L.Scan, "cell", x, start, voice, graph=step, states=("h",), started=("h",)))
    graph = b.graph()
    model = rnnrt.from_graph(graph)
    r = generator(21)
    given = {
        "x": r.standard_normal((3, 70, FEATURES)),
        "voice": r.standard_normal((3, 4)),
        "start": r.standard_normal((3, 6)),
    }
    given = {n: a.astype(np.float32) for n, a in given.items()}
    expected, _ = reference.run(graph, given)
    y = model.run(given)["y"]
    assert keeps_promise_1({"y": y}, graph, given, expected)
    assert same_bits(model.run({n: a[1] for n, a in given.items()})["y"], y[1])
    once = {n: given[n] for n in ("voice", "start")}
    stream = model.stream(batch_size=3, inputs=once)
    for _ in range(2):
        assert same_bits(pushed(stream, given["x"], [1, 20, 0, 7]), y)
        stream.reset()
    with pytest.raises(rnnrt.StateError, match="cell/h"):
        stream.state = {"cell/h": given["start"]}


# ---- random steps ------------------------------------------------------------------------------------------


def random_step(seed):
    """(graph, states): a step of a few random layers over frames, states of random sizes and values given
    once.
    """
    r = generator(22, seed)
    sizes = lambda: int(r.choice([1, 2, 3, 5, 8, 17]))
    states = {f"s{k}": sizes() for k in range(r.integers(0, 4))}
    step = steps.Step(FEATURES, states, once=[sizes() for _ in range(r.integers(0, 3))])
    values = [step.x, *step.state.values(), *step.once]
    width = lambda v: step.b.signal(v).width
    for _ in range(r.integers(1, 9)):
        one, two = (values[r.integers(len(values))] for _ in range(2))
        bounded = step.act(str(r.choice(["tanh", "softsign", "sigmoid"])), one)
        choice = r.integers(6)
        if choice == 0:
            values.append(step.join(one, two, one))
        elif choice == 1 and width(one) == width(two):
            values.append(step.add(one, two))
        elif choice == 2 and width(one) == width(two):
            values.append(step.times(bounded, two))
        elif choice == 3:
            index = tuple(int(k) for k in r.integers(0, width(one), sizes()))
            values.append(step.b.add(L.Select, "select", one, index=index))
        elif choice == 4:
            values.append(bounded)
        else:
            values.append(step.dense(one, weights(r, sizes(), width(one))))
    nexts = []
    for s, n in states.items():
        fits = [v for v in values if width(v) == n and v != step.state[s]]
        v = fits[r.integers(len(fits))] if fits and r.random() < 0.5 else None
        if v is None:
            source = values[r.integers(len(values))]
            v = step.dense(source, weights(r, n, width(source)), weights(r, n))
        nexts.append(
            step.act("tanh", v) if r.random() < 0.7 else step.affine(step.act("softsign", v), 0.5, 0.1)
        )
        if r.random() < 0.2 and fits:
            nexts[-1] = fits[0] if fits[0] in step.state.values() else nexts[-1]
    answers = {f"y{k}": values[r.integers(len(values))] for k in range(r.integers(1, 4))}
    return step.graph(nexts, answers), tuple(states)


@pytest.mark.parametrize("seed", range(80))
def test_random_steps(seed):
    step, states = random_step(seed)
    r = generator(23, seed)
    b = L.GraphBuilder()
    x = b.input("x", (FEATURES,))
    started = [s for s in states if r.random() < 0.3]
    width = lambda name: step.signals[name].width
    edges = [b.input(f"from_{s}", (width(s),), time=False) for s in started]
    once = [b.input(n, (width(n),), time=False) for n in step.inputs[1 + len(states) :]]
    fields = {"started": started, "reverse": r.random() < 0.3}
    if r.random() < 0.4:
        fields["initial"] = r.standard_normal(sum(map(width, states))).astype(np.float32)
    scan = b.add(L.Scan, "scan", x, *edges, *once, graph=step, states=states, **fields)
    for o in ("", *b.layers[-1].extra_outputs):
        b.output(o or "y", f"{scan}:{o}" if o else scan)
    graph = b.graph()
    given = {
        n: r.standard_normal((3, *(70,) * graph.signals[n].time, graph.signals[n].width))
        for n in graph.inputs
    }
    given = {n: a.astype(np.float32) for n, a in given.items()}
    models = [rnnrt.Model(graph, isa=isa) for isa in VECTOR_ROWS or ["scalar"]]
    made = models[0].run(given)
    expected, _ = reference.run(graph, given)
    assert keeps_promise_1(made, graph, given, expected)
    for name, y in made.items():
        for other in models[1:]:
            assert same_bits(other.run(given)[name], y), name
    alone = models[0].run({n: a[2] for n, a in given.items()})
    for name, y in alone.items():
        assert same_bits(y, made[name][2]), name
    if not models[0].streamable:
        return
    stream = models[0].stream(batch_size=3, inputs={n: a for n, a in given.items() if n != "x"})
    for sizes in ([1, 0, 7, 60], [33]):
        parts, at = [], 0
        while at < 70:
            n = sizes[len(parts) % len(sizes)]
            parts.append(stream.push(given["x"][:, at : at + n]))
            at += n
        parts.append(stream.flush())
        for o, pieces in zip(graph.outputs, zip(*(p if isinstance(p, tuple) else (p,) for p in parts))):
            y = np.concatenate(pieces, 1)
            assert same_bits(y if graph.signals[o.value].time else y[:, 0], made[o.name]), o.name
        stream.reset()


# ---- files and refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", SCANS, ids=lambda c: c.name)
def test_a_scan_is_saved_and_loaded(case, tmp_path):
    model = rnnrt.from_graph(case.graph())
    model.save(tmp_path / "scan.rnnrt")
    loaded = rnnrt.load(tmp_path / "scan.rnnrt", verify=True)
    x = case.sample(2, 30)
    assert same_bits(loaded(x), model(x))
    assert loaded.fingerprint == model.fingerprint


def simple(**inputs):
    step = L.GraphBuilder()
    names = [step.input(n, (k,), time=False) for n, k in (inputs or {"x": 3, "h": 3}).items()]
    return step, names


def test_steps_that_cannot_be_are_refused_by_name():
    def refused(step, word, error=rnnrt.ShapeError, inputs=1, **fields):
        b = L.GraphBuilder()
        x = [b.input(f"x{k}", (3,)) for k in range(inputs)]
        with pytest.raises(error, match=word) as caught:
            b.add(L.Scan, "cell", *x, graph=step, **{"states": ("h",), **fields})
        assert "cell" in str(caught.value)

    step, (x, h) = simple()
    total = step.add(L.Add, "sum", x, h)
    step.output("h'", total)
    refused(step.graph(), "at least one answer")
    step.output("y", total)
    good = step.graph()
    refused(None, "graph is missing")
    refused(good, "per_step", per_step=2)
    refused(good, "per_step", per_step=-1)
    refused(good, "needs steps", per_step=0, states=("h", "x"))
    refused(good, "without sequences", steps=3)
    refused(good, "each its own", states=("h/1",))
    refused(good, "each its own", states=("h", "h"))
    refused(good, "started must name", started=("c",))
    refused(good, "initial has the wrong shape", initial=np.zeros(4))
    refused(good, "do not fit the step", inputs=2)
    refused(good, "cannot run in reverse", per_step=0, states=(), steps=3, reverse=True)
    many = {f"s{k}": 3 for k in range(63)}
    for answers in (1, 2):
        step, (x, *states) = simple(x=3, **many)
        for name, value in zip([*many, *(f"y{k}" for k in range(answers))], [*states[1:], x, x, x]):
            step.output(f"new_{name}", value)
        if answers > 1:
            refused(step.graph(), "too many outputs", rnnrt.UnsupportedModelError, states=tuple(many))
            continue
        model = rnnrt.from_graph(around(step.graph(), tuple(many)))  # 63 frames of delay, one state each
        frames = generator(26).standard_normal((70, 3)).astype(np.float32)
        assert same_bits(model(frames)[1:][0], frames[69 - 62])
        assert same_bits(model(frames)[63], frames[69])
    step, (x, h) = simple(x=3, h=4)
    step.output("h'", x)
    step.output("y", x)
    refused(step.graph(), "next 'h' has another shape")
    step, (x, h) = simple()
    timed = step.input("t", (3,))
    step.output("h'", x)
    step.output("y", timed)
    refused(step.graph(), "'t'.*runs over time", rnnrt.UnsupportedModelError)
    b = L.GraphBuilder()
    once = b.input("once", (3,), time=False)
    with pytest.raises(rnnrt.ShapeError, match="input 0 does not fit"):
        b.add(L.Scan, "cell", once, graph=good, states=("h",))


def test_a_layer_with_memory_inside_a_step_is_refused_by_name():
    step, (x, h) = simple()
    over = step.add(L.Unflatten, "unfold", x, length=3)
    over = step.add(L.GRU, "memory", over, weight=np.ones((9, 1)), recurrent_weight=np.ones((9, 3)))
    step.output("h'", h)
    step.output("y", step.add(L.Last, "last", over))
    b = L.GraphBuilder()
    with pytest.raises(rnnrt.UnsupportedModelError, match="unfold.*runs over time.*state"):
        b.add(L.Scan, "cell", b.input("x", (3,)), graph=step.graph(), states=("h",))


def test_a_scan_without_sequences_is_not_cut_by_lengths():
    case = next(c for c in CASES if c.name == "scan_fixed_steps")
    model = rnnrt.from_graph(case.graph())
    x = case.sample(3, 9)
    y = model(x, lengths=[9, 2, 5])
    assert y.shape == (3, 7, 4)
    for b, n in enumerate((9, 2, 5)):
        assert same_bits(y[b], model(x[b, :n]))


def test_the_delay_of_a_scan_is_that_of_the_latest_of_its_sequences():
    case = next(c for c in CASES if c.name == "scan_two_sequences")
    model = rnnrt.from_graph(case.graph())
    assert model.delay == 2  # x itself comes at once, the convolution beside it looks two frames ahead
    stream, frame = model.stream(), np.zeros(FEATURES, np.float32)
    assert [stream.step(frame) is None for _ in range(4)] == [True, True, False, False]


def test_lengths_are_refused_where_any_sequence_of_a_scan_changed_its_time():
    case = next(c for c in CASES if c.name == "scan_two_sequences")
    with pytest.raises(rnnrt.UnsupportedModelError, match="'scan'.*changed the time axis"):
        rnnrt.from_graph(case.graph())(case.sample(2, 9), lengths=[9, 4])


@pytest.mark.parametrize("name", ["scan_fixed_steps", "scan_fixed_steps_once", "scan_from_an_edge"])
def test_a_given_start_takes_the_place_of_an_edge(name):
    case = next(c for c in CASES if c.name == name)
    graph, x = case.graph(), case.sample(2, 9)
    model = rnnrt.Model(graph, lift=False)
    for state, number, size in model._states.values:
        given = {state: generator(27, number).standard_normal((2, size)).astype(np.float32)}
        expected, _ = reference.run(graph, {"x": x}, given)
        assert np.abs(model(x, initial_state=given) - expected["y"]).max() <= 1e-5, state
        assert np.abs(model(x) - expected["y"]).max() > 1e-4, state
