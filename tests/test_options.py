"""Options of a model: threads, backend, weights, instruction set."""

import numpy as np
import pytest
from cases import CASES
from expect import ROWS, near, options, refused
from small_models import case, frames, net

import rnnrt
from rnnrt import (
    DTypeError,
    ShapeError,
    UnsupportedModelError,
)


def test_unknown_options_are_refused():
    graph, late = net().graph, case("conv_same_stride2_wide").graph()
    for wrong in (0, -1, 1.5, "2", None):
        refused(
            ShapeError, lambda w=wrong: rnnrt.Model(graph, num_threads=w), "num_threads", f"found {wrong!r}"
        )
    for wrong in ("cuda", None, ["native"]):
        refused(
            UnsupportedModelError,
            lambda w=wrong: rnnrt.Model(graph, backend=w),
            "backend",
            "'native' or 'blas'",
            f"found {wrong!r}",
        )
    for wrong in ("bfloat16", "int8", None, np.zeros(3)):
        refused(
            UnsupportedModelError,
            lambda w=wrong: rnnrt.Model(graph, weights=w),
            "weights=",
            "expected 'float32'",
        )
    for wrong in ("mmx", "", 3, "blas"):
        refused(
            UnsupportedModelError,
            lambda w=wrong: rnnrt.Model(graph, isa=w),
            "instruction set",
            "scalar",
            f"found {wrong!r}",
        )
        refused(
            UnsupportedModelError,
            lambda w=wrong: rnnrt.Model(late, isa=w),
            "instruction set",
            f"found {wrong!r}",
        )
    refused(UnsupportedModelError, lambda: net().with_options(speed=3), "['speed']", "num_threads")
    for wrong in (3, None, "model.keras"):
        refused(
            DTypeError, lambda w=wrong: rnnrt.from_graph(w), "not a graph", f"found {type(wrong).__name__}"
        )
        refused(DTypeError, lambda w=wrong: rnnrt.Model(w), "not a graph", f"found {type(wrong).__name__}")


def test_blas_is_near_the_native_answer():
    pytest.importorskip("scipy")
    model, x = net(), frames(4, 7, 3)
    assert near(model.with_options(backend="blas")(x), model(x))


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
