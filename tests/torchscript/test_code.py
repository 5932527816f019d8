"""What the code of a traced module may say: used, known to say nothing, or refused by name."""

import numpy as np
import pytest
from script_bytes import Module, Sized, archive, forward

import rnnrt
from rnnrt import ModelFileError, UnsupportedModelError
from rnnrt.importers.torchscript import reader

DRAW = np.random.RandomState(0)
W = DRAW.standard_normal((4, 3)).astype(np.float32)
U = DRAW.standard_normal((4, 4)).astype(np.float32)
B = DRAW.standard_normal(4).astype(np.float32)
X = DRAW.standard_normal((2, 5, 3)).astype(np.float32)


def imported(tmp_path, *parts, shapes=None, **options):
    path = tmp_path / "m.pt"
    path.write_bytes(archive(*parts, **options))
    return rnnrt.from_torchscript(path, shapes=shapes)


def of(tmp_path, body, x=X, shapes=None, **options):
    """What one method over weights w, u, b answers."""
    options = {"example": [Sized(*x.shape)]} | options
    module = Module(w=W, u=U, b=B, training=False)
    return imported(tmp_path, forward(body), module, shapes=shapes, **options)(x)


def refused(tmp_path, body, match, kind=UnsupportedModelError, **options):
    with pytest.raises(kind, match=match):
        of(tmp_path, body, **options)


def near(made, wanted):
    np.testing.assert_allclose(made, wanted, atol=1e-5)


LINEAR = "linear = torch.linear(x, self.w, self.b)\nreturn "


def test_linear_layers_of_older_versions(tmp_path):
    wanted = X @ W.T + B
    near(of(tmp_path, "return torch.linear(x, self.w, self.b)"), wanted)
    near(
        of(tmp_path, "_0 = torch.matmul(x, torch.t(self.w))\nreturn torch.add_(_0, self.b, alpha=1)"), wanted
    )
    near(of(tmp_path, "return torch.addmm(self.b, x, torch.t(self.w))", X[:, 0]), wanted[:, 0])
    old = "op_version_set = 1\n" + forward("return torch.linear(x, self.w, self.b)")
    near(imported(tmp_path, old, Module(w=W, b=B), example=[Sized(2, 5, 3)])(X), wanted)


def test_arguments_have_the_order_of_the_method_that_is_called(tmp_path):
    """Tracing gives a submodule's arguments an order of its own, and its own name to each further call."""
    part = """class Part(Module):
  def forward(s: __torch__.Part,
    h: Tensor,
    x: Tensor) -> Tensor:
    return torch.sub(torch.linear(x, s.w), h)
  def forward1(self: __torch__.Part,
    x: Tensor) -> Tensor:
    return torch.linear(x, self.w)
"""
    body = """
part = self.part
h = (part).forward1(x, )
_0 = (part).forward(x=x, h=torch.tanh(h), )
return _0
"""
    module = Module(part=Module("Part", w=W))
    made = imported(tmp_path, part + forward(body), module, example=[Sized(2, 5, 3)])
    near(made(X), X @ W.T - np.tanh(X @ W.T))
    other = body.replace("h=torch.tanh(h)", "k=torch.tanh(h)")
    with pytest.raises(ModelFileError, match="other arguments than it has.*expected s, h, x"):
        imported(tmp_path, part + forward(other), module, example=[Sized(2, 5, 3)])


def test_classes_in_files_of_their_own_and_functions(tmp_path):
    files = {
        "__torch__.py": forward('_0 = getattr(self, "0")\nreturn __torch__.more.act((_0).forward(x, ), )'),
        "__torch__/more.py": "def act(x: Tensor) -> Tensor:\n  return torch.relu(x)\n",
        "__torch__/a/b/___torch_mangle_3.py": forward("return torch.linear(x, self.w)", name="Linear"),
    }
    module = Module(**{"0": Module("a.b.___torch_mangle_3.Linear", w=W)})
    near(imported(tmp_path, files, module, example=[Sized(2, 5, 3)])(X), np.maximum(X @ W.T, 0))
    del files["__torch__/a/b/___torch_mangle_3.py"]
    with pytest.raises(ModelFileError, match="lacks a file of its code"):
        imported(tmp_path, files, module, example=[Sized(2, 5, 3)])


def test_parts_that_are_written_over_do_not_share_a_storage(tmp_path):
    """As tracing writes the step of an LSTM cell; parts of chunk itself do."""
    body = LINEAR.replace("return ", "a, b, = torch.{}(linear, 2, -1)\n_0 = torch.sigmoid_(a)\nreturn ")
    wanted = X @ W.T + B
    wanted = 1 / (1 + np.exp(-wanted[..., :2])) * wanted[..., 2:]
    near(of(tmp_path, body.format("unsafe_chunk") + "torch.mul(_0, b)"), wanted)
    refused(tmp_path, body.format("chunk") + "torch.mul(_0, b)", "sigmoid_ has changed in place")
    near(of(tmp_path, LINEAR + "torch.mul(torch.tanh_(linear), linear)"), np.tanh(X @ W.T + B) ** 2)


def test_numbers_types_and_constants(tmp_path):
    plain = X @ W.T + B
    double, count = np.array(0.3, np.float64), np.array(1, np.int64)
    near(of(tmp_path, LINEAR + "torch.mul(linear, CONSTANTS.c0)", constants=[double]), plain * 0.3)
    near(of(tmp_path, LINEAR + "torch.to(torch.to(linear, 6), 6, False, False)"), plain)
    near(of(tmp_path, LINEAR + "torch.sum(linear, [1], dtype=6)"), plain.sum(1))
    near(of(tmp_path, LINEAR + "torch.clamp(linear, -inf, 0.25)"), np.minimum(plain, 0.25))
    near(
        of(tmp_path, LINEAR + "annotate(Tensor, torch.maximum(linear, torch.relu(linear)))"),
        np.maximum(plain, 0),
    )
    axis = "torch.cat([linear, linear], int(torch.add(CONSTANTS.c0, CONSTANTS.c0)))"
    near(of(tmp_path, LINEAR + axis, constants=[count]), np.concatenate([plain, plain], 2))
    refused(tmp_path, LINEAR + "torch.to(linear, 4)", "change of type to int64")
    refused(tmp_path, LINEAR + "torch.softmax(linear, -1, 7)", "dtype=torch.float64")
    refused(tmp_path, LINEAR + "torch.reshape(linear, [int(linear)])", "takes a number out of a tensor")
    refused(tmp_path, LINEAR + "torch.mul(linear, CONSTANTS.c7)", "lacks a constant", ModelFileError)


def test_convolutions_by_their_arguments(tmp_path):
    kernel = DRAW.standard_normal((4, 3, 3)).astype(np.float32)
    x = X.swapaxes(1, 2).copy()
    body = "return torch._convolution(x, self.w, None, [1], [{}], [1], {}, [0], 1, False, False, True{})"
    code = forward(body.format(1, False, ", True"))
    made = imported(tmp_path, code, Module(w=kernel), example=[Sized(2, 3, 5)])
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 3, 2)
    near(made(x), np.einsum("bctk,ock->bot", windows, kernel))
    turned = forward(body.format(0, True, ""))  # as before PyTorch 1.7
    made = imported(tmp_path, turned, Module(w=kernel[:3]), example=[Sized(2, 3, 5)])
    wanted = np.zeros((2, 3, 7))
    for t in range(5):
        wanted[:, :, t : t + 3] += np.einsum("bc,cok->bok", x[:, :, t], kernel[:3])
    near(made(x), wanted)
    flat = body.replace("[1], [{}], [1]", "[1, 1, 1], [{}, 0, 0], [1, 1, 1]").format(0, False, "")
    with pytest.raises(UnsupportedModelError, match="operator conv3d is not supported"):
        imported(tmp_path, forward(flat), Module(w=kernel), example=[Sized(2, 3, 5)])


def test_states_come_in_a_tuple_as_forward_takes_them(tmp_path):
    weights = {"w": DRAW.standard_normal((8, 3)), "u": DRAW.standard_normal((8, 2)), "b": np.zeros(8)}
    weights = {k: v.astype(np.float32) for k, v in weights.items()}
    body = """
h, c, = state
_0, _1, _2 = torch.lstm(x, [h, c], [self.w, self.u, self.b, self.b], True, 1, 0., False, False, True)
return _0
"""
    code = forward(body, "x: Tensor,\n    state: Tuple[Tensor, Tensor]")
    sizes = Sized(1, 2, 2)
    model = imported(tmp_path, code, Module(**weights), example=[Sized(2, 5, 3), (sizes, sizes)])
    assert list(model.inputs) == ["x"]
    h, c = DRAW.standard_normal((2, 1, 2, 2)).astype(np.float32)
    layer = next(iter(model.stream(2).state.arrays())).partition("/")[0]
    by_name = {f"{layer}/h": h[0], f"{layer}/c": c[0]}
    assert (model(X, initial_state=(h, c)) == model(X, initial_state=by_name)).all()
    assert not (model(X, initial_state=(h, c)) == model(X)).all()


# ---- sizes -------------------------------------------------------------------------------------------------


def test_sizes_follow_the_input(tmp_path):
    body = (
        LINEAR.replace("return ", "")
        + """_0 = ops.prim.NumToTensor(torch.size(linear, 1))
_1 = int(torch.mul(_0, CONSTANTS.c0))
flat = torch.reshape(linear, [torch.size(x, 0), int(_0), -1])
return flat"""
    )
    near(of(tmp_path, body, constants=[np.array(1, np.int64)]), X @ W.T + B)


NUMBERS = {
    "torch.mul(linear, 0.5)": 0.5,
    "torch.div(linear, 7)": 1 / 7,
    "torch.div(linear, 2.6457513110645907)": 7**-0.5,
}


@pytest.mark.parametrize("body", NUMBERS)
def test_a_number_that_may_be_that_of_the_frames(body, tmp_path):
    """Of an example with 5 frames none of these is; of one with 7 two are; without an example all may be."""
    wanted = (X @ W.T + B) * NUMBERS[body]
    near(of(tmp_path, LINEAR + body), wanted)
    module, code = Module(w=W, b=B), forward(LINEAR + body)
    seven = imported(tmp_path, code, module, example=[Sized(2, 7, 3)])
    assert (seven.inputs["x"][1] == 7) == (body != "torch.mul(linear, 0.5)")
    with pytest.raises(UnsupportedModelError, match="may be made of the number of frames.*shapes="):
        imported(tmp_path, code, module)
    near(imported(tmp_path, code, module, shapes={"x": (2, 5, 3)})(X), wanted)
    open_ones = imported(tmp_path, code, module, shapes={"x": (None, None, 3)})
    near(open_ones(X), wanted)
    assert imported(tmp_path, code, module, shapes={"x": (2, 7, 3)}).inputs["x"][1] == (
        None if body == "torch.mul(linear, 0.5)" else 7
    )


def test_numbers_that_no_number_of_frames_makes(tmp_path):
    model = imported(tmp_path, forward(LINEAR + "torch.mul(linear, 0.044715)"), Module(w=W, b=B))
    near(model(X), (X @ W.T + B) * 0.044715)
    assert any("does not say which sizes" in a for a in model.assumptions)


@pytest.mark.parametrize(
    "body",
    ["torch.select(linear, 1, 0)", "torch.reshape(linear, [-1, 5, 4])", "torch.slice(linear, 1, 0, 3)"],
)
def test_frames_by_their_numbers_of_an_example_that_is_not_said(body, tmp_path):
    with pytest.raises(UnsupportedModelError, match="for that many frames alone.*shapes="):
        imported(tmp_path, forward(LINEAR + body), Module(w=W, b=B))


def test_shapes_that_do_not_fit(tmp_path):
    code, module = forward(LINEAR + "linear"), Module(w=W, b=B)
    with pytest.raises(UnsupportedModelError, match="an input that is not there.*expected x.*found 'y'"):
        imported(tmp_path, code, module, shapes={"y": (1, 2, 3)})
    with pytest.raises(UnsupportedModelError, match="another number of axes.*found .2, 3."):
        imported(tmp_path, code, module, shapes={"x": (2, 3)}, example=[Sized(2, 5, 3)])
    with pytest.raises(UnsupportedModelError, match="are not understood.*found .'a', 3."):
        imported(tmp_path, code, module, shapes={"x": ("a", 3)})


# ---- refusals ----------------------------------------------------------------------------------------------

SCRIPTED = {
    "an if": "if bool(True):\n  _0 = x\nelse:\n  _0 = x\nreturn _0",
    "a loop": "for _0 in range(3):\n  x = torch.relu(x)\nreturn x",
    "a subscript": "_0 = (x, x)\nreturn (_0)[0]",
    "a comparison": "_0 = 1 < 2\nreturn x",
    "a cast": "return unchecked_cast(Tensor, x)",
    "an exception": 'ops.prim.RaiseException("no")\nreturn x',
    "an object": "_0 = __torch__.more.Packed.__new__(__torch__.more.Packed)\nreturn x",
}


@pytest.mark.parametrize("name", SCRIPTED)
def test_what_tracing_does_not_write_is_called_scripted(name, tmp_path):
    refused(tmp_path, SCRIPTED[name], r"is scripted .torch.jit.script.*Trace the module.*with a spec")


def test_an_input_that_is_a_number_is_scripted(tmp_path):
    with pytest.raises(UnsupportedModelError, match="not a tensor, 'sr'.*Trace the module"):
        imported(tmp_path, forward("return x", "x: Tensor,\n    sr: int"), Module())


def test_what_a_module_keeps_from_call_to_call_is_refused(tmp_path):
    match = "changes '{}', which it keeps from call to call.*state="
    refused(tmp_path, "self.h = x\nreturn x", match.format("h"))
    refused(tmp_path, "_0 = torch.add_(self.b, 1)\nreturn torch.linear(x, self.w, self.b)", match.format("b"))
    body = "_0 = torch.add_(torch.select(self.u, 0, 0), 1)\nreturn torch.linear(x, self.w, self.b)"
    refused(tmp_path, body, "which it keeps from call to call")


def test_operators_that_are_not_known(tmp_path):
    refused(tmp_path, "return torch.linalg_qr(x)", "forward of Net.*line 5: the operator linalg_qr is not")


def test_packing_is_read_as_a_whole_or_refused(tmp_path):
    weights = {"w": DRAW.standard_normal((9, 3)), "u": DRAW.standard_normal((9, 3))}
    module = Module(**{k: v.astype(np.float32) for k, v in weights.items()})
    body = """
_0, sizes = torch._pack_padded_sequence(x, torch.to(lengths, 4), True)
rows = torch.select(sizes, 0, 0)
hx = torch.zeros([1, int(rows), 3], dtype=6, layout=None, device=torch.device("cpu"), pin_memory=False)
_1, _2 = torch.gru(_0, sizes, hx, [self.w, self.u], False, 1, 0., False, False)
total = ops.prim.NumToTensor(torch.size(sizes, 0))
_3, _4 = torch._pad_packed_sequence(_1, sizes, True, 0., int(total))
return _3
"""
    given, example = "x: Tensor,\n    lengths: Tensor", [Sized(2, 5, 3), Sized(2, ids=True)]
    model = imported(tmp_path, forward(body, given), module, example=example)
    made = model(X, lengths=[4, 2])
    assert made.shape == (2, 4, 3) and not made[1, 2:].any()
    alone = model(X[1:, :2], lengths=[2])
    near(made[1:, :2], alone)
    for wrong in ("torch.relu(_1)", "torch.select(sizes, 0, 1)", "sizes"):
        other = body.replace("return _3", f"return {wrong}")
        with pytest.raises(UnsupportedModelError, match="packed sequence is used in a way"):
            imported(tmp_path, forward(other, given), module, example=example)


def test_rows_in_the_order_of_their_lengths(tmp_path):
    """enforce_sorted=False: sorted, and sorted back."""
    body = """
_0, order = torch.sort(lengths, -1, True)
order0 = torch.to(order, dtype=4, layout=0, device=torch.device("cpu"))
data, sizes = torch._pack_padded_sequence(torch.index_select(x, 0, order0), _0, True)
blank = torch.empty_like(order0, dtype=None)
count = ops.prim.NumToTensor(torch.numel(order0))
numbers = torch.arange(0, annotate(number, count), dtype=None)
back = torch.scatter_(blank, 0, order0, numbers)
padded, _1 = torch._pad_packed_sequence(data, sizes, True, 0., torch.size(x, 1))
return torch.index_select(padded, 0, {})
"""
    given, example = "x: Tensor,\n    lengths: Tensor", [Sized(2, 5, 3), Sized(2, ids=True)]
    model = imported(tmp_path, forward(body.format("back"), given), Module(), example=example)
    made = model(X, lengths=[2, 4])
    wanted = X.copy()
    wanted[0, 2:], wanted[1, 4:] = 0, 0
    assert (made == wanted).all()
    with pytest.raises(UnsupportedModelError, match="packed sequence is used in a way"):
        imported(tmp_path, forward(body.format("order0"), given), Module(), example=example)


def test_the_reader_takes_what_it_takes(tmp_path):
    """from_torchscript has the reader's options."""
    import inspect

    own = set(inspect.signature(rnnrt.from_torchscript).parameters) - {"source", "check"}
    assert own | {"spec", "prefix"} == set(inspect.signature(reader.read).parameters) - {"source"}
