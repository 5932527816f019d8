"""Which axis of an input is time, and how large the others are: found from the operators, or asked for."""

import numpy as np
import pytest
from onnx_answers import assert_same, imported
from onnx_bytes import model, node, numbers, port, whole
from onnx_exports import recorded

import rnnrt
from rnnrt import ShapeError, UnsupportedModelError

RNN = {"W": numbers(1, 4, 5), "R": numbers(1, 4, 4), "one": whole(1)}


def rnn(shape, perm=None):
    """An RNN over x, turned by ``perm`` first."""
    nodes = [node("Transpose", "x", "xt", perm=perm)] if perm else []
    nodes += [
        node("RNN", f"{'xt' if perm else 'x'} W R", "s h", hidden_size=4),
        node("Squeeze", "s one", "y"),
    ]
    return model(nodes, {"x": shape}, ["y"], RNN)


@pytest.mark.parametrize(
    "shape, perm, axes",
    [
        (("a", "b", 5), None, "tbf"),
        (("a", "b", 5), [1, 0, 2], "btf"),
        (("a", 5, "b"), [2, 0, 1], "bft"),
        ((7, 2, 5), None, "tbf"),  # numbers of frames and rows that a file states hold for any
        (("a", "b", "c"), [1, 0, 2], "btf"),  # the weights tell how many features there are
        ((0, 0, 0), None, "tbf"),
    ],
)
def test_the_operators_say_which_axis_is_time(shape, perm, axes, tmp_path):
    made = imported(rnn(shape, perm), tmp_path)
    assert made.graph["x"].axes == axes and made.graph.signals["x"].length is None
    assert made.graph.signals["x"].features == (5,)


def test_any_batch_and_length_that_a_file_does_not_declare(tmp_path):
    made, free = imported(rnn((7, 2, 5)), tmp_path), imported(rnn(("t", "b", 5)), tmp_path)
    x = numbers(9, 3, 5)
    assert (made(x) == free(x)).all()


def test_a_size_that_no_weight_tells_is_asked_for(tmp_path):
    content = model([node("Relu", "x", "y")], {"x": ("b", "n")}, ["y"], {"w": numbers(4, 3)})
    assert imported(content, tmp_path).inputs == {"x": (None, None)}  # one number a frame: that is sound
    arrays = {"at": whole(1), "w": numbers(2, 1, 3), "k": np.array(0)}
    nodes = [
        node("Unsqueeze", "x at", "x3"),
        node("Conv", "x3 w", "c", pads=[1, 1]),
        node("Gather", "c k", "g", axis=2),
        node("Transpose", "g", "y", perm=[0, 1]),
    ]
    taken = model(nodes, {"x": ("b", "n")}, ["y"], arrays)
    made = imported(taken, tmp_path, shapes={"x": (None, 6)})
    x = numbers(2, 6)
    np.testing.assert_allclose(
        made(x), assert_same(model(nodes, {"x": ("b", 6)}, ["y"], arrays), tmp_path, {"x": x})(x)
    )
    with pytest.raises(ShapeError):
        made(numbers(2, 7))


def test_frames_taken_by_number_make_the_input_that_long(tmp_path):
    arrays = {f"k{k}": np.array(k) for k in range(4)}
    nodes = [node("Gather", f"x k{k}", f"f{k}", axis=1) for k in range(3)]
    nodes += [node("Add", "f0 f1", "s"), node("Tanh", "s", "t"), node("Mul", "t f2", "y")]
    content = model(nodes, {"x": ("b", "t", 5)}, ["y"], arrays)
    made = assert_same(content, tmp_path, {"x": numbers(2, 3, 5)})
    assert made.inputs["x"] == (None, 3, 5)
    for frames in (1, 2, 4, 9):
        with pytest.raises(ShapeError, match="wrong shape"):
            made(numbers(2, frames, 5))
    holes = [node("Gather", f"x k{k}", f"f{k}", axis=1) for k in (0, 3)] + [node("Add", "f0 f3", "y")]
    with pytest.raises(UnsupportedModelError, match="taken by number"):
        imported(model(holes, {"x": ("b", "t", 5)}, ["y"], arrays), tmp_path)


def test_the_first_frame_of_what_remembers_is_honest(tmp_path):
    """The last step of a layer that runs in reverse: any number of frames."""
    arrays = RNN | {"k": np.array(0)}
    nodes = [
        node("RNN", "x W R", "s h", hidden_size=4, direction="reverse"),
        node("Squeeze", "s one", "q"),
        node("Gather", "q k", "y", axis=0),
    ]
    content = model(nodes, {"x": ("t", "b", 5)}, ["y"], arrays)
    for time in (1, 2, 9):
        assert_same(content, tmp_path, {"x": numbers(time, 3, 5)})


def test_a_shape_with_the_number_of_frames_in_it(tmp_path):
    nodes = [node("MatMul", "x w", "m"), node("Reshape", "m shape", "y")]
    arrays = {"w": numbers(5, 4), "shape": whole(-1, 7, 2, 2)}
    made = assert_same(model(nodes, {"x": ("b", "t", 5)}, ["y"], arrays), tmp_path, {"x": numbers(2, 7, 5)})
    assert made.inputs["x"] == (None, 7, 5)


def test_options_that_name_nothing(tmp_path):
    for option, value in (("shapes", {"z": (1,)}), ("constants", {"z": 1}), ("state", {"z": "y"})):
        with pytest.raises(UnsupportedModelError, match=f"{option} names an input that is not there.*'z'"):
            imported(rnn(("t", "b", 5)), tmp_path, **{option: value})


def test_an_input_of_a_number_must_be_fixed(tmp_path):
    nodes = [node("Mul", "x scale", "y")]
    content = model(nodes, [port("x", ("b", "t", 5)), port("scale", ())], ["y"])
    with pytest.raises(UnsupportedModelError, match="'scale'.*constants="):
        imported(content, tmp_path)
    made = imported(content, tmp_path, constants={"scale": np.float32(2)})
    x = numbers(1, 3, 5)
    np.testing.assert_array_equal(made(x), 2 * x)
    assert "the input 'scale' is 2.0" in made.assumptions


@pytest.mark.parametrize("opset", (18, 20, 23))
def test_rows_with_a_frame_each_are_not_the_frames_of_a_recurrent_layer(opset, tmp_path):
    """The sizes of batch and time change places behind the layer: no reading holds for a batch."""
    names = [b"\n\x06val_56", b"\n\x06val_58", b"\n\x06val_65"]
    before, after = b"".join(names), b"".join([names[1], names[0], names[2]])
    content = recorded()[0][f"norm_gru.new{opset}"]
    assert content.count(before) == 1
    path = tmp_path / "turned.onnx"
    path.write_bytes(content.replace(before, after))
    with pytest.raises(UnsupportedModelError, match="takes the rows for its frames"):
        rnnrt.from_onnx(path)
