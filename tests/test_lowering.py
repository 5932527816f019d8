"""What the graph and the engine call things: one list, named by C, read by Python."""

import numpy as np
import pytest

import rnnrt
from rnnrt import _engine, layers, lowering
from rnnrt.layers import FUNCTIONS
from rnnrt.layers.base import LAYERS
from rnnrt.layers.mask import MASKED_OUTPUTS
from rnnrt.layers.time import PAD_MODES


def test_every_layer_and_function_of_the_graph_is_one_of_the_engine():
    assert set(_engine.FUNCTIONS) == set(FUNCTIONS)
    pads = {f"pad_{mode}" for mode in PAD_MODES}
    assert set(_engine.KINDS) - pads == set(LAYERS) - {"batch_normalization", "pad"}  # an affine by then
    fixed = [layer.extra_outputs for layer in LAYERS.values() if isinstance(layer.extra_outputs, tuple)]
    outputs = {o for extra in fixed for o in extra}  # a scan names its own
    assert set(_engine.SLOTS) == {"", *outputs}
    assert set(_engine.NORMS) == {"none", "gates", "joint"}
    assert set(_engine.MASKED) == {"", *MASKED_OUTPUTS}
    for words in (_engine.KINDS, _engine.FUNCTIONS, _engine.SLOTS, _engine.NORMS, _engine.MASKED):
        assert list(words.values()) == list(range(len(words)))


def test_a_kind_stands_for_the_class_that_has_it_under_its_own_name():
    """What a file says by its kind comes back as the layer it was."""
    for kind, cls in LAYERS.items():
        assert cls.kind == kind and getattr(layers, cls.__name__) is cls

    class Softer(layers.Softmax):
        pass

    assert LAYERS["softmax"] is layers.Softmax and Softer.kind == "softmax"


def test_value_numbers_run_on_in_the_order_of_the_engines_slots():
    b = layers.GraphBuilder()
    x = b.input("x", (1,))
    b.add(layers.LSTM, "lstm", x, weight=np.ones((4, 1)), recurrent_weight=np.ones((4, 1)))
    b.output("y", b.add(layers.Activation, "next", "lstm:c", activation="tanh"))
    numbers = lowering.value_numbers(b.graph())
    assert [numbers[f"lstm:{o}" if o else "lstm"] for o in _engine.SLOTS] == [1, 2, 3, 4]
    assert numbers["x"] == 0 and numbers["next"] == 5


@pytest.mark.parametrize(("kind", "expected"), [(layers.Add, 7.0), (layers.Multiply, 12.0)])
def test_each_kind_of_join_does_what_its_word_says(kind, expected):
    b = layers.GraphBuilder()
    x, y = b.input("x", (1,)), b.input("y", (1,))
    b.output("z", b.add(kind, "join", x, y))
    assert rnnrt.Model(b.graph())(np.full((1, 1), 3.0), np.full((1, 1), 4.0)).item() == expected


def test_a_row_joins_as_many_inputs_as_the_engine_takes_and_no_more():
    def summed(count):
        b = layers.GraphBuilder()
        x = b.input("x", (1,))
        b.output("y", b.add(layers.Add, "sum", *[x] * count))
        return rnnrt.Model(b.graph())

    assert summed(_engine.MAX_INPUTS)(np.ones((2, 1))).tolist() == [[_engine.MAX_INPUTS]] * 2
    with pytest.raises(rnnrt.UnsupportedModelError, match=f"sum.*too many inputs.*{_engine.MAX_INPUTS}"):
        summed(_engine.MAX_INPUTS + 1)
