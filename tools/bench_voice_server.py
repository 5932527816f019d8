"""examples/voice_server under load, beside the same server with a step for each stream and on onnxruntime:
answers lost and wrong, how long they took, and the processor's time of the server.

    pip install -r examples/voice_server/requirements.txt onnxruntime
    python tools/fetch_models.py silero_vad.onnx
    python tools/bench_voice_server.py                      500 clients, 30 s, each engine in turn
    python tools/bench_voice_server.py --clients 200 --engine rnnrt

The server has one core for itself and the clients another; on a machine that does something else besides,
give this command precedence, or the figures are those of the other work. Every answer is compared with what
rnnrt says of that sound alone: bit by bit of the servers on rnnrt, within 1e-4 of the one on onnxruntime.
Clients that wait longer than the server's bounds allow are closed by it, and count as failed. Exit code 1
where an answer is lost or wrong.
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import uvloop

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "examples/voice_server")]

import voice_client
import voice_server

MODEL = ROOT / "models" / "silero_vad.onnx"
TOLERANCE = {"rnnrt": 0.0, "steps": 0.0, "onnxruntime": 1e-4}


class StepByStep:
    """rnnrt without ``step_many``."""

    def __init__(self, path):
        self.stream = voice_server.load(path).stream

    def step_many(self, streams, frames):
        return [stream.step(frame) for stream, frame in zip(streams, frames)]


class OnOnnxruntime:
    """What the hub asks of a model, by onnxruntime: one ``run`` for all streams that have a frame. Their
    states are the columns of one array, so that a batch is one gather and one scatter.
    """

    def __init__(self, path, most=1000):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._states = np.zeros((2, most, 128), np.float32)
        self._free = list(range(most))

    def stream(self):
        return _Column(self)

    def step_many(self, streams, frames):
        columns = [s.column for s in streams]
        given = {"input": frames, "state": self._states[:, columns], "sr": np.array(voice_server.RATE)}
        answers, states = self._session.run(["output", "stateN"], given)
        self._states[:, columns] = states
        for stream, finite in zip(streams, np.isfinite(states).all(axis=(0, 2)).tolist()):
            stream.finite = finite
        return answers


class _Column:
    def __init__(self, model):
        self._model, self.column, self.finite = model, model._free.pop(), True
        self.reset()

    def reset(self):
        self._model._states[:, self.column] = 0

    def __del__(self):
        self._model._free.append(self.column)


ENGINES = {"rnnrt": voice_server.load, "steps": StepByStep, "onnxruntime": OnOnnxruntime}


def _serve(engine, port):
    voice_server.serve(voice_server.app_of(ENGINES[engine](MODEL)), "127.0.0.1", port)


def _processor_seconds(pid):
    """(in the program, in the kernel)"""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return np.array(fields[11:13], float) / os.sysconf("SC_CLK_TCK")


def _started(engine, port):
    """The process of a server that answers."""
    command = [sys.executable, __file__, "--serve", engine, "--port", str(port)]
    process = subprocess.Popen(command)
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).close()
            return process
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.1)
    process.kill()
    raise SystemExit(f"the server on {engine} does not start")


def measure(engine, clients, seconds, port, cores):
    """Plays the crowd against one engine and prints what came of it; whether every answer was right."""
    crowd = voice_client.Crowd(clients, int(seconds * voice_server.RATE / voice_server.CHUNK))
    process = _started(engine, port)
    try:
        os.sched_setaffinity(process.pid, {cores[0]})
        os.sched_setaffinity(0, {cores[-1]})
        gc.freeze()
        before = _processor_seconds(process.pid)
        uvloop.run(crowd.talk(f"ws://127.0.0.1:{port}/speech"))
        program, kernel = _processor_seconds(process.pid) - before
    finally:
        process.terminate()
        process.wait()
        os.sched_setaffinity(0, cores)
    right, wrong, lost = crowd.judged(voice_server.load(MODEL), TOLERANCE[engine])
    print(
        f"{engine}: {clients} clients, {crowd.speech.shape[1]} messages each: "
        f"{right} answers right, {wrong} wrong, {lost} lost, {len(crowd.failed)} clients failed\n"
        f"    {crowd.times()}\n"
        f"    the server took {program + kernel:.2f} s of its core ({kernel:.2f} in the kernel), "
        f"{(program + kernel) / max(1, right + wrong) * 1e6:.0f} us an answer",
        flush=True,
    )
    return not (wrong or lost)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--engine", choices=ENGINES, help="this one alone")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--serve", choices=ENGINES, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        return _serve(options.serve, options.port)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        parser.error("two cores are needed: one for the server, one for the clients")
    engines = [options.engine] if options.engine else list(ENGINES)
    measured = [measure(e, options.clients, options.seconds, options.port, cores) for e in engines]
    return 0 if all(measured) else 1


if __name__ == "__main__":
    sys.exit(main())
