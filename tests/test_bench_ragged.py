"""tools/bench_ragged.py: what it times answers alike."""

import numpy as np
import pytest
from needs import need

for _name in ("keras", "onnx", "onnxruntime"):
    need(_name)
import bench_ragged


@pytest.mark.filterwarnings("ignore")
def test_all_ways_give_the_same_answers():
    rows = [row[:40] for row in bench_ragged.rows_of(13, np.random.default_rng(2))]
    rows[3:5] = [rows[2], rows[6][:7]]  # two of one length, a short one
    answers = {how: np.asarray(call()) for how, call in bench_ragged.contenders(rows, 4).items()}
    first = answers.pop("rnnrt, model(rows)")
    assert first.shape == (13, bench_ragged.OUTPUTS) and len(answers) == 3
    for how, y in answers.items():
        assert np.abs(y - first).max() < 1e-5, how
    assert (answers["rnnrt, grouped by hand"] == first).all()


def test_rows_are_drawn_alike_every_time():
    draw = lambda: bench_ragged.rows_of(200, np.random.default_rng(1))
    lengths = [len(row) for row in draw()]
    assert all((a == b).all() for a, b in zip(draw(), draw()))
    assert min(lengths) >= bench_ragged.SHORTEST and max(lengths) <= bench_ragged.LONGEST
    assert len(set(lengths)) > 100 and all(
        row.min() >= 1 and row.max() < bench_ragged.WORDS for row in draw()
    )
