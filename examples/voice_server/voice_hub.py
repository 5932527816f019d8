"""One model and many connections under asyncio, without a word about the web.

Every connection has a stream of its own: a few KB of state. Frames are put in a queue as they come, and once
a tick they go through ``Model.step_many``, one of each connection at a time: one batch, the bits of each
stream alone. The batch runs on the event loop, for it takes a few ms: a worker thread would wait longer for
the interpreter than it works. A network whose batches are longer than a tick wants ``run_in_executor`` with
one worker, since a stream belongs to one caller at a time.
"""

from __future__ import annotations

import asyncio
import collections
import math
import time

import numpy as np


class Overloaded(Exception):
    """A connection that cannot be served: too many of them, or too many frames wait in it."""


class Connection:
    """``feed`` takes frames, ``answer`` waits for what is answered, by one task."""

    def __init__(self, stream, most_waiting):
        self.stream, self._most, self._count = stream, most_waiting, 0
        self._frames, self._answers = collections.deque(), collections.deque()
        # A task that waits has a future here: an asyncio.Queue does more, and costs as much as the network.
        self._loop, self._wanted = asyncio.get_running_loop(), None

    def feed(self, frame):
        """Raises Overloaded where frames come faster than they are answered."""
        if len(self._frames) >= self._most or len(self._answers) >= self._most:
            raise Overloaded(f"{self._most} frames or answers wait")
        self._frames.append((self._count, time.perf_counter(), frame))
        self._count += 1

    async def answer(self):
        """(number of the frame, its answer as an array, whether the stream began anew after it)"""
        if not self._answers:
            self._wanted = self._loop.create_future()
            await self._wanted
        return self._answers.popleft()

    def _give(self, answer):
        self._answers.append(answer)
        if self._wanted and not self._wanted.done():
            self._wanted.set_result(None)


class Histogram:
    """Seconds, counted as Prometheus does."""

    BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, math.inf)

    def __init__(self):
        self.counts, self.total = [0] * len(self.BOUNDS), 0.0

    def add(self, seconds):
        """One time, or an array of them."""
        for k, more in enumerate(np.bincount(np.searchsorted(self.BOUNDS, np.atleast_1d(seconds)))):
            self.counts[k] += int(more)
        self.total += float(np.sum(seconds))

    def lines(self, name):
        below = 0
        for bound, count in zip(self.BOUNDS, self.counts):
            below += count
            yield f'{name}_bucket{{le="{"+Inf" if bound == math.inf else bound}"}} {below}'
        yield f"{name}_sum {self.total:.6f}"
        yield f"{name}_count {below}"


class Hub:
    """``run`` ticks until it is cancelled; ``join`` and ``leave`` are called on its event loop."""

    def __init__(self, model, tick=0.01, most_connections=1000, most_waiting=64):
        self.model, self.tick = model, tick
        self._most_connections, self._most_waiting = most_connections, most_waiting
        self._connections: set[Connection] = set()
        self.frames = self.resets = self.refused = 0
        self.waited, self.steps = Histogram(), Histogram()

    def join(self):
        if len(self._connections) >= self._most_connections:
            self.refused += 1
            raise Overloaded(f"{self._most_connections} connections are served already")
        made = Connection(self.model.stream(), self._most_waiting)
        self._connections.add(made)
        return made

    def leave(self, connection):
        self._connections.discard(connection)

    async def run(self):
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + self.tick, loop.time())  # a late tick is not repeated
            await asyncio.sleep(due - loop.time())
            while ready := [c for c in self._connections if c._frames]:
                taken = [c._frames.popleft() for c in ready]
                self._hand_out(ready, taken, *self._step(ready, taken))
                await asyncio.sleep(0)  # the sockets between two rounds

    def _step(self, ready, taken):
        """The answers to one frame of each of these connections, and which streams are well."""
        began = time.perf_counter()
        streams = [c.stream for c in ready]
        frames = np.concatenate([frame for *_, frame in taken]).reshape(len(taken), -1)
        answers = np.concatenate(self.model.step_many(streams, frames)).reshape(len(taken), -1)
        healthy = np.isfinite(answers).all(axis=1) & [s.finite for s in streams]
        for k in np.flatnonzero(~healthy):  # NaN would stay in it for ever; the others never see it
            streams[k].reset()
        self.steps.add(time.perf_counter() - began)
        return answers, healthy

    def _hand_out(self, ready, taken, answers, healthy):
        for connection, (number, *_), answer, well in zip(ready, taken, answers, healthy.tolist()):
            connection._give((number, answer, not well))
        self.waited.add(time.perf_counter() - np.array([came for _, came, _ in taken]))
        self.frames += len(ready)
        self.resets += int((~healthy).sum())

    def metrics(self):
        """What there is to watch, as Prometheus reads it."""
        lines = [
            "# TYPE voice_connections gauge",
            f"voice_connections {len(self._connections)}",
            "# TYPE voice_frames_total counter",
            f"voice_frames_total {self.frames}",
            "# HELP voice_resets_total streams that were not finite and began anew",
            "# TYPE voice_resets_total counter",
            f"voice_resets_total {self.resets}",
            "# TYPE voice_refused_total counter",
            f"voice_refused_total {self.refused}",
            "# HELP voice_answer_seconds from a frame's last sample to its answer",
            "# TYPE voice_answer_seconds histogram",
            *self.waited.lines("voice_answer_seconds"),
            "# HELP voice_step_seconds one step of all connections that had a frame",
            "# TYPE voice_step_seconds histogram",
            *self.steps.lines("voice_step_seconds"),
        ]
        return "\n".join(lines) + "\n"
