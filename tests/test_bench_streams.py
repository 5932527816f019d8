"""tools/bench_streams.py compares ways that answer alike. (How fast they are, no test says.)"""

import bench_streams
import numpy as np
import pytest
from small_models import model_of

import rnnrt


@pytest.mark.parametrize(
    "name",
    ["200 of GRU(64) x 2 beside one of 200 rows", "1000 of a WaveNet, a step of one"],
)
def test_a_figure_has_what_it_is_measured_from(name):
    cost = bench_streams.COSTS[name](0.01)
    assert cost.name == name and cost.figure > 0 and cost.verdict
    assert "medians" in cost.detail or "rows" in cost.detail


def test_what_falls_short_is_said(capsys, monkeypatch):
    made = [bench_streams.Cost("quick", 1.0, "x", 2.0, "so"), bench_streams.Cost("slow", 3.0, "x", 2.0, "so")]
    monkeypatch.setattr(bench_streams, "COSTS", {cost.name: lambda _, cost=cost: cost for cost in made})
    assert bench_streams.main(["--only", "quick"]) == 0
    assert bench_streams.main([]) == 1
    printed = capsys.readouterr().out
    assert printed.count("PASS") == 2 and printed.count("FALL SHORT") == 1


def test_ways_that_answer_otherwise_are_not_compared(monkeypatch):
    step_many = rnnrt.Model.step_many

    def other(self, streams, frames, out=None):
        made = step_many(self, streams, frames, out=out)
        out[0] += 1
        return made

    monkeypatch.setattr(rnnrt.Model, "step_many", other)
    with pytest.raises(AssertionError, match="step_many answers otherwise"):
        bench_streams._stepped(model_of("lstm_20"), np.zeros((9, 20), np.float32))
