"""The words of PyTorch's operators and functions: their arguments are those of its own schemas."""

import inspect

import numpy as np
import pytest
from needs import need

import rnnrt
from rnnrt.errors import UnsupportedModelError
from rnnrt.importers.axes.values import Harmless, Network
from rnnrt.importers.operators.table import call
from rnnrt.importers.torch.aten import ATEN, METHODS
from rnnrt.importers.torch.functional import FUNCTIONAL, PACKING

torch = need("torch")

#: (word, overload) -> the arguments of aten's that are refused where they are given, as no answer has them
REFUSED = {
    ("repeat_interleave", "Tensor"): {"repeats"},
    ("view", "dtype"): {"dtype"},
    ("mm", "dtype"): {"out_dtype"},
    ("bmm", "dtype"): {"out_dtype"},
    ("addmm", "dtype"): {"out_dtype"},
    ("index", "list_Tensor"): {"self", "el"},
    ("einsum", "sublist"): {"a"},
    ("eq", "Tensor_list"): {"a", "b"},
    ("ne", "Tensor_list"): {"a", "b"},
}


def test_the_words_of_aten_have_the_arguments_of_its_schemas():
    checked = 0
    for name, word in ATEN.items():
        packet = getattr(torch.ops.aten, name, None)
        for overload in packet.overloads() if packet is not None else ():
            schema = getattr(packet, overload)._schema
            arguments = schema.arguments
            if (
                not arguments
                or any(a.is_out for a in arguments)
                or "Tensor" not in str(arguments[0].type)
                and name != "zeros"
            ):
                continue  # of numbers or lists, not of tensors
            refused = REFUSED.get((name, overload), set())
            known = {n: p for p in word.parameters for n in p.names}
            unknown = {a.name for a in arguments} - set(known) - {"names"}
            assert unknown <= refused, (name, overload, unknown)
            places = [p for p in word.parameters if not p.rest] if name != "to" else []
            for a, p in zip((a for a in arguments if not a.kwarg_only and not known_rest(known, a)), places):
                assert a.name in p.names or a.name in refused, (name, overload, a.name, p.names)
            for a in arguments:
                p = known.get(a.name)
                if p is not None and p.argument and not p.rest and a.has_default_value():
                    own = a.default_value if a.default_value != "valid" else 0  # a padding of none
                    several = isinstance(own, list) and own == [p.default] * len(own)
                    assert p.default in (own, None) or several, (name, overload, a.name)
            checked += 1
    assert checked > 90


def known_rest(known, argument):
    return argument.name in known and known[argument.name].rest


def test_the_words_of_torch_functional_have_the_arguments_of_its_functions():
    checked = 0
    for words, module in ((FUNCTIONAL, torch.nn.functional), (PACKING, torch.nn.utils.rnn)):
        for name, word in words.items():
            function = getattr(module, name)
            if name in ("max_pool1d", "adaptive_max_pool1d", "max_pool2d", "adaptive_max_pool2d"):
                function = getattr(module, f"_{name}")  # which one is called depends on return_indices
            parameters = inspect.signature(function).parameters.values()
            assert len(parameters) == len(word.parameters), name
            for own, p in zip(parameters, word.parameters):
                assert own.name in p.names, (name, own.name)
                if own.default is not own.empty and p.argument and not name.startswith("adaptive_max_pool"):
                    assert p.default == own.default, (name, own.name)
            checked += 1
    assert checked > 20


def _exported():
    class Greatest(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = torch.nn.Conv1d(3, 4, 3), torch.nn.Linear(4, 2)

        def forward(self, x):
            y = self.conv(torch.constant_pad_nd(x, [1, 1], 0.0))
            if x.shape[1] != 3:  # a condition on sizes, which only torch.export gets through
                raise ValueError("three features")
            return self.fc(torch.nn.functional.adaptive_max_pool1d(y, 1).squeeze(-1))

    return Greatest(), torch.randn(2, 3, 9)


def _functions():
    class Functions(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.matrix = (
                torch.nn.Parameter(torch.randn(7, 3)),
                torch.nn.Parameter(torch.randn(3, 5)),
            )
            self.rnn, self.fc = torch.nn.GRU(5, 4, batch_first=True), torch.nn.Linear(4, 2)

        def forward(self, x):
            y = self.rnn(torch.matmul(torch.embedding(self.table, x), other=self.matrix))[0]
            return torch.softmax(self.fc(y), -1, torch.float32)

    return Functions(), torch.tensor([[1, 2, 3, 4], [6, 5, 0, 1]])


@pytest.mark.parametrize("make", [_exported, _functions])
def test_words_are_read_by_their_own_signature(make):
    """torch.embedding takes the table first, torch.nn.functional.embedding last; a greatest value comes with
    its index from aten and without it from torch.nn.functional.
    """
    torch.manual_seed(3)
    module, x = make()
    with torch.no_grad():
        wanted = module.eval()(x).numpy()
    np.testing.assert_allclose(rnnrt.from_torch(module, example=x)(x.numpy()), wanted, atol=1e-5)


def test_a_type_of_number_is_float32_or_refused():
    net = Network()
    x = net.input("x", "btf", 3)
    for given in ((), (Harmless("torch.float32"),), (Harmless("cpu"), False), ("cpu",), (x,)):
        assert call(net, METHODS, "to", x, *given) is x
    assert call(net, METHODS, "to", x, dtype=Harmless("torch.float32"), copy=True) is x
    for given in (
        (Harmless("torch.float64"),),
        ("torch.DoubleTensor",),
        (Harmless("cpu"), Harmless("torch.half")),
    ):
        with pytest.raises(UnsupportedModelError, match="type"):
            call(net, METHODS, "to", x, *given)
    with pytest.raises(UnsupportedModelError, match="change of type to int64"):
        call(net, METHODS, "long", x)
