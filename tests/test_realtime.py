"""After a stream is made, step(out=) and push(out=) allocate nothing: every malloc of the process is counted.

A library loaded before all others counts the calls between two marks, in a process of its own; NumPy's and
CPython's own memory is counted there too (PYTHONMALLOC=malloc), which is proved by counting something that
does allocate.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from needs import absent

COUNTER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
static volatile long calls;
static __thread int inside;
#define REAL(type, name, ...) static type (*real)(__VA_ARGS__); \
    if (!real && !inside) { inside = 1; real = dlsym(RTLD_NEXT, #name); inside = 0; }
#define COUNT __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED)
long counted(void) { return calls; }
void *malloc(size_t n) { REAL(void *, malloc, size_t) COUNT; return real(n); }
void *realloc(void *p, size_t n) { REAL(void *, realloc, void *, size_t) COUNT; return real(p, n); }
void *aligned_alloc(size_t a, size_t n) {
    REAL(void *, aligned_alloc, size_t, size_t) COUNT; return real(a, n); }
int posix_memalign(void **p, size_t a, size_t n) {
    REAL(int, posix_memalign, void **, size_t, size_t) COUNT; return real(p, a, n); }
static char early[65536];
static size_t used;
void *calloc(size_t k, size_t n) {  /* dlsym itself asks for memory before the real one is known */
    static void *(*real)(size_t, size_t);
    if (!real) {
        if (inside) { void *p = early + used; used += (k * n + 63) / 64 * 64; return p; }
        inside = 1; real = dlsym(RTLD_NEXT, "calloc"); inside = 0;
    }
    COUNT;
    return real(k, n);
}
"""

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
    chunks = np.ascontiguousarray(x[:60].reshape(3, 20, -1))
    batch.push(np.ascontiguousarray(x[:300].reshape(3, 100, -1)))
    outs = np.empty((3, batch.max_outputs(20), width), np.float32)
    assert batch.push(chunks, outs) is outs
    found[f"{name} batch push"] = allocations(lambda: batch.push(chunks, outs), 200) - loop
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if sys.platform != "linux" or not compiler:
        absent("counting allocations needs Linux and a C compiler")
    folder = tmp_path_factory.mktemp("counter")
    (folder / "counter.c").write_text(COUNTER)
    subprocess.run(
        [compiler, "-O1", "-shared", "-fPIC", "-o", folder / "counter.so", folder / "counter.c", "-ldl"],
        check=True,
    )
    environment = {**os.environ, "LD_PRELOAD": str(folder / "counter.so"), "PYTHONMALLOC": "malloc"}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(Path(__file__).parent / "support")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_the_counter_counts(found):
    assert found["counter"] >= 200


def test_step_and_push_allocate_nothing(found):
    assert len(found) == 41
    assert {name: calls for name, calls in found.items() if calls and name != "counter"} == {}
