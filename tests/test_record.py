"""Records are frozen dataclasses, though their methods are not generated."""

import copy
import dataclasses
import inspect
import pickle
from typing import ClassVar

import numpy as np
import pytest

import rnnrt
from rnnrt import layers as L
from rnnrt.layers.base import layer_class


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Scaled(L.Activation):
    """A layer of a user, made by ``dataclass`` itself."""

    kind: ClassVar[str] = ""
    factor: float = 2.0


@layer_class
class Shifted(Scaled):
    offset: float = 1.0


def test_the_parameters_are_the_fields_in_their_order():
    for cls in (L.TensorSpec, L.Function, L.Output, L.Conv1D, L.LSTM, Scaled, Shifted):
        names = [item.name for item in dataclasses.fields(cls) if item.init]
        assert list(inspect.signature(cls).parameters) == names
    parameters = inspect.signature(L.Graph).parameters
    assert list(parameters) == ["layers", "inputs", "outputs", "metadata", "start"]
    assert parameters["layers"].default is inspect.Parameter.empty and parameters["outputs"].default == ()


def test_users_derive_from_them_with_dataclass():
    scaled = Scaled("a", "x", "relu", 3.0)
    assert scaled.inputs == ("x",) and scaled.activation == L.Function("relu") and scaled.factor == 3.0
    shifted = dataclasses.replace(Shifted("a", "x", "tanh"), factor=4.0)
    assert (shifted.factor, shifted.offset, shifted.activation.name) == (4.0, 1.0, "tanh")
    assert [f.name for f in dataclasses.fields(Shifted)][-2:] == ["factor", "offset"]
    for layer in (scaled, shifted, L.Add("a", ("x", "y"))):
        for name in ("name", "inputs", "something_else"):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(layer, name, "b")
            with pytest.raises(dataclasses.FrozenInstanceError):
                delattr(layer, name)


@pytest.mark.parametrize(
    ("values", "named", "message"),
    [
        ((), {}, r"TensorSpec\(\) missing required arguments: 'features'"),
        (((1,), True, 2, 3), {}, r"TensorSpec\(\) takes 3 positional arguments but 4 were given"),
        (((1,),), {"features": (1,)}, r"TensorSpec\(\) got multiple values for argument 'features'"),
        (((1,),), {"feature": (1,)}, r"TensorSpec\(\) got an unexpected keyword argument 'feature'"),
        ((), {"feature": (1,)}, r"TensorSpec\(\) got an unexpected keyword argument 'feature'"),
    ],
)
def test_arguments_that_do_not_fit(values, named, message):
    with pytest.raises(TypeError, match=message):
        L.TensorSpec(*values, **named)


def test_values_are_equal_by_their_fields_and_layers_only_to_themselves():
    spec, same = L.TensorSpec((3,), length=5), L.TensorSpec(length=5, features=(3,))
    assert spec == same and hash(spec) == hash(same) and spec is not same
    assert spec != L.TensorSpec((3,)) and spec != ((3,), True, 5) and L.Function("relu") != "relu"
    assert repr(spec) == "TensorSpec(features=(3,), time=True, length=5)"
    assert L.Add("a", "x") != L.Add("a", "x")


def test_copies_and_pickles():
    layer = L.Dense("d", "x", np.ones((2, 3), np.float32))
    for made in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
        assert (
            type(made) is L.Dense and (made.weight == layer.weight).all() and not made.weight.flags.writeable
        )
    spec = L.TensorSpec((3,), False)
    assert pickle.loads(pickle.dumps(spec)) == copy.deepcopy(spec) == spec


def test_a_factory_makes_one_for_each_and_a_field_outside_of_init_is_not_a_parameter():
    made = [rnnrt.Graph((L.Input("x", features=(2,)),), outputs="x") for _ in range(2)]
    assert made[0].metadata == {} and made[0].metadata is not made[1].metadata
    assert made[0].signals == {"x": L.TensorSpec((2,))}
    with pytest.raises(TypeError, match="unexpected keyword argument 'signals'"):
        rnnrt.Graph((), signals={})
