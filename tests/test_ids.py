"""Inputs of whole numbers: every type of number, and an id out of range is named with its row and time."""

import numpy as np
import pytest
from expect import refused, same_bits
from small_models import embedding, lstm, network, normal, rnn

import rnnrt
from rnnrt import (
    DTypeError,
    ShapeError,
)
from rnnrt import layers as L


def test_ids_of_any_type_of_number():
    model, ids = embedding(), np.random.default_rng(0).integers(0, 11, (3, 6))
    table = model.graph["embedding"].weight
    for kind in ("i8", "u1", "i4", "f4", "f8", ">i2"):
        assert same_bits(model(ids.astype(kind)), table[ids])
    assert same_bits(model(ids[1]), table[ids[1]])
    assert same_bits(model.stream().push(ids[1]), table[ids[1]])
    assert same_bits(model.stream().step(ids[1, 0]), table[ids[1, 0]])


@pytest.mark.parametrize("bad", [-1, 11, 10.5, -0.5, 1e9, np.nan, np.inf, 1 << 40])
def test_an_id_out_of_range_is_named_with_row_and_time(bad):
    model, ids = embedding(), np.zeros((3, 6), type(bad))
    ids[2, 4] = bad
    words = ("an id is out of range", "input 'x'", "whole numbers from 0 to 10", f"found {bad}")
    refused(ShapeError, lambda: model(ids), *words, "row 2, time 4")
    refused(ShapeError, lambda: model(ids[2]), *words, "row 0, time 4")
    stream = model.stream(batch_size=3)
    stream.push(ids[:, :2])
    refused(ShapeError, lambda: stream.push(ids[:, 2:]), *words, "row 2, time 4")
    stream.push(ids[:, 2:4])
    refused(ShapeError, lambda: stream.step(ids[:, 4]), *words, "row 2, time 4")
    assert stream.position == 4


@pytest.fixture(scope="module")
def model():
    return network(lambda b: lstm(b, "lstm", b.input("x", (3,)), 4))


@pytest.mark.parametrize("axes", ["btf", "tbf"])
def test_a_bad_id_is_named_with_its_row_and_time(axes):
    b = L.GraphBuilder()
    ids = b.input("ids", (), ids=True, axes=axes)
    b.output("y", rnn(b, "rnn", b.add(L.Embedding, "table", ids, weight=normal(7, 3)), 4))
    model = rnnrt.Model(b.graph())
    good = np.random.default_rng(0).integers(0, 7, (3, 9))
    turn = (lambda a: a) if axes == "btf" else (lambda a: a.T)
    expected = model(turn(good))
    for dtype in (np.int8, np.uint64, np.float32, np.float64, ">i2"):
        assert same_bits(model(turn(good.astype(dtype))), expected)
    assert same_bits(model(good[1]), expected[1])
    for bad in (7, -1, 2**40, 2.5, np.nan, np.inf):
        spoiled = good.astype(type(bad))
        spoiled[2, 5] = bad
        refused(
            ShapeError,
            lambda s=spoiled: model(turn(s)),
            "'ids'",
            "row 2",
            "time 5",
            "0 to 6",
            str(np.asarray(spoiled)[2, 5]),
        )
        refused(ShapeError, lambda s=spoiled: model(s[2]), "row 0", "time 5")
        stream = model.stream(3)
        stream.push(good[:, :4])
        refused(ShapeError, lambda s=spoiled, m=stream: m.push(s[:, 4:]), "'ids'", "row 2", "time 5")
        refused(ShapeError, lambda s=spoiled, m=stream: m.step(s[:, 5]), "'ids'", "row 2", "time 4")
        assert stream.position == 4
        rest = np.concatenate([stream.step(good[:, 4])[:, None], stream.push(good[:, 5:])], 1)
        assert same_bits(rest, np.ascontiguousarray(expected[:, 4:]))
    refused(DTypeError, lambda: model(turn(good.astype(complex))), "'ids'")
    assert same_bits(model.stream().step(int(good[0, 0])), model.stream().step(good[0, 0]))
