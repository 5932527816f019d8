"""What tests expect of answers and of errors: bits, nearness, promise 1, and the words of a refusal."""

import numpy as np
import pytest

import rnnrt
from rnnrt import _engine, reference

#: What a case is run on: the instruction sets of this processor, and the other backend.
ROWS = [*_engine.isas(), "blas"]
VECTOR_ROWS = [i for i in _engine.isas() if i != "scalar"]


def options(row):
    return {"backend": "blas"} if row == "blas" else {"isa": row}


def refused(kind, call, *words):
    """The error of ``call``, which must be of exactly ``kind``, say ``words``, and say what was expected,
    what was found or what can be done.
    """
    with pytest.raises(rnnrt.RnnrtError) as caught:
        call()
    error = caught.value
    assert type(error) is kind, error
    assert error.expected is not None or error.found is not None or error.fix is not None, error
    for word in words:
        assert str(word) in str(error), error
    return error


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


#: Of an import beside its framework.
TOLERANCE = 1e-4


def distance(expected, found):
    """Relative to the largest expected magnitude where that is above 1; infinite where shapes differ."""
    return (
        np.abs(expected - found).max(initial=0) / max(1, np.abs(expected).max(initial=0))
        if expected.shape == found.shape
        else np.inf
    )


def near(a, b):
    return a.shape == b.shape and np.abs(a - b).max() < 2e-6


def scaled(found, exact):
    """The largest error, relative to the largest expected magnitude where that is above 1."""
    return np.abs(found - exact).max(initial=0.0) / max(1.0, np.abs(exact).max(initial=0.0))


def keeps_promise_1(made, graph, inputs, exact):
    """Whether every output is within 1e-5, or within twice the error of the reference in float32, a
    framework's stand-in.
    """
    if all(scaled(y, exact[name]) <= 1e-5 for name, y in made.items()):
        return True
    with np.errstate(all="ignore"):
        rounded, _ = reference.run(graph, inputs, dtype=np.float32)
    return all(
        scaled(y, exact[name]) <= max(1e-5, 2 * scaled(rounded[name].astype(np.float64), exact[name]))
        for name, y in made.items()
    )


def enough(case, frames):
    """Whether the case answers to an input of so many frames."""
    try:
        reference.run(case.graph(), {"x": case.sample(1, frames)})
    except rnnrt.ShapeError:
        return False
    return True


def pushed(stream, x, sizes):
    """Outputs of ``stream`` for x (time, features) or (batch, time, features), cut into chunks of the sizes
    in turn.
    """
    axis = 0 if stream.batch_size is None else 1
    made, at, k = [], 0, 0
    while at < x.shape[axis]:
        n = sizes[k % len(sizes)]
        made.append(stream.push(x[at : at + n] if axis == 0 else x[:, at : at + n]))
        assert made[-1].shape[axis] <= max(1, n) or n == 0 or stream.max_outputs(0) == 0
        at, k = at + n, k + 1
    made.append(stream.flush())
    return np.concatenate(made, axis)


def streamed(model, x, generator):
    """The frames (time, features) of ``x`` pushed in random chunks and flushed."""
    stream, parts, at = model.stream(), [], 0
    while at < len(x):
        count = generator.randint(0, 5)
        parts.append(stream.push(x[at : at + count]))
        at += count
    return np.concatenate([*parts, stream.flush()])
