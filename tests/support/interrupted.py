"""A long call that Ctrl-C ends: run by test_calls.py in a process of its own, the kind of call as its one
argument.

Prints what ended the call, and "goes on" once the model was seen to answer after it.
"""

import os
import signal
import sys
import threading

import numpy as np

import rnnrt
from rnnrt import layers as L

FRAMES = 5_000_000  # some ten seconds of work or more
rng = np.random.default_rng(1)


def network(how):
    b = L.GraphBuilder()
    x = b.input("x", (1,))
    if how == "flush":  # all answers come at the end
        x = b.add(
            L.Conv1D, "ahead", x, weight=np.ones((1, 2, 1), np.float32), dilation=FRAMES, padding=(0, FRAMES)
        )
    weight, recurrent = (rng.standard_normal((512, n)).astype(np.float32) / 16 for n in (1, 128))
    b.add(L.LSTM, "l", x, weight=weight, recurrent_weight=recurrent, reverse=how == "backward")
    b.output("y", "l:h", axes="bf")
    return b.graph()


def main(how):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it otherwise
    model = rnnrt.Model(network(how), num_threads=2 if how == "threads" else 1)
    frames = np.broadcast_to(np.float32(0.5), (FRAMES, 1))
    rows = np.broadcast_to(np.float32(0.5), (50, FRAMES // 50, 1))
    one, many = (np.full(shape, np.nan, np.float32) for shape in (128, (50, 128)))
    stream = None if how == "backward" else model.stream()
    if how == "flush":
        stream.push(frames)
    call = {
        "whole": lambda: model(frames, out=one),
        "backward": lambda: model(frames, out=one),
        "threads": lambda: model(rows, out=many),
        "integers": lambda: model(rows.astype(np.int8), out=many),
        "push": lambda: stream.push(frames),
        "flush": lambda: stream.flush(out=one[None]),
    }[how]
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    try:
        call()
        print("finished")
    except KeyboardInterrupt:
        # in the middle of it, not when it was over: what the call writes last is not written
        print("KeyboardInterrupt" if np.isnan(one).any() and np.isnan(many).any() else "too late")
    if how in ("push", "flush"):
        try:
            stream.push(frames[:1])
            print("the stream went on")
        except rnnrt.StateError:
            stream.reset()
            stream.push(frames[:1])
    x = rng.standard_normal((5, 1)).astype(np.float32)
    if np.array_equal(model(x), rnnrt.Model(model.graph)(x)):
        print("goes on")


if __name__ == "__main__":
    main(sys.argv[1])
