"""A part of the option grid in the installed Keras (the whole: tools/record_grid.py, tools/grid.py); and that
the grid sees what it should.
"""

import numpy as np
import pytest
from needs import need

from rnnrt import layers
from rnnrt.importers.keras import algebra, recurrent
from rnnrt.importers.keras import context as keras_context
from rnnrt.importers.keras import layers as keras_layers

need("keras")
import coverage_tables
import grid
import keras_grid
import record_grid

pytestmark = pytest.mark.filterwarnings("ignore")
KNOWN = keras_grid.descriptions()
#: Every so many networks, beginning with the first.
EVERY = 47


def recorded(folder, numbers):
    record_grid.record(folder, only=numbers)
    return {n: how for n, how in grid.check(folder, lambda line: None)[1].items()}


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return recorded(tmp_path_factory.mktemp("grid"), [d["number"] for d in KNOWN[::EVERY]])


def test_networks_of_the_grid_answer_as_keras(sample):
    wrong = {n: how for n, how in sample.items() if how[0] == "wrong"}
    assert not wrong
    counts = [how for how, *_ in sample.values()]
    assert counts.count("ok") > 0.85 * len(counts) and counts.count("refused") <= 2, sample
    assert all(coverage_tables.option_of(why) for how, why, _ in sample.values() if how == "refused")
    assert sum(streamed for *_, streamed in sample.values()) > 0.4 * len(counts)


def test_descriptions_are_the_same_every_time_and_hold_every_layer():
    assert keras_grid.descriptions() == KNOWN and len(KNOWN) > 2000
    held = {name for d in KNOWN for name, *_ in d["nodes"]}
    own = {"CuDNNGRU", "CuDNNLSTM"}  # of Keras before 2.4
    assert {*keras_layers.LAYERS, *recurrent.RECURRENT} - held <= own


# ---- planted -----------------------------------------------------------------------------------------------


def swapped_gates(context, kind, fields):
    z, r, n = np.split(np.asarray(fields["weight"]), 3)
    return fields | {"weight": np.concatenate([r, z, n])}


def sides_exchanged(context, kind, fields):
    if fields["padding"] != "same":
        return fields
    total = (fields["weight"].shape[1] - 1) * fields["dilation"]
    return fields | {"padding": (total - total // 2, total // 2)}


def polarity(context, kind, fields):
    if not fields.get("mask"):
        return fields
    one = np.ones(1)
    flipped = context.builder.add(layers.Affine, "flipped", fields["mask"], scale=-one, offset=one)
    return fields | {"mask": flipped}


def turned_kernel(context, kind, fields):
    return fields | {"weight": np.asarray(fields["weight"]).swapaxes(1, 2)}


#: What is planted -> the layer of the graph it is in, how its fields change, and a network of the grid that
#: has one.
PLANTED = {
    swapped_gates: (layers.GRU, lambda d: d["family"] == "GRU"),
    sides_exchanged: (layers.Conv1D, lambda d: has(d, "Conv1D", padding="same", kernel_size=2, strides=1)),
    polarity: (layers.LSTM, lambda d: d["family"] == "LSTM" and d["inputs"][0][1] != "numbers"),
    turned_kernel: (layers.Conv2D, lambda d: has(d, "Conv2D", kernel_size=[3, 3], padding="valid")),
}


def has(description, layer, **wanted):
    return any(
        name == layer and wanted.items() <= options.items() for name, options, _ in description["nodes"]
    )


@pytest.mark.parametrize("change", PLANTED, ids=lambda change: change.__name__)
def test_a_planted_fault_turns_the_grid_red(change, monkeypatch, tmp_path):
    kind, of = PLANTED[change]
    numbers = [d["number"] for d in KNOWN if of(d)][:3]
    assert {how for how, *_ in recorded(tmp_path, numbers).values()} == {"ok"}
    add = keras_context.LayerContext.add

    def planted(self, built, *inputs, **fields):
        return add(self, built, *inputs, **(change(self, kind, fields) if built is kind else fields))

    monkeypatch.setattr(keras_context.LayerContext, "add", planted)
    assert "wrong" in {how for how, *_ in grid.check(tmp_path, lambda line: None)[1].values()}


def test_a_number_broadcast_along_the_wrong_axis_turns_the_grid_red(monkeypatch, tmp_path):
    numbers = [d["number"] for d in KNOWN if has(d, "UnitNormalization", axis=-1)][:2]
    assert {how for how, *_ in recorded(tmp_path, numbers).values()} == {"ok"}
    do = algebra.Algebra.do

    def planted(self, operator, **arguments):
        return do(self, operator, **arguments | ({"axes": (1,)} if operator == "reduce_sum" else {}))

    monkeypatch.setattr(algebra.Algebra, "do", planted)
    assert "wrong" in {how for how, *_ in grid.check(tmp_path, lambda line: None)[1].values()}
