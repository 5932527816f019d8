"""Every case on every row of the kernel table against the float64 reference."""

import numpy as np
import pytest
from cases import CASES

import rnnrt
from rnnrt import _engine, reference

ROWS = [*_engine.isas(), "blas"]


def options(row):
    return {"backend": "blas"} if row == "blas" else {"isa": row}


def bound(graph, inputs, expected):
    """Promise 1 without a framework at hand: 1e-5 of the answer's size, or twice what float32 NumPy itself errs by."""
    with np.errstate(all="ignore"):
        own = reference.run(graph, inputs, dtype=np.float32)[0]
    own_error = max(np.abs(own[n].astype(np.float64) - expected[n]).max(initial=0.0) for n in expected)
    size = max(1.0, max(np.abs(e).max(initial=0.0) for e in expected.values()))
    return max(1e-5 * size, 2 * own_error)


def enough(case, frames):
    """Whether the case answers to an input of so many frames."""
    try:
        reference.run(case.graph(), {"x": case.sample(1, frames)})
    except rnnrt.ShapeError:
        return False
    return True


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_every_case_means_what_the_reference_says(case, row):
    if row == "blas":
        pytest.importorskip("scipy")
    graph = case.graph()
    model = rnnrt.Model(graph, **options(row))
    for batch, frames in ((1, 1), (1, 2), (3, 50), (2, 171)):
        if not enough(case, frames):
            with pytest.raises(rnnrt.ShapeError, match="too short"):
                model(case.sample(batch, frames))
            continue
        x = case.sample(batch, frames)
        expected, states = reference.run(graph, {"x": x})
        y, state = model(x, return_state=True)
        assert y.shape == expected["y"].shape
        assert y.dtype == np.float32
        limit = bound(graph, {"x": x}, expected)
        assert np.abs(y - expected["y"]).max() <= limit
        for name, held in state.arrays().items():
            assert np.abs(held - states[name]).max() <= limit, name


@pytest.mark.parametrize("row", ROWS)
def test_the_row_asked_for_is_the_row_that_runs(row):
    if row == "blas":
        pytest.importorskip("scipy")
    assert rnnrt.Model(CASES[0].graph(), **options(row)).isa == row


def test_an_unknown_instruction_set_is_refused(monkeypatch):
    with pytest.raises(rnnrt.UnsupportedModelError, match="instruction set"):
        rnnrt.Model(CASES[0].graph(), isa="mmx")
    monkeypatch.setenv("RNNRT_ISA", "scalar")
    assert rnnrt.Model(CASES[0].graph()).isa == "scalar"
    monkeypatch.setenv("RNNRT_ISA", "no_such")
    with pytest.raises(rnnrt.UnsupportedModelError, match="instruction set"):
        rnnrt.Model(CASES[0].graph())
