"""How long the benchmarked cases take, on every instruction set this processor runs: ``pytest tests
--benchmark-only``.

Plain test runs skip this. It compares one version of rnnrt with another (``--benchmark-save``,
``--benchmark-compare``); for other engines see tools/bench_peers.py. What was timed is also checked: steps
and batches against the bits of the whole sequence, that against the reference.
"""

import numpy as np
import pytest
from cases import CASES

import rnnrt
from rnnrt import _engine, reference

FRAMES, SEQUENCES = 100, 32

pytestmark = [
    pytest.mark.benchmark(min_rounds=5, max_time=0.2),
    pytest.mark.parametrize("isa", _engine.isas()),
    pytest.mark.parametrize("case", [c for c in CASES if c.bench], ids=lambda c: c.name),
]


def model_of(case, isa):
    return rnnrt.Model(case.graph(), isa=isa)


def test_step(benchmark, case, isa):
    """One frame into a live stream, by ``push`` where several may come out of it; where a stride answers only
    now and then, the mean is what a frame costs.
    """
    if not case.streams:
        pytest.skip("needs its whole input")
    benchmark.group = f"{case.name}: step"
    model, x = model_of(case, isa), case.sample(1, FRAMES)[0]
    stream, whole = model.stream(), model(x)
    if stream.may_emit_many:
        benchmark(stream.push, x[:1])
        stream.reset()
        answers = np.concatenate([stream.push(frame[None]) for frame in x])
        assert len(answers) > FRAMES and (answers == whole[: len(answers)]).all()
        return
    out = np.empty(model.graph.signals[model.graph.outputs[0].value].features, np.float32)
    benchmark(stream.step, x[0], out)
    stream.reset()
    answers = [y.copy() for y in (stream.step(frame, out) for frame in x) if y is not None]
    assert len(answers) > 0 and (np.array(answers) == whole[: len(answers)]).all()


def test_whole(benchmark, case, isa):
    benchmark.group = f"{case.name}: T={FRAMES}"
    x = case.sample(1, FRAMES)
    y = benchmark(model_of(case, isa), x)
    expected = reference.run(case.graph(), {"x": x})[0]["y"]
    assert np.abs(y - expected).max() <= 1e-4 * max(1, np.abs(expected).max())


def test_batch(benchmark, case, isa):
    benchmark.group = f"{case.name}: T={FRAMES}, batch {SEQUENCES}"
    model, x = model_of(case, isa), case.sample(SEQUENCES, FRAMES)
    y = benchmark(model, x)
    assert (y[-1] == model(x[-1])).all()
