"""A part of the option grid in the installed PyTorch, live and by specs; tools/grid.py --torch: all of it."""

import pytest
from needs import need

need("torch")
import coverage_tables
import grid
import torch_grid

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def sample():
    return grid.check_torch(first=3, every=37, report=lambda line: None)


@pytest.mark.parametrize("how", [0, 1], ids=["live", "by specs"])
def test_networks_of_the_grid_answer_as_torch(sample, how):
    made = sample[how]
    assert not {n: found for n, found in made.items() if found[0] in ("wrong", "not built")}
    counts = [found for found, *_ in made.values()]
    assert counts.count("refused") <= 0.04 * len(counts), made
    assert all(coverage_tables.option_of(why) for found, why, _ in made.values() if found == "refused")
    assert sum(streamed for *_, streamed in made.values()) > 0.5 * len(counts)


def test_descriptions_are_the_same_every_time():
    known = torch_grid.descriptions()
    assert torch_grid.descriptions() == known and len(known) > 2000
