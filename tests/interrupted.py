"""A long call that a signal ends: run by test_calls.py in a process of its own, HOW as its one argument. Prints what ended it."""

import os
import signal
import sys
import threading

import numpy as np

import rnnrt
from rnnrt import layers as L


def network(reverse=False):
    b = L.GraphBuilder()
    x = b.input("x", (8,))
    weight, recurrent = np.zeros((4 * 64, 8), np.float32), np.zeros((4 * 64, 64), np.float32)
    b.output("y", b.add(L.LSTM, "l", x, weight=weight, recurrent_weight=recurrent, reverse=reverse))
    return b.graph()


def main(how):
    frames = np.zeros((20_000_000, 8), np.float32)  # minutes of work in one call
    model = rnnrt.Model(network(how == "backward"), num_threads=2 if how == "threads" else 1)
    out = np.empty((1, 64), np.float32)
    calls = {
        "whole": lambda: model(frames),
        "backward": lambda: model(frames[:4_000_000]),
        "threads": lambda: model(frames.reshape(200, 100_000, 8)),
        "ids": lambda: model(frames[:4_000_000].reshape(400, 10_000, 8).astype(np.int8)),
        "push": lambda: model.stream().push(frames),
    }
    assert out is not None
    threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    try:
        calls[how]()
        print("finished")
    except KeyboardInterrupt:
        print("KeyboardInterrupt")
    x = np.ones((5, 8), np.float32)  # and the model goes on as if nothing had been
    assert np.array_equal(model(x), model.stream().push(x)) or how == "backward"


if __name__ == "__main__":
    main(sys.argv[1])
