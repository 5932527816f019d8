"""tools/bench_streams.py compares ways that answer alike. (How fast they are, no test says.)"""

import bench_streams
import numpy as np
import pytest
from small_models import model_of

import rnnrt


@pytest.mark.parametrize(
    "name",
    ["streams: 200 of GRU(64) x 2 beside one of 200 rows", "streams: 1000 of a WaveNet, a step of one"],
)
def test_a_figure_has_what_it_is_measured_from(name):
    cost = bench_streams.COSTS[name](0.01)
    assert cost.name == name and cost.figure > 0 and cost.verdict
    assert "medians" in cost.detail or "rows" in cost.detail


def test_ways_that_answer_otherwise_are_not_compared(monkeypatch):
    step_many = rnnrt.Model.step_many

    def other(self, streams, frames, out=None):
        made = step_many(self, streams, frames, out=out)
        out[0] += 1
        return made

    monkeypatch.setattr(rnnrt.Model, "step_many", other)
    with pytest.raises(AssertionError, match="step_many answers otherwise"):
        bench_streams._stepped(model_of("lstm_20"), np.zeros((9, 20), np.float32))
