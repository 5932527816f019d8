"""After a stream is made, step(out=) and push(out=) allocate nothing: every malloc of the process is counted
(see support/allocations.py), which is proved by counting something that does allocate. With realtime=True not
even a page of memory is met for the first time.
"""

import pytest
from allocations import answer_of

PROGRAM = r"""
import ctypes, gc, itertools, json, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import rnnrt
from cases import CASES

counted = ctypes.CDLL(None).counted
counted.restype = ctypes.c_long

def allocations(call, times):
    call()
    gc.collect(); gc.disable()
    turns = itertools.repeat(None, times)  # counting in Python would allocate the numbers
    before = counted()
    for _ in turns:
        call()
    return counted() - before

found = {}
loop = allocations(lambda: None, 200)
found["counter"] = allocations(lambda: np.zeros(100_000, np.float32), 200) - loop
for name in ("lstm_20", "gru_20", "textbook_ln_rnn", "textbook_lstm", "lstm_256", "conv_dilated",
             "three_delays", "per_frame", "scan_two_widths", "scan_stored_start"):
    case = next(c for c in CASES if c.name == name)
    model = rnnrt.Model(case.graph())
    width = model.outputs["y"][-1]
    x = case.sample(1, 4096)[0]
    stream, frame, y = model.stream(), x[0], np.empty(width, np.float32)
    found[f"{name} step"] = allocations(lambda: stream.step(frame, y), 500) - loop
    live, chunk = model.stream(), x[:20]
    live.push(x[:100])
    out = np.empty((live.max_outputs(20), width), np.float32)
    assert live.push(chunk, out) is out
    found[f"{name} push"] = allocations(lambda: live.push(chunk, out), 200) - loop
    batch = model.stream(batch_size=3)
    frames, ys = np.ascontiguousarray(x[:3]), np.empty((3, width), np.float32)
    found[f"{name} batch step"] = allocations(lambda: batch.step(frames, ys), 200) - loop
    many = model.stream(batch_size=256)  # more rows than are worked on at a time
    frames, ys = np.ascontiguousarray(x[:256]), np.empty((256, width), np.float32)
    found[f"{name} many rows step"] = allocations(lambda: many.step(frames, ys), 200) - loop
    chunks = np.ascontiguousarray(x[:60].reshape(3, 20, -1))
    batch.push(np.ascontiguousarray(x[:300].reshape(3, 100, -1)))
    outs = np.empty((3, batch.max_outputs(20), width), np.float32)
    assert batch.push(chunks, outs) is outs
    found[f"{name} batch push"] = allocations(lambda: batch.push(chunks, outs), 200) - loop
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return answer_of(PROGRAM, tmp_path_factory.mktemp("counter"))


def test_the_counter_counts(found):
    assert found["counter"] >= 200


def test_step_and_push_allocate_nothing(found):
    assert len(found) == 51
    assert {name: calls for name, calls in found.items() if calls and name != "counter"} == {}


FIRST_STEPS = r"""
import json, resource, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import rnnrt
from case_layers import weights
from rnnrt import layers as L

b, r = L.GraphBuilder(), np.random.default_rng(0)
window = {"weight": weights(r, 1024, 3, 256), "dilation": 256, "padding": (512, 0)}
x = b.add(L.Conv1D, "conv", b.input("x", (256,)), **window)
b.output("y", b.add(L.LSTM, "lstm", x, weight=weights(r, 1024, 1024), recurrent_weight=weights(r, 1024, 256)))
model = rnnrt.from_graph(b.graph())
frames, out = np.zeros((64, 256), np.float32), np.zeros((64, 256), np.float32)
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
live, first = model.stream(64), faults()  # frames from before the beginning are not read, nor touched
live.step(frames, out)
first = faults()
stream = model.stream(64, realtime=True)
made = faults()
stream.step(frames, out)
print(json.dumps({"made": made - first, "step": faults() - made}))
"""


def test_the_first_step_of_a_realtime_stream_meets_no_new_page(tmp_path):
    pages = answer_of(FIRST_STEPS, tmp_path)
    assert pages["made"] > 8000  # 32 MiB of windows alone
    assert pages["step"] < 40
