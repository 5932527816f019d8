"""How long a call takes: the measurement that ``rnnrt bench``, ``rnnrt stream`` and ``rnnrt demo`` share.

Every call is timed by itself, so that the percentiles are those of single answers, which is what real time
needs. The clock's own cost (some tens of nanoseconds) is in every figure; ``clock_cost`` says what it is on
this machine.
"""

from __future__ import annotations

import gc
import resource
from array import array
from dataclasses import asdict, dataclass
from time import perf_counter_ns

import numpy as np

from .. import verification
from ..axes import to_source
from ..errors import NotStreamableError, RnnrtError
from ..graph import Graph
from ..layers import Input

#: Nanoseconds one contender runs before the next one's turn: short enough that a busy machine slows all of
#: them alike.
BLOCK = 20_000_000
#: Samples kept per contender (8 bytes each); later ones are not taken.
MOST = 2_000_000
#: Every contender is timed at least so often, however slow it is.
LEAST = 10


@dataclass(frozen=True)
class Latency:
    """Microseconds one call took: the least, percentiles, the most, the mean, and how many calls that is
    from.

    The mean is what a signal costs: of a strided network's steps only some do the work. ``switches``:
    involuntary context switches while they ran.
    """

    min: float
    p50: float
    p99: float
    p999: float
    max: float
    mean: float
    calls: int
    switches: int = 0

    @property
    def noisy(self):
        """Whether the machine makes the tail: so often was the processor given to another process while calls
        ran.
        """
        return self.switches >= max(1, self.calls / 1000) and (
            self.p999 > 2 * self.p50 or self.switches >= self.calls / 2
        )

    def as_dict(self):
        return {k: v if isinstance(v, int) else round(v, 3) for k, v in asdict(self).items()}


def summarise(nanoseconds, switches=0) -> Latency:
    """The Latency of single calls' times in nanoseconds, with ``switches`` involuntary context switches among
    them.
    """
    micro = np.asarray(nanoseconds, np.float64) / 1000
    p50, p99, p999 = np.percentile(micro, (50, 99, 99.9))
    return Latency(
        float(micro.min()),
        float(p50),
        float(p99),
        float(p999),
        float(micro.max()),
        float(micro.mean()),
        micro.size,
        switches,
    )


def measure(calls: dict, seconds: float, progress=None) -> dict[str, Latency]:
    """Time each callable of ``calls`` for about ``seconds`` in all, in turns of BLOCK, in this thread.

    Each is called at least LEAST times, and once before that untimed. ``progress(fraction)`` is called
    between blocks with the work done. The garbage collector is off meanwhile: what is measured is the
    callable.
    """
    samples = {name: array("q") for name in calls}
    spent, switches = dict.fromkeys(calls, 0), dict.fromkeys(calls, 0)
    budget = max(1.0, seconds * 1e9 / max(len(calls), 1))
    for call in calls.values():
        call()
    collecting = gc.isenabled()
    gc.disable()
    try:
        waiting = list(calls)
        while waiting:
            for name in waiting:
                before = _switches()
                spent[name] += _block(calls[name], samples[name], min(BLOCK, budget - spent[name]))
                switches[name] += _switches() - before
            waiting = [
                n
                for n in waiting
                if len(samples[n]) < LEAST or (spent[n] < budget and len(samples[n]) < MOST)
            ]
            if progress:
                progress(sum(min(s, budget) for s in spent.values()) / (budget * len(calls)))
    finally:
        if collecting:
            gc.enable()
    return {name: summarise(values, switches[name]) for name, values in samples.items()}


def _switches():
    """How often this thread has lost the processor without asking to."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


def _block(call, samples, nanoseconds):
    """Call at least once, and on until ``nanoseconds`` have passed; returns how many did."""
    begin = perf_counter_ns()
    while True:
        start = perf_counter_ns()
        call()
        now = perf_counter_ns()
        samples.append(now - start)
        if now - begin >= nanoseconds:
            return now - begin


def clock_cost() -> float:
    """Microseconds that timing a call adds to it here: the median of timing nothing."""
    return measure({"nothing": lambda: None}, 0.01)["nothing"].p50


# ---- what is called ----------------------------------------------------------------------------------------


def random_frames(graph: Graph, item: Input, batch: int, time: int, seed=0) -> np.ndarray:
    """Numbers of the network's own statistics, or ids (whole numbers) that an embedding knows, canonical
    axes; see verification.py.
    """
    x = verification.sample_input(graph, item.name, batch, time, np.random.default_rng(seed))
    return x.astype(np.int64) if item.ids else x


def whole_input(graph: Graph, batch: int, time: int) -> dict[str, np.ndarray]:
    """Random inputs of ``graph`` by name, as the source takes them."""
    return {
        name: to_source(random_frames(graph, graph[name], batch, time), graph[name].axes)
        for name in graph.inputs
    }


def stream_calls(model, chunk: int) -> dict:
    """{"step": f, f"chunk of {chunk}": f}: one frame, or ``chunk`` frames, into a live stream that writes
    into given arrays.

    Empty where the model cannot stream; without "step" where a frame in can be more than one out.
    """
    graph = model.graph
    timed = [graph[name] for name in graph.inputs if graph[name].time]
    once = {name: random_frames(graph, graph[name], 1, 1)[0] for name in graph.inputs if not graph[name].time}
    features = graph.signals[graph.outputs[0].value].features if len(graph.outputs) == 1 else None

    def stream():
        return model.stream(inputs=once) if once else model.stream()

    def only(parts):
        return parts[0] if len(parts) == 1 else tuple(parts)

    try:
        chunks = stream()
    except NotStreamableError:
        return {}
    # Shapes come from the graph, not from one answer: a strided or looking-ahead model answers only now and
    # then. A chunk far into the stream can make one frame more than the first one, by where it stands in the
    # stride.
    options, far = {}, 1 << 20
    if features is not None:
        options["out"] = np.empty(
            (chunks.max_outputs(far + chunk) - chunks.max_outputs(far) + 1,) + features, np.float32
        )
    pushed = only([random_frames(graph, item, 1, chunk)[0][:chunk] for item in timed])
    calls = {f"chunk of {chunk}": lambda: chunks.push(pushed, **options)}
    steps = stream()
    frame = only([random_frames(graph, item, 1, 1)[0][0] for item in timed])
    into = {} if features is None else {"out": np.empty(features, np.float32)}
    try:
        steps.step(frame, **into)
    except RnnrtError:
        return calls
    return {"step": lambda: steps.step(frame, **into)} | calls
