"""num_threads: calls that threads share have the bits of one thread, whatever else goes on in the process."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from case_layers import bidirectional, recurrent
from cases import CASES
from expect import refused, same_bits
from small_models import built, frames

import rnnrt
from rnnrt import RnnrtError, ShapeError, _engine
from rnnrt import layers as L

PROCESSORS = 4


@pytest.fixture(autouse=True)
def sharing():
    """Calls and products of any size are shared, as on a machine of some processors."""
    _engine.share_always(PROCESSORS)
    yield
    _engine.share_always()


def both_ways(b, x, r, units=40):
    return bidirectional(b, x, r, L.LSTM, units, L.Concatenate)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_threads_do_not_change_the_bits(case):
    alone, one, many = rnnrt.Model(case.graph()), case.sample(1, 45), case.sample(9, 45)
    expected = alone(one)
    for threads in (2, 3, 4):
        model = alone.with_options(num_threads=threads)
        assert same_bits(model(one), expected)
        if threads == 3:
            assert same_bits(model(many), alone(many))


@pytest.mark.parametrize("isa", _engine.isas())
@pytest.mark.parametrize("units", [17, 33, 64, 65, 97])
def test_products_are_cut_at_any_number_of_outputs(isa, units):
    """Gates of 17 to 97 units: whole shares and rests of 1 to 4 outputs, which alone would be dots."""

    def build(b, x, r):
        y = recurrent(b, recurrent(b, x, r, L.LSTM, units), r, L.GRU, units)
        return b.add(L.Dense, "d", y, weight=frames(129, units), bias=frames(129))

    alone, x = rnnrt.Model(built(build).graph, isa=isa), frames(2, 70, 3)
    for threads in (2, 3, 4):
        assert same_bits(alone.with_options(num_threads=threads)(x), alone(x))


def test_every_thread_flushes_denormals():
    build = lambda b, x, r: b.add(L.Dense, "d", x, weight=np.full((256, 16), 1e-20, np.float32))
    alone, x = built(build, features=(16,)), np.full((4, 3000, 16), 1e-20, np.float32)
    assert not alone(x).any()
    shared = alone.with_options(num_threads=4)
    for given in (x, *[x[0]] * 9):  # rows, and outputs
        assert not shared(given).any()


def test_states_lengths_and_outputs_of_shared_rows_are_those_of_one_thread():
    build = lambda b, x, r: recurrent(b, x, r, L.LSTM, 128)
    model, x = built(build, features=(64,)), frames(13, 40, 64)
    given = {"initial_state": {"lstm/h": frames(13, 128, seed=3)}, "lengths": np.arange(13) + 20}
    y, state = model(x, **given, return_state=True)
    for threads in (2, 3, 64):
        made, end = model.with_options(num_threads=threads)(x, **given, return_state=True)
        assert same_bits(made, y)
        assert all(same_bits(a, state.arrays()[n]) for n, a in end.arrays().items())


def test_the_first_row_that_is_wrong_is_named_and_the_model_goes_on():
    table = frames(5, 3)
    model = built(lambda b, x, r: b.add(L.Embedding, "e", x, weight=table), features=(), ids=True)
    shared, ids = model.with_options(num_threads=4), np.zeros((40, 7), np.int32)
    for row in (3, 21, 39):
        ids[row, row % 7] = 5
    for _ in range(5):
        refused(ShapeError, lambda: shared(ids), "row 3, time 3")
    assert same_bits(shared(ids % 5), model(ids % 5))


def test_python_threads_share_the_threads_of_several_models():
    alone = [built(lambda b, x, r, n=n: both_ways(b, x, r, n)) for n in (20, 40)]
    shared = [m.with_options(num_threads=n) for m, n in zip(alone * 2, (2, 3, 4, 4))]
    x, wrong = frames(5, 30, 3), []
    expected = [m(x) for m in alone * 2]

    def call(first):
        for k in range(12):
            k = (first + k) % 4
            if not same_bits(shared[k](x), expected[k]):
                wrong.append(k)

    callers = [threading.Thread(target=call, args=(k,)) for k in range(6)]
    for c in callers:
        c.start()
    for c in callers:
        c.join()
    assert not wrong


def ends_well(child):
    """Whether the child of a fork ends within a minute, and says that all held."""
    for _ in range(6000):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def child_of(what):
    """Fork; the child does what is to hold in it. Whether it held."""
    child = os.fork()
    if not child:
        try:
            os._exit(0 if what() else 1)
        except BaseException:  # noqa: BLE001 - nothing of the parent's may run in the child
            os._exit(2)
    return ends_well(child)


def test_a_child_of_a_fork_shares_with_threads_of_its_own():
    model = built(both_ways)
    shared, x, over = model.with_options(num_threads=3), frames(3, 60, 3), threading.Event()
    expected = model(x)

    def keep_on():
        while not over.is_set():
            shared(x)

    other = threading.Thread(target=keep_on)
    other.start()
    try:
        for _ in range(4):  # while calls are on their way
            assert child_of(lambda: same_bits(shared(x), expected) and same_bits(shared(x[0]), expected[0]))
    finally:
        over.set()
        other.join()
    assert same_bits(shared(x), expected)


@pytest.mark.parametrize("rows", [1, 12])
def test_a_fork_in_the_middle_of_a_call_ends_it_in_the_child_or_not_at_all(rows):
    model = built(lambda b, x, r: b.add(L.Last, "last", both_ways(b, x, r, 64)), out_axes="bf")
    shared, x, parent, children = (
        model.with_options(num_threads=2),
        frames(rows, 20000 // rows, 3),
        os.getpid(),
        [],
    )
    expected = model(x)

    def in_the_middle(done, total):
        if os.getpid() == parent and not children:
            children.append(os.fork())

    try:
        right = same_bits(shared(x, progress=in_the_middle), expected)
    except RnnrtError as error:
        right = os.getpid() != parent and "forked" in str(error)
    if os.getpid() != parent:
        os._exit(0 if right else 1)
    assert right and children and ends_well(children[0])


SCRIPT = """
import os, sys, gc
import numpy as np
alive = lambda: len(os.listdir("/proc/self/task"))
before = alive()
import rnnrt
from rnnrt import _engine, layers as L
_engine.share_always(4)
b = L.GraphBuilder()
weight = np.ones((256, 64), np.float32)
b.output("y", b.add(L.LSTM, "l", b.input("x", (64,)), weight=weight, recurrent_weight=weight))
graph, x = b.graph(), np.ones((9, 50, 64), np.float32)
one, three = rnnrt.Model(graph), rnnrt.Model(graph, num_threads=3)
y, counts = one(x), [alive() - before]
stream = three.stream(batch_size=9, realtime=True)
stream.push(x)
counts += [alive() - before]
assert (three(x) == y).all()
counts += [alive() - before]
assert (three(x[0]) == y[0]).all()
counts += [alive() - before]
del three, stream
gc.collect()
print(counts, alive() - before)
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="not run: no /proc to count threads in")
def test_no_thread_lives_but_between_the_first_shared_call_and_the_last_model():
    """None after import, with one thread or for a stream; they end with the models that asked for them."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "[0, 0, 2, 2] 0\n", done.stdout + done.stderr
