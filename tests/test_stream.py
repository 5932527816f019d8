"""The same bits however a network is run: whole, chunked, stepped; alone or in a batch; AVX2 or AVX-512; any
block length.
"""

import numpy as np
import pytest
from cases import CASES
from expect import VECTOR_ROWS, enough, keeps_promise_1, pushed, same_bits
from random_graphs import frames_needed, random_graph

import rnnrt
from rnnrt import reference

STREAMS = [c for c in CASES if c.streams]


@pytest.mark.parametrize("case", STREAMS, ids=lambda c: c.name)
def test_chunking_does_not_change_the_bits(case):
    model = rnnrt.Model(case.graph())
    frames = case.length or 177
    x = case.sample(1, frames)[0]
    whole = model(x)
    whole = whole if model.graph.signals[model.graph.outputs[0].value].time else whole[None]
    for sizes in ([frames], [0, 1, 7, 50], [1], [3, 0, 56, 57]):
        stream = model.stream()
        assert same_bits(pushed(stream, x, sizes), whole), sizes
        stream.reset()
        assert same_bits(pushed(stream, x, sizes), whole), f"{sizes} after reset"
    for block in (1, 3):
        assert same_bits(pushed(model.stream(_block=block), x, [40]), whole), f"block of {block}"


@pytest.mark.parametrize("case", STREAMS, ids=lambda c: c.name)
def test_steps_do_not_change_the_bits(case):
    model = rnnrt.Model(case.graph())
    x = case.sample(1, 40)[0]
    whole = model(x)
    stream = model.stream()
    try:
        made = [y for frame in x if (y := stream.step(frame)) is not None]
    except rnnrt.StateError as error:
        assert "push()" in str(error)
        return
    made += list(stream.flush())
    made = np.stack(made)
    assert same_bits(made, whole if model.graph.signals[model.graph.outputs[0].value].time else whole[None])
    with pytest.raises(rnnrt.StateError, match="flushed"):
        stream.step(x[0])


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_neither_batch_nor_row_change_the_bits(case):
    model = rnnrt.Model(case.graph())
    x = case.sample(19, 45)
    batch = model(x)
    for row in (0, 1, 7, 18):
        assert same_bits(model(x[row]), batch[row])
    assert same_bits(model(x[3:9]), batch[3:9])
    if case.streams:
        stream = model.stream(batch_size=19)
        y = pushed(stream, x, [1, 7, 0, 20])
        assert same_bits(y if batch.ndim == y.ndim else y[:, 0], batch)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_the_instruction_set_does_not_change_the_bits(case):
    if len(VECTOR_ROWS) < 2:
        pytest.skip("this processor has one vector instruction set only")
    x = case.sample(3, 61)
    first, *others = (rnnrt.Model(case.graph(), isa=isa)(x) for isa in VECTOR_ROWS)
    for other in others:
        assert same_bits(first, other)


@pytest.mark.parametrize("seed", range(120))
def test_random_graphs(seed):
    """Whole, chunked, batched and in blocks of 1 and 3, all alike in bits; and right, over three blocks and
    one frame.
    """
    graph, inputs = random_graph(seed, streamable=seed % 3 != 0)
    frames = max(3 * 56 + 1, frames_needed(graph))
    given = inputs(2, frames)
    models = [rnnrt.Model(graph, isa=isa) for isa in VECTOR_ROWS or ["scalar"]]
    made = models[0].run(given)
    expected, _ = reference.run(graph, given)
    assert keeps_promise_1(made, graph, given, expected)
    for other in models[1:]:
        for name, y in other.run(given).items():
            assert same_bits(y, made[name]), name
    alone = models[0].run({n: a[1] for n, a in given.items()})
    for name, y in alone.items():
        assert same_bits(y, made[name][1]), name
    if not models[0].streamable:
        return
    timed = [n for n in graph.inputs if graph.signals[n].time]
    once = {n: given[n] for n in graph.inputs if n not in timed}
    for block, sizes in ((0, [1, 0, 7, 60]), (1, [33]), (3, [50])):
        stream = models[0].stream(batch_size=2, inputs=once, _block=block)
        parts, at, k = [], 0, 0
        while at < frames:
            n = sizes[k % len(sizes)]
            chunk = tuple(given[name][:, at : at + n] for name in timed)
            parts.append(stream.push(chunk if len(chunk) > 1 else chunk[0]))
            at, k = at + n, k + 1
        parts.append(stream.flush())
        parts = [p if isinstance(p, tuple) else (p,) for p in parts]
        for o, pieces in zip(graph.outputs, zip(*parts)):
            y = np.concatenate(pieces, 1)
            assert same_bits(y if graph.signals[o.value].time else y[:, 0], made[o.name]), (block, o.name)


ONCE = [c for c in STREAMS if not c.graph().signals[c.graph().outputs[0].value].time and c.length is None]


@pytest.mark.parametrize("case", ONCE, ids=lambda c: c.name)
def test_every_step_says_what_the_model_says_so_far(case):
    model = rnnrt.Model(case.graph())
    x = case.sample(1, 23)[0]
    stream = model.stream(every_step=True)
    for t, frame in enumerate(x):
        y = stream.step(frame)
        if y is None:
            assert not enough(case, t + 1)
            continue
        assert same_bits(y, model(x[: t + 1])), t
    chunked = model.stream(every_step=True)
    made = np.concatenate([chunked.push(x[:9]), chunked.push(x[9:])])
    assert same_bits(made[-1], model(x))
    assert len(chunked.flush()) == 0


def test_every_step_beside_an_input_without_time():
    r = np.random.default_rng(3)
    b = rnnrt.layers.GraphBuilder()
    x, speaker = b.input("x", (3,)), b.input("speaker", (4,), time=False)
    h = b.add(
        rnnrt.layers.GRU,
        "gru",
        x,
        weight=r.standard_normal((15, 3)),
        recurrent_weight=r.standard_normal((15, 5)),
    )
    e = b.add(rnnrt.layers.Dense, "embed", speaker, weight=r.standard_normal((2, 4)), activation="tanh")
    joined = b.add(rnnrt.layers.Concatenate, "cat", "gru:h", speaker, e, b.add(rnnrt.layers.Last, "last", h))
    b.output("y", b.add(rnnrt.layers.Dense, "fc", joined, weight=r.standard_normal((2, 16))))
    model = rnnrt.Model(b.graph())
    frames, voice = r.standard_normal((9, 3)).astype(np.float32), r.standard_normal(4).astype(np.float32)
    stream = model.stream(every_step=True, inputs={"speaker": voice})
    for t in range(9):
        assert same_bits(stream.step(frames[t]), model(frames[: t + 1], voice)), t
    at_the_end = model.stream(inputs={"speaker": voice})
    assert len(at_the_end.push(frames)) == 0
    assert same_bits(at_the_end.flush()[0], model(frames, voice))


def test_every_step_is_refused_where_the_end_would_change_the_answer():
    case = next(c for c in CASES if c.name == "global_max")
    b = rnnrt.layers.GraphBuilder()
    x = b.input("x", (3,))
    y = b.add(rnnrt.layers.Conv1D, "conv", x, weight=np.ones((4, 3, 3)), padding="same")
    b.output("y", b.add(rnnrt.layers.GlobalMaxPool, "pool", y))
    with pytest.raises(rnnrt.NotStreamableError, match="conv.*looks ahead"):
        rnnrt.Model(b.graph()).stream(every_step=True)
    assert rnnrt.Model(case.graph()).stream(every_step=True)


@pytest.mark.parametrize("case", [c for c in CASES if not c.streams], ids=lambda c: c.name)
def test_what_cannot_stream_says_which_layer_and_why(case):
    model = rnnrt.Model(case.graph())
    assert not model.streamable
    with pytest.raises(rnnrt.NotStreamableError, match="layer '"):
        model.stream()


def lstm():
    case = next(c for c in CASES if c.name == "lstm_20")
    return case, rnnrt.Model(case.graph())


def test_state_can_be_taken_stored_and_given_back():
    for name in ("lstm_20", "three_delays", "conv_dilated", "global_average", "textbook_conv_gru"):
        case = next(c for c in CASES if c.name == name)
        model = rnnrt.Model(case.graph())
        x = case.sample(1, 60)[0]
        stream = model.stream()
        stream.push(x[:31])
        state = stream.state
        twin = stream.clone()
        rest = np.concatenate([stream.push(x[31:]), stream.flush()])
        assert same_bits(np.concatenate([twin.push(x[31:]), twin.flush()]), rest)
        other = model.stream()
        other.state = rnnrt.State.from_bytes(state.to_bytes())
        assert other.position == 31
        assert same_bits(np.concatenate([other.push(x[31:]), other.flush()]), rest)


def test_a_run_goes_on_where_a_stream_stopped():
    case, model = lstm()
    x = case.sample(2, 30)
    whole, end = model(x, return_state=True)
    first, middle = model(x[:, :11], return_state=True)
    second, last = model(x[:, 11:], initial_state=middle, return_state=True)
    assert same_bits(np.concatenate([first, second], 1), whole)
    for name, a in end.arrays().items():
        assert same_bits(last.arrays()[name], a)
    stream = model.stream(batch_size=2)
    stream.state = middle.arrays()
    assert same_bits(stream.push(x[:, 11:]), second)


def test_states_of_others_are_refused():
    case, model = lstm()
    other = rnnrt.Model(next(c for c in CASES if c.name == "gru_20").graph())
    with pytest.raises(rnnrt.StateError, match="another model"):
        other.stream().state = model.stream().state
    with pytest.raises(rnnrt.StateError, match="no state 'lstm/x'"):
        model(case.sample(1, 3), initial_state={"lstm/x": np.zeros((1, 20))})
    with pytest.raises(rnnrt.StateError, match="wrong shape"):
        model(case.sample(1, 3), initial_state={"lstm/h": np.zeros((2, 20))})
    with pytest.raises(rnnrt.StateError, match="another kind of stream"):
        model.stream(batch_size=2).state = model.stream().state


def test_rows_can_be_reset_alone():
    case, model = lstm()
    x = case.sample(3, 20)
    stream = model.stream(batch_size=3)
    stream.push(x[:, :8])
    stream.reset(rows=[1])
    y = stream.push(x[:, 8:])
    assert same_bits(y[1], model(x[1, 8:]))
    assert same_bits(y[0], model(x[0])[8:])


def test_two_streams_do_not_touch():
    case, model = lstm()
    x = case.sample(2, 20)
    one, two = model.stream(), model.stream()
    a, b = [], []
    for t in range(20):
        a.append(one.step(x[0, t]))
        b.append(two.step(x[1, t]))
    assert same_bits(np.stack(a), model(x[0]))
    assert same_bits(np.stack(b), model(x[1]))
    assert model.step_many([model.stream(), model.stream()], x[:, 0])[1].tobytes() == b[0].tobytes()
