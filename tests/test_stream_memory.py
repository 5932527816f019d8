"""A stream owns its state and nothing else, in C and as an object of Python: every byte is counted."""

import pytest
from allocations import answer_of

NETWORKS = r"""
import ctypes, gc, json, os, sys, tempfile
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import numpy as np
import captures
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


def amp():
    # of the sizes that most captures have: 16 and 8 channels, 10 dilations each
    dilations = [1 << k for k in range(10)]
    arrays = [captures.array(1, 1, 16, dilations, head_size=8), captures.array(16, 1, 8, dilations)]
    document = captures.nam(layers=arrays, head=None, head_scale=0.02)
    with tempfile.TemporaryDirectory() as folder:
        return rnnrt.from_nam(captures.written(Path(folder), document))
"""

STREAMS = r"""
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
for name, model in [("lstm_128", network(lstm_128)), ("amp", amp())] + [
    (c.name, rnnrt.Model(c.graph())) for c in CASES if c.streams
]:
    found[name] = [owned(model), state_of(model), owned(model, 7), state_of(model, 7)]
print(json.dumps(found))
"""

CROWD = r"""
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


model, frame = network(lstm_128), np.zeros(128, np.float32)
keep, streams = model.stream(), [None] * 10_000
gc.collect()
before, pages = held(), resident()
for k in range(10_000):
    streams[k] = model.stream()
for stream in streams:
    stream.step(frame)
print(json.dumps([held() - before, resident() - pages]))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return answer_of(NETWORKS + STREAMS, tmp_path_factory.mktemp("counter"))


def test_a_stream_owns_its_state_sixteen_bytes_an_op_and_less_than_a_kib(found):
    assert len(found) > 60
    for name, (alone, state, of_seven, states) in found.items():
        assert state < alone < state + 1024, name
        assert states < of_seven < states + 1024 + 7 * 64, name  # rows begin at multiples of 16 bytes


def test_what_streams_take_that_people_run(found):
    """In C and as an object of Python together."""
    assert 1024 < found["lstm_128"][0] < 1500  # h and c are 1,024 bytes
    assert 196_416 < found["amp"][0] < 200_000


def test_ten_thousand_live_streams_of_an_lstm_take_less_than_15_megabytes(tmp_path):
    """By the allocator, and by the pages that the process got."""
    assert all(10_240_000 < size < 15_000_000 for size in answer_of(NETWORKS + CROWD, tmp_path))
