"""A stream belongs to one thread at a time; models and other streams go on."""

import threading
import time

import numpy as np
import pytest
from case_layers import recurrent
from expect import refused, same_bits
from small_models import built, case, frames, lstm, network, normal

import rnnrt
from rnnrt import (
    StreamBusyError,
)
from rnnrt import layers as L


def test_a_busy_stream_refuses_a_second_thread_and_others_go_on():
    model = built(lambda b, x, r: recurrent(b, x, r, L.LSTM, 256), features=(64,))
    x = frames(30000, 64)
    stream, other, made, failed = model.stream(), model.stream(), [], []

    def push():
        try:
            made.append(stream.push(x))
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            failed.append(error)

    start, expected = stream.state, model(x[:20])
    worker = threading.Thread(target=push)
    worker.start()
    while not stream.position and worker.is_alive():  # reading the position does not enter the stream
        time.sleep(0.001)
    entries = {
        "step": lambda: stream.step(x[0]),
        "push": lambda: stream.push(x[:2]),
        "push out": lambda: stream.push(x[:2], np.empty((2, 256), np.float32)),
        "flush": stream.flush,
        "reset": stream.reset,
        "state": lambda: stream.state,
        "state set": lambda: setattr(stream, "state", start),
        "clone": stream.clone,
    }
    for name, enter in entries.items():
        refused(StreamBusyError, enter, "another thread", "model.stream()")
        assert worker.is_alive(), f"the push was over before {name}: the test has shown nothing"
    assert same_bits(np.stack([other.step(frame) for frame in x[:20]]), expected)
    assert worker.is_alive(), "the push was over before the other stream was: the test has shown nothing"
    worker.join()
    assert not failed
    assert same_bits(made[0][:20], expected) and stream.position == 30000
    assert same_bits(made[0], model(x))


def test_64_threads_each_with_streams_of_its_own():
    """Pushes and steps, realtime or not, calls of many streams and whole calls, all of one model at once: the
    bits of one thread.
    """
    threads = 64
    model = rnnrt.Model(case("textbook_conv_gru").graph())
    x = frames(threads, 400, 1)
    serial = model(x)
    made, ready = [None] * threads, threading.Barrier(threads)

    def work(row):
        r = np.random.default_rng(row)
        ready.wait()
        stream, parts, at = model.stream(realtime=row % 2 == 1), [], 0
        while at < 400:
            n = int(r.integers(0, 60))
            if n < 10:
                answer, n = stream.step(x[row, at]), 1
                parts.append(serial[row, :0] if answer is None else answer[None])
            else:
                parts.append(stream.push(x[row, at : at + n]))
            at += n
        several = [model.stream() for _ in range(3)]
        beside = [x[(row + k) % threads] for k in range(3)]
        answers = zip(*[model.step_many(several, np.stack(of_all)) for of_all in zip(*beside)])
        many = [
            np.stack([*(y for y in own if y is not None), *s.flush()]) for own, s in zip(answers, several)
        ]
        made[row] = np.concatenate([*parts, stream.flush()]), many, model(x[row])

    workers = [threading.Thread(target=work, args=(k,)) for k in range(threads)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    for row in range(threads):
        streamed, many, whole = made[row]
        assert same_bits(streamed, serial[row]) and same_bits(whole, serial[row])
        assert all(same_bits(many[k], serial[(row + k) % threads]) for k in range(3))


@pytest.fixture(scope="module")
def model():
    return network(lambda b: lstm(b, "lstm", b.input("x", (3,)), 4))


def test_a_second_thread_in_a_stream_is_refused_while_other_streams_go_on():
    model = network(
        lambda b: lstm(b, "lstm", b.input("x", (64,)), 256)
    )  # enough work for the GIL to be released
    x, short = normal(12_000, 64), normal(3, 64)
    stream, other, expected = model.stream(), model.stream(), model(x)
    started, made, refusals = threading.Event(), [], []

    def push():
        started.set()
        made.append(stream.push(x))

    calls = {
        "step": lambda: stream.step(short[0]),
        "step out": lambda: stream.step(short[0], out=np.empty(256, np.float32)),
        "push": lambda: stream.push(short),
        "push out": lambda: stream.push(short, out=np.empty((3, 256), np.float32)),
        "flush": lambda: stream.flush(),
        "reset": lambda: stream.reset(),
        "state": lambda: stream.state,
        "set state": lambda: setattr(stream, "state", {}),
        "clone": lambda: stream.clone(),
    }
    worker = threading.Thread(target=push)
    worker.start()
    started.wait()
    while stream.position == 0 and worker.is_alive():
        pass  # inside the engine once the position moves
    for name, call in calls.items():
        if worker.is_alive():
            refused(StreamBusyError, call, "another thread", "model.stream()")
            refusals.append(name)
        assert same_bits(other.step(short[0]), model(short[:1])[0])
        other.reset()
    worker.join()
    assert refusals == list(calls), "the push ended too early for this test to mean anything"
    assert same_bits(made[0], expected)
    stream.reset()
    assert same_bits(stream.push(short), model(short))


@pytest.mark.parametrize("way", ["step", "push", "step_many"])
def test_a_stream_that_all_threads_want_is_never_in_two_of_them(way):
    """It counts its frames: were two threads in it at once, a number would be missing or there twice. In a
    free-threaded Python they meet all the time.
    """
    one = np.ones((1, 1), np.float32)
    adds = {"weight": one, "recurrent_weight": one, "bias": np.zeros(1, np.float32), "activation": "linear"}
    counter = network(lambda b: b.add(L.SimpleRNN, "count", b.input("x", (1,)), **adds))
    stream, threads = counter.stream(), 4
    calls = {
        "step": lambda: stream.step(one[0])[0],
        "push": lambda: stream.push(one)[0, 0],
        "step_many": lambda: counter.step_many([stream], one)[0][0],
    }
    seen, refusals, failed = [[] for _ in range(threads)], [0] * threads, []
    begin = threading.Barrier(threads)

    def work(k):
        try:
            begin.wait()
            while len(seen[k]) < 3000:
                try:
                    seen[k].append(calls[way]())
                except StreamBusyError:
                    refusals[k] += 1
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            failed.append(error)

    workers = [threading.Thread(target=work, args=(k,)) for k in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failed, failed
    assert all(numbers == sorted(numbers) for numbers in seen)
    everything = sorted(n for numbers in seen for n in numbers)
    assert everything == list(range(1, threads * 3000 + 1)) and stream.position == threads * 3000
