"""More rows than are worked on at a time: a step or push of many streams, or of one with a large batch, goes
through them in slices, with the bits that each row has alone.
"""

import numpy as np
import pytest
from case_layers import conv, recurrent, weights
from expect import refused, same_bits
from small_models import built

import rnnrt
from rnnrt import layers as L

IDS = 30


@pytest.fixture(scope="module")
def model():
    """Ids (the first of two numbers, so that the engine itself has to read them), a window, and enough
    numbers a row for slices of 64 and some.
    """

    def build(b, x, r):
        x = b.add(L.Reshape, "id", b.add(L.Select, "first", x, index=(0,)), features=())
        x = b.add(L.Embedding, "embedding", x, weight=weights(r, IDS, 64))
        x = conv(b, x, r, 200, 9, padding=(8, 0))
        return recurrent(b, x, r, L.LSTM, 200)

    made = built(build, features=(2,))
    assert made.stream().model is made and _most(made) < 90
    return made


def _most(model):
    """Rows that a step works on at a time, at most."""
    return max(64, model._streams._whole.plans.common.rows(1))


def ids(rows, frames):
    return np.random.default_rng(rows).integers(0, IDS, (rows, frames, 2)).astype(np.float32)


@pytest.mark.parametrize("rows", [65, 127, 128, 200, 211])  # even slices, and primes, which have none
def test_rows_in_slices_answer_as_each_alone(model, rows):
    x = ids(rows, 9)
    whole = np.concatenate([model(part) for part in np.array_split(x, range(50, rows, 50))])
    batch = model.stream(rows)
    assert same_bits(np.concatenate([batch.push(x[:, :4]), batch.step(x[:, 4])[:, None]], 1), whole[:, :5])
    assert same_bits(batch.push(x[:, 5:]), whole[:, 5:])
    streams = [model.stream() for _ in range(rows)]
    for k, stream in enumerate(streams):
        stream.push(x[k, : k % 3])
    at = np.arange(rows) % 3
    for t in range(4):
        made = model.step_many(streams, x[np.arange(rows), at + t])
        assert all(same_bits(y, whole[k, at[k] + t]) for k, y in enumerate(made))
    made = model.push_many(streams, [x[k, at[k] + 4 : at[k] + 7] for k in range(rows)])
    assert all(same_bits(y, whole[k, at[k] + 4 : at[k] + 7]) for k, y in enumerate(made))


def test_a_wrong_id_names_its_row_in_any_slice(model):
    x = ids(200, 1)
    x[171, 0, 0] = IDS
    for call in (
        lambda: model.stream(200).step(x[:, 0]),
        lambda: model.stream(200).push(x),
        lambda: model.step_many([model.stream() for _ in range(200)], x[:, 0]),
    ):
        refused(rnnrt.ShapeError, call, "layer 'embedding', row 171", "out of range")


def test_rows_that_look_ahead_and_end_do_so_in_slices():
    """With strides, a look-ahead and a flush of all rows at once."""

    def build(b, x, r):
        x = conv(b, x, r, 300, 8, padding=(3, 4), stride=2)
        return recurrent(b, x, r, L.GRU, 200)

    model, rows = built(build, features=(40,)), 150
    assert _most(model) < rows
    x = np.random.default_rng(0).standard_normal((rows, 31, 40)).astype(np.float32)
    whole = np.concatenate([model(x[:75]), model(x[75:])])
    batch = model.stream(rows)
    made = [batch.push(x[:, :7]), batch.push(x[:, 7:8]), batch.push(x[:, 8:])]
    assert same_bits(np.concatenate([*made, batch.flush()], 1), whole)
