"""A stream owns its state and nothing else, in C and as an object of Python: every byte is counted."""

import pytest
from allocations import answer_of

PROGRAM = r"""
import ctypes, gc, json, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import rnnrt
from case_layers import weights
from cases import CASES
from rnnrt import layers as L

r = np.random.default_rng(0)
held = ctypes.CDLL(None).held
held.restype = ctypes.c_long


def network(make):
    b = L.GraphBuilder()
    b.output("y", make(b))
    return rnnrt.from_graph(b.graph())


def lstm_128(b):
    gates = {"weight": weights(r, 512, 128), "recurrent_weight": weights(r, 512, 128)}
    return b.add(L.LSTM, "lstm", b.input("x", (128,)), **gates)


def amp(b):
    # the histories of a standard NAM: 16 and 8 channels, 10 dilations each
    x = b.add(L.Dense, "wide", b.input("x", (1,)), weight=weights(r, 16, 1))
    for size in (16, 8):
        x = b.add(L.Dense, f"to_{size}", x, weight=weights(r, size, 16))
        for k in range(10):
            name = f"{size}_{k}"
            window = {"weight": weights(r, size, 3, size), "dilation": 1 << k, "padding": (2 << k, 0)}
            y = b.add(L.Conv1D, f"c{name}", x, **window)
            x = b.add(L.Add, f"a{name}", x, b.add(L.Activation, f"t{name}", y, activation="tanh"))
    return x


def owned(model, batch=None, count=12, **more):
    keep = [model.stream(batch, **more) for _ in range(2)]  # what all of them share is made with the first
    streams = [None] * count
    gc.collect()
    before = held()
    for k in range(count):
        streams[k] = model.stream(batch, **more)
    gc.collect()
    return (held() - before) / count


def state_of(model, batch=None):
    arrays = model.stream(batch).state.arrays()
    queues = 8 * sum("/queue" in name for name in arrays)
    each = queues + 16 * len(model._run_graph.layers)
    return sum(a.nbytes for a in arrays.values()) + (batch or 1) * each


found = {}
for name, model in [("lstm_128", network(lstm_128)), ("amp", network(amp))] + [
    (c.name, rnnrt.Model(c.graph())) for c in CASES if c.streams
]:
    found[name] = [owned(model), state_of(model), owned(model, 7), state_of(model, 7)]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return answer_of(PROGRAM, tmp_path_factory.mktemp("counter"))


def test_a_stream_owns_its_state_sixteen_bytes_an_op_and_less_than_a_kib(found):
    assert len(found) > 60
    for name, (alone, state, of_seven, states) in found.items():
        assert state < alone < state + 1024, name
        assert states < of_seven < states + 1024 + 7 * 64, name  # rows begin at multiples of 16 bytes


def test_what_streams_take_that_people_run(found):
    assert found["lstm_128"][0] < 1500
    assert found["amp"][0] < 205_000
