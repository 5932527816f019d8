"""States: what may be given back to a stream, what an edit of one means, and bytes that are not a state."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import CASES
from expect import VECTOR_ROWS, same_bits

import rnnrt
from rnnrt import State, StateError, _engine
from rnnrt import layers as L


def weights(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32) / np.float32(shape[-1])


def built(make):
    b = L.GraphBuilder()
    b.output("y", make(b))
    return rnnrt.from_graph(b.graph())


def cell(b, kind, name, x, size, units=4, *initial):
    gates = {L.LSTM: 4, L.GRU: 3, L.SimpleRNN: 1}[kind]
    return b.add(
        kind,
        name,
        x,
        *initial,
        weight=weights(gates * units, size, seed=1),
        recurrent_weight=weights(gates * units, units, seed=2),
    )


def lstm():
    return built(lambda b: cell(b, L.LSTM, "lstm", b.input("x", (3,)), 3))


def stacked():
    return built(lambda b: cell(b, L.GRU, "two", cell(b, L.LSTM, "one", b.input("x", (3,)), 3), 4))


def convolved():
    def make(b):
        conv = b.add(L.Conv1D, "conv", b.input("x", (3,)), weight=weights(4, 3, 3), padding=(2, 0))
        return cell(b, L.GRU, "gru", conv, 4)

    return built(make)


def given_once():
    def make(b):
        z = b.input("z", (4,), time=False)
        return cell(b, L.GRU, "gru", b.input("x", (3,)), 3, 4, z)

    return built(make)


# ---- an edited State is the state --------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [None, 2])
@pytest.mark.parametrize("through_bytes", [False, True])
def test_an_edit_of_the_arrays_is_the_state(batch, through_bytes):
    model, lead = stacked(), () if batch is None else (batch,)
    x = weights(*lead, 9, 3, seed=3)
    h = np.full((*lead, 4), 0.5, np.float32)
    stream = model.stream(batch)
    for pushed in (0, 4):
        stream.reset()
        stream.push(x[..., :pushed, :])
        state = stream.state
        state.arrays()["one/h"][...] = h
        recurrent = {name: state.arrays()[name] for name, _, _ in model._states.values}
        wanted = model(x, initial_state={**recurrent, "one/h": h})
        assert np.abs(wanted - model(x, initial_state=stream.state)).max() > 1e-3
        other = model.stream(batch)
        other.state = State.from_bytes(state.to_bytes()) if through_bytes else state
        assert other.position == pushed
        assert (other.push(x) == wanted).all()
        assert (other.state.arrays()["one/h"] != h).any()


def test_an_edit_that_no_longer_fits_is_refused_and_changes_nothing():
    model, x = lstm(), weights(5, 3)
    stream, rest = model.stream(), model(x)[2:]
    stream.push(x[:2])
    for spoil in (
        lambda a: setattr(a, "shape", (2, 2)),
        lambda a: setattr(a, "dtype", np.complex64),
    ):
        state = model.stream().state
        spoil(state.arrays()["lstm/h"])
        with pytest.raises(rnnrt.RnnrtError, match="lstm/h"):
            stream.state = state
    assert (stream.push(x[2:]) == rest).all()


def test_what_the_network_itself_starts_from_cannot_be_edited_away():
    stream = given_once().stream(inputs={"z": np.ones(4, np.float32)})
    state = stream.state
    stream.state = state
    state.arrays()["gru/h"][:] = 1
    with pytest.raises(StateError, match="'gru/h' is set by another layer or an input"):
        stream.state = state
    stream.push(weights(2, 3))
    state = stream.state
    state.arrays()["gru/h"][:] = 1  # later on it is a state like any other
    stream.state = state
    assert (stream.state.arrays()["gru/h"] == 1).all()


# ---- what starts a sequence, and what goes on with one -----------------------------------------------------


def test_a_state_from_a_dict_resets_all_the_rest():
    model, x = stacked(), weights(6, 3)
    h = np.full(4, 0.25, np.float32)
    for given in ({"one/h": h}, {}, {"two/h": h}):
        wanted = model(x, initial_state=given)
        stream = model.stream()
        stream.push(weights(5, 3, seed=7))
        stream.state = given
        assert stream.position == 0
        assert (stream.push(x) == wanted).all()
        stream.flush()
        stream.state = given  # also after the end
        assert (stream.push(x) == wanted).all()


@pytest.mark.parametrize("make", [stacked, convolved])
def test_a_stream_may_start_from_a_state(make):
    model, x = make(), weights(2, 6, 3)
    given = {name: np.full((2, 4), 0.25, np.float32) for name, _, _ in model._states.values}
    _, final = model(x, return_state=True)
    for start in (given, final):
        stream = model.stream(2, initial_state=start)
        assert (stream.push(x) == model(x, initial_state=start)).all()
        stream.reset()
        assert (stream.push(x) == model(x)).all()
    with pytest.raises(StateError, match="wrong shape"):
        model.stream(initial_state=final)
    with pytest.raises(StateError, match="no state"):
        model.stream(initial_state={"gru/x": 1})


@pytest.mark.parametrize(
    "window",
    [
        lambda b, x: b.add(L.Conv1D, "window", x, weight=weights(3, 2, 3), padding=(1, 0)),
        lambda b, x: b.add(L.Conv1D, "window", x, weight=weights(3, 1, 3), stride=2),
        lambda b, x: b.add(L.MaxPool1D, "window", x, size=2, stride=1, padding=(1, 0)),
        lambda b, x: b.add(L.AveragePool1D, "window", x, size=2, stride=2),
    ],
)
def test_recurrent_values_alone_do_not_continue_a_network_with_windows(window):
    model = built(lambda b: cell(b, L.GRU, "gru", window(b, b.input("x", (3,))), 3))
    x = weights(8, 3)
    _, final = model(x, return_state=True)
    stream = model.stream()
    rest = model(x)[len(stream.push(x[:4])) :]
    for given in (final, final.arrays(), {}):
        with pytest.raises(StateError, match=r"'window'.*remembers frames.*initial_state="):
            stream.state = given
    middle = stream.state
    with pytest.raises(StateError, match="also holds frames"):
        model(x, initial_state=middle)
    assert (stream.push(x[4:]) == rest).all()  # nothing changed
    stream.state = middle
    assert (stream.push(x[4:]) == rest).all()


@pytest.mark.parametrize("kind", [L.GlobalMaxPool, L.GlobalAveragePool])
def test_sums_over_time_are_remembered_frames_too(kind):
    model = built(lambda b: b.add(kind, "pool", cell(b, L.GRU, "gru", b.input("x", (3,)), 3)))
    _, final = model(weights(8, 3), return_state=True)
    with pytest.raises(StateError, match="'pool'"):
        model.stream().state = final


def test_the_last_frame_alone_is_nothing_to_remember():
    model = built(lambda b: b.add(L.Last, "last", cell(b, L.GRU, "gru", b.input("x", (3,)), 3)))
    x = weights(8, 3)
    _, final = model(x[:5], return_state=True)
    stream = model.stream()
    stream.state = final
    stream.push(x[5:])
    assert (stream.flush()[0] == model(x)).all()


def test_rows_of_a_network_that_joins_can_be_reset_alone():
    def make(b):
        x = b.input("x", (4,))
        return b.add(L.Concatenate, "both", b.add(L.Add, "sum", x, cell(b, L.GRU, "gru", x, 4)), x)

    model, x = built(make), weights(3, 8, 4)
    stream = model.stream(3)
    stream.push(x[:, :3])
    stream.reset(rows=[1])
    rest = stream.push(x[:, 3:])
    assert (rest[1] == model(x[1, 3:])).all()
    assert (rest[0] == model(x[0])[3:]).all()


def test_a_row_starts_again_also_where_a_value_is_laid_out_over_time():
    """The frames still to come of a value given once are where the row is."""

    def make(b):
        given = b.add(L.Unflatten, "given", b.input("z", (12,), time=False), length=4)
        return b.add(L.Add, "sum", cell(b, L.GRU, "gru", b.input("x", (3,), length=4), 3, 3), given)

    model, z, x = built(make), weights(12), weights(2, 4, 3, seed=5)
    stream = model.stream(2, inputs={"z": z})
    first = stream.push(x[:, :2])
    stream.reset(rows=[1])
    rest = stream.push(x[:, 2:])
    assert (np.concatenate([first[0], rest[0]]) == model(z, x[0])).all()
    assert (rest[1] == model.stream(inputs={"z": z}).push(x[1, 2:])).all()
    with pytest.raises(StateError, match="'given'"):
        stream.state = {}


def test_a_state_belongs_to_the_inputs_given_once():
    model, x = given_once(), weights(6, 3)
    stream = model.stream(inputs={"z": np.ones(4, np.float32)})
    stream.push(x)
    other = model.stream(inputs={"z": np.zeros(4, np.float32)})
    with pytest.raises(StateError, match=r"given_once.*inputs="):
        other.state = stream.state
    same = model.stream(inputs={"z": np.ones(4)})
    same.state = stream.state
    assert (same.push(x) == stream.push(x)).all()


@pytest.mark.parametrize("every_step", [False, True])
def test_a_state_from_before_the_first_frame_is_a_beginning(every_step):
    """What depends on values given once alone is worked out with the first frame that comes after it."""

    def make(b):
        value = b.add(L.Dense, "value", b.input("z", (4,), time=False), weight=weights(4, 4, seed=3))
        last = b.add(L.Last, "last", cell(b, L.GRU, "gru", b.input("x", (3,)), 3))
        return b.add(L.Concatenate, "both", last, value)

    model, x, z = built(make), weights(6, 3), weights(4, seed=5)
    stream, other = (model.stream(inputs={"z": z}, every_step=every_step) for _ in range(2))
    other.push(x[:2])
    other.state = State.from_bytes(stream.state.to_bytes())
    made = np.concatenate([other.push(x), other.flush()])
    assert same_bits(made[-1], model(z, x)) and len(made) == (len(x) if every_step else 1)


def test_a_state_between_answers_to_every_step_goes_on_where_branches_answer_first_at_different_frames():
    """Values that each step replaces do not queue up while the other branch is silent."""

    def make(b):
        x = b.input("x", (2,))
        near = b.add(L.Conv1D, "near", x, weight=weights(2, 3, 2))
        far = b.add(L.Conv1D, "far", near, weight=weights(2, 3, 2), dilation=3)
        return b.add(L.Add, "sum", b.add(L.Last, "now", x), b.add(L.GlobalMaxPool, "most", far))

    model, x = built(make), weights(14, 2)
    whole = model.stream(every_step=True).push(x)
    for at in range(14):
        stream, other = model.stream(every_step=True), model.stream(every_step=True)
        first = stream.push(x[:at])
        other.state = stream.state
        assert same_bits(np.concatenate([first, other.push(x[at:])]), whole), at


def in_turns():
    """Two branches at every other frame, the one before the other: what waits comes and goes."""

    def make(b):
        x = b.input("x", (3,))
        early, late = (
            b.add(L.Conv1D, name, x, weight=weights(2, taps, 3), stride=2)
            for name, taps in (("early", 1), ("late", 2))
        )
        return b.add(L.Add, "sum", early, late)

    return built(make), weights(42, 3)


@pytest.mark.parametrize(
    "case", [*(c for c in CASES if c.streams), None], ids=lambda c: c.name if c else "in turns"
)
def test_the_bytes_of_a_state_do_not_tell_how_the_frames_came(case):
    model, x = (rnnrt.Model(case.graph()), case.sample(1, 42)[0]) if case else in_turns()
    in_parts = model.stream()
    in_parts.push(x[:5])
    in_parts.reset()
    for upto in (17, 18, 29, 40):
        at_once = model.stream()
        at_once.push(x[:upto])
        in_parts.push(x[in_parts.position : upto])
        assert in_parts.state.to_bytes() == at_once.state.to_bytes(), upto


@pytest.mark.parametrize("case", [c for c in CASES if c.streams and not c.length], ids=lambda c: c.name)
def test_a_clone_goes_on_from_where_the_stream_is_and_by_itself(case):
    model, x = rnnrt.Model(case.graph()), case.sample(3, 42)
    stream = model.stream(3)
    stream.push(x[:, :11])
    stream.reset(rows=[1])
    stream.push(x[:, 11:17])
    clone = stream.clone()
    assert clone.state.to_bytes() == stream.state.to_bytes()
    of_stream, of_clone = stream.push(x[:, 17:30]), clone.push(x[:, 17:30])
    assert all(same_bits(a, b) for a, b in zip(of_stream, of_clone))
    stream.push(x[:, 30:])
    at = [int(p) for p in np.broadcast_to(clone.position, 3)]
    assert at == [30, 19, 30]
    clone.flush()
    with pytest.raises(StateError, match="over"):
        clone.clone()


GOES_ON = """
import sys
from pathlib import Path
import numpy as np
import rnnrt
from rnnrt import State

for path in sorted(Path(sys.argv[1]).glob("*.rnnrt")):
    model = rnnrt.load(path)
    assert model.isa == sys.argv[2], model.isa
    stream = model.stream(2)
    stream.state = State.from_bytes(path.with_suffix(".state").read_bytes())
    np.save(path.with_suffix(".there.npy"), stream.push(np.load(path.with_suffix(".npy"))))
    path.with_suffix(".state").write_bytes(stream.state.to_bytes())
"""


@pytest.mark.parametrize("there", _engine.isas())
@pytest.mark.parametrize("here", _engine.isas())
def test_a_state_goes_on_in_another_process_on_every_instruction_set(here, there, tmp_path):
    """From a state of this process, in another one and then here again, with the bits of a stream that went
    on here on that instruction set; where both have vectors, of a stream that never left.
    """
    live = {}
    for name in ("wavenet", "lstm_20", "gru_before_norm", "three_delays", "scan_two_widths", "masked_mean"):
        case, path = next(c for c in CASES if c.name == name), tmp_path / f"{name}.rnnrt"
        rnnrt.Model(case.graph()).save(path)
        model, x = rnnrt.load(path, isa=here), case.sample(2, 60)
        stayed = model.stream(2)
        stayed.push(x[:, :20])
        path.with_suffix(".state").write_bytes(stayed.state.to_bytes())
        np.save(path.with_suffix(".npy"), x[:, 20:41])
        changed = rnnrt.load(path, isa=there).stream(2)
        changed.state = stayed.state
        live[path] = x, stayed, changed
    words = [sys.executable, "-c", GOES_ON, str(tmp_path), there]
    environment = {**os.environ, "RNNRT_ISA": there}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for path, (x, stayed, changed) in live.items():
        made, never_left = np.load(path.with_suffix(".there.npy")), stayed.push(x[:, 20:41])
        assert same_bits(made, changed.push(x[:, 20:41]))
        back = rnnrt.load(path, isa=here).stream(2)
        back.state = State.from_bytes(path.with_suffix(".state").read_bytes())
        assert back.state.to_bytes() == changed.state.to_bytes()
        if here == there or {here, there} <= {*VECTOR_ROWS}:
            assert same_bits(made, never_left) and same_bits(back.push(x[:, 41:]), stayed.push(x[:, 41:]))
        elif made.size:
            assert np.abs(made - never_left).max() < 1e-5


# ---- what is not a state -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoil",
    [
        lambda a: a.pop("conv/window"),
        lambda a: a.pop("gru/h"),
        lambda a: a.update(more=np.zeros(3)),
        lambda a: a.update({"conv/window": [[0.0] * 3] * 2}),
        lambda a: a.update({"conv/window": a["conv/window"].astype(np.float64)}),
        lambda a: a.update({"conv/window": a["conv/window"][1:]}),
        lambda a: a.update({"conv/window": range(6)}),
        lambda a: a.update(position=np.array(1 << 61, np.uint64)),
        lambda a: a.update(position=-1),
    ],
)
def test_what_a_stream_keeps_is_checked_array_by_array(spoil):
    model = convolved()
    stream, x = model.stream(), weights(8, 3)
    stream.push(x[:5])
    arrays = stream.state.arrays()
    stream.state = arrays
    spoil(arrays)
    with pytest.raises(rnnrt.RnnrtError):
        stream.state = arrays
    assert (stream.push(x[5:]) == model(x)[5:]).all()


def test_the_arrays_of_a_state_are_what_their_names_say():
    model, x = convolved(), weights(2, 7, 3)
    stream = model.stream(2)
    stream.push(x[:, :1])
    window = stream.state.arrays()["conv/window"]
    assert (window == np.concatenate([np.zeros((2, 1, 3)), x[:, :1]], 1)).all()
    stream.push(x[:, 1:6])
    arrays = stream.state.arrays()
    assert (arrays["conv/window"] == x[:, 4:6]).all()
    assert (arrays["gru/h"] == model(x[:, :6], return_state=True)[1].arrays()["gru/h"]).all()
    assert arrays["position"].tolist() == [6, 6]
    arrays["conv/window"][:] = x[:, 2:4]  # an edit of a window is one too
    stream.state = arrays
    other = model.stream(2)
    other.push(x[:, :4])
    h = other.state.arrays()
    h["gru/h"][:] = arrays["gru/h"]
    other.state = h
    assert (stream.push(x[:, 6:]) == other.push(x[:, 6:])).all()


@pytest.mark.parametrize("value", [None, 3, "state", b"RNNRTST2", [np.zeros(4)], (np.zeros(4), np.zeros(4))])
def test_only_a_state_or_a_dict_is_set(value):
    with pytest.raises(StateError, match="not a state"):
        lstm().stream().state = value


def held():
    stream = convolved().stream(2)
    stream.push(weights(2, 5, 3))
    return stream.state.to_bytes()


def test_no_flipped_bit_is_read():
    data, generator = held(), np.random.default_rng(0)
    State.from_bytes(data)
    for k in range(100_000):
        bit = int(generator.integers(8 * len(data))) if k >= 800 else k  # the whole beginning, then anywhere
        bad = bytearray(data)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(StateError):
            State.from_bytes(bad)


def test_no_part_is_read():
    data = held()
    for size in range(len(data)):
        with pytest.raises(StateError):
            State.from_bytes(data[:size])
    for tail in (b"\0", b"\0" * 4, data):
        with pytest.raises(StateError, match="checksum"):
            State.from_bytes(data + tail)


def test_bytes_of_another_format_are_named():
    data = held()
    written_before = (Path(__file__).parent / "data" / "state_1.bin").read_bytes()  # an LSTM's, by format 1
    with pytest.raises(StateError, match=r"older rnnrt.*format 1.*take its state again"):
        State.from_bytes(written_before)
    with pytest.raises(StateError, match=r"older rnnrt.*format 1"):
        State.from_bytes(b"RNNRTST1" + data[8:])
    with pytest.raises(StateError, match=r"newer rnnrt.*format 3.*Update"):
        State.from_bytes(b"RNNRTST3" + data[8:])
    for junk in (b"", b"x" * 100, b"RNNRTST", b"RNNRTSTx", 5, None, "text", [1, 2]):
        with pytest.raises(StateError, match="not a state"):
            State.from_bytes(junk)
