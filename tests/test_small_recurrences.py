"""Small recurrent layers: the steps of one row, which follow each other inside the kernel, have the bits of a
row of a batch, whose steps do not; from either end, with and without what they answer between.
"""

import numpy as np
import pytest
from case_layers import normal, recurrent
from expect import same_bits

import rnnrt
from rnnrt import _engine
from rnnrt.layers import GRU, LSTM, GraphBuilder

# that fill vectors of 4, 8 or 16 lanes and that do not, in one group of vectors, in several and in none
UNITS = [2, 7, 8, 16, 20, 24, 32, 33, 40, 48, 50, 60, 64, 65]
FRAMES = [1, 2, 64, 150]


def layer(kind, units, features, reverse, answers, bias=True):
    """A model of one layer that gives every step, its last state alone, or both."""
    b, r = GraphBuilder(), np.random.default_rng(units)
    x = b.input("x", (features,))
    recurrent(b, x, r, kind, units, reverse=reverse, bias=bias, name="cell")
    for answer in answers:
        b.output(answer, "cell" if answer == "steps" else f"cell:{answer}")
    return b.graph()


def rows(model, x):
    made = model(x)
    return made if isinstance(made, tuple) else (made,)


@pytest.mark.parametrize("isa", [isa for isa in _engine.isas() if isa != "blas"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("features", [1, 5])
@pytest.mark.parametrize("kind", [LSTM, GRU])
@pytest.mark.parametrize("answers", [("steps",), ("h",), ("steps", "h")])
def test_one_row_has_the_bits_of_a_row_of_a_batch(isa, kind, features, answers, bias):
    for units in UNITS:
        for reverse in (False, True):
            model = rnnrt.Model(layer(kind, units, features, reverse, answers, bias), isa=isa)
            for frames in FRAMES:
                x = normal(np.random.default_rng(frames), 3, frames, features).astype(np.float32)
                together = rows(model, x)
                for k in range(3):
                    for all_rows, alone in zip(together, rows(model, x[k : k + 1])):
                        assert same_bits(all_rows[k : k + 1], alone), (units, reverse, frames)


@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_from_the_last_frame_to_the_first_is_the_sequence_turned(kind):
    for units in UNITS:
        ahead, back = (rnnrt.Model(layer(kind, units, 5, r, ("steps", "h"))) for r in (False, True))
        x = normal(np.random.default_rng(units), 1, 150, 5).astype(np.float32)
        made, turned = ahead(x), back(np.ascontiguousarray(x[:, ::-1]))
        assert same_bits(np.ascontiguousarray(turned[0][:, ::-1]), made[0]), units
        assert same_bits(turned[1], made[1]), units
