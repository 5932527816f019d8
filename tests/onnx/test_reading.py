"""The reader of ONNX files: wire format, arrays of every type, data files beside the model."""

import os

import numpy as np
import pytest
from needs import need
from onnx_answers import imported
from onnx_bytes import BFLOAT16, FLOAT, INT64, field, message, model, node, port, tensor, varint

import rnnrt
from rnnrt import ModelFileError, ResourceLimitError, UnsupportedModelError
from rnnrt.importers.containers import protobuf
from rnnrt.importers.containers.protobuf import Field
from rnnrt.importers.onnx import model as files

TABLE = {
    "Top": {
        1: Field("count", "int"),
        2: Field("name", "text"),
        3: Field("inner", "Top"),
        4: Field("many", "int", True),
        5: Field("floats", "float", True),
        6: Field("doubles", "double", True),
        7: Field("skipped", None),
        8: Field("blob", "bytes"),
    }
}


def top(data):
    return protobuf.read(data, "Top", TABLE, "m")


def test_numbers_packed_and_not():
    packed = field(4, b"".join(map(varint, (0, 1, 300, -1, 1 << 40))))
    plain = b"".join(field(4, n) for n in (0, 1, 300, -1, 1 << 40))
    for data in (packed, plain):
        assert protobuf.numbers(top(data).many, np.int64).tolist() == [0, 1, 300, -1, 1 << 40]
    mixed = top(packed + plain)
    assert protobuf.numbers(mixed.many, np.int64).tolist() == [0, 1, 300, -1, 1 << 40] * 2
    assert top(field(1, -5)).count == -5 and top(b"").count is None
    floats = field(5, np.array([1.5, -2], "<f4").tobytes()) + field(5, 0.25)
    assert protobuf.numbers(top(floats).floats, np.float32).tolist() == [1.5, -2.0, 0.25]
    doubles = field(6, np.array([0.1], "<f8").tobytes())
    assert protobuf.numbers(top(doubles).doubles, np.float64).tolist() == [0.1]


def test_fields_that_are_not_known_are_counted_and_those_that_are_not_read_skipped():
    made = top(field(7, b"anything") + field(2, "a") + field(99, 3) + field(2, "b"))
    assert made.name == "b" and made.unknown == (99,)  # the last one counts


@pytest.mark.parametrize(
    "data, words",
    [
        (b"\x08", "does not end"),
        (b"\x08" + b"\xff" * 11, "does not end"),
        (b"\x12\x05ab", "ends outside"),
        (b"\x0b", "impossible type"),
        (b"\x00\x01", "ends outside"),
        (b"\x12\x01\xff", "Top.name is not text"),
        (b"\x0a\x01a", "Top.count has another type"),
        (b"\x22\x01\x80", "does not end"),
        (b"\x2a\x03abc", "end early"),
        (b"\x1d\x00\x00\x00\x00", "Top.inner has another type"),
        (b"\x1a\x00\x1a\x00", "Top.inner is there twice"),
    ],
)
def test_damage_is_named(data, words):
    with pytest.raises(ModelFileError, match=words):
        top(data)


def test_nesting_and_fields_are_bounded(monkeypatch):
    data = b""
    for _ in range(31):
        data = field(3, data)
    top(data)
    for _ in range(3):
        data = field(3, data)
    with pytest.raises(ResourceLimitError, match="nest too deeply"):
        top(data)
    monkeypatch.setattr(protobuf, "MOST_FIELDS", 100)
    with pytest.raises(ResourceLimitError, match="too many fields"):
        top(field(1, 0) * 101)


# ---- arrays ------------------------------------------------------------------------------------------------


def read(content, **options):
    return files.read(content, "m.onnx", **options)


def of_array(array, **extra):
    """A file with one array, as it is read."""
    content = model([node("Relu", "x", "y")], {"x": ("b", 2)}, ["y"], {"w": array, **extra})
    return read(content).program.arrays["w"]


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "float16", "int8", "uint8", "int32", "int64", "bool"]
)
@pytest.mark.parametrize("raw", (True, False))
def test_types_of_numbers(dtype, raw):
    array = np.array([[0, 1], [1, 100]], dtype)
    if dtype.startswith("f"):
        array = np.array([[-0.5, 1.25], [3, 1e4]], dtype)
    made = of_array(tensor(array, "w", raw=raw))
    assert made.dtype == ("float32" if dtype == "float16" else dtype)
    np.testing.assert_array_equal(made, array.astype(made.dtype))


def test_bfloat16_is_widened():
    bits = np.array([0x3F80, 0xC040], np.uint16)  # 1, -3
    for body in ((9, bits.tobytes()), (5, b"".join(map(varint, bits.tolist())))):
        made = of_array(message((1, 2), (2, BFLOAT16), (8, "w"), body))
        assert made.dtype == np.float32 and made.tolist() == [1.0, -3.0]


def test_an_array_without_axes_and_one_without_numbers():
    assert of_array(tensor(np.float32(3), "w")).shape == ()
    assert of_array(tensor(np.empty((0, 4), np.float32), "w")).shape == (0, 4)


@pytest.mark.parametrize(
    "fields, words",
    [
        ([(1, 3), (2, FLOAT), (9, bytes(8))], "bytes of the array 'w' do not fit.*12 for"),
        ([(1, 3), (2, FLOAT), (4, bytes(8))], "numbers of the array 'w' do not fit"),
        ([(1, 2), (2, FLOAT), (4, bytes(8)), (9, bytes(8))], "bytes of the array 'w' do not fit"),
        ([(1, 2), (2, FLOAT), (7, varint(1) * 2)], "numbers of the array 'w' do not fit"),
        ([(1, -1), (2, FLOAT)], "impossible shape"),
        ([(1, 1 << 40), (1, 1 << 40), (2, FLOAT)], "impossible shape"),
        ([(1, 1), (2, 2), (5, varint(300))], "outside its type, uint8"),
    ],
)
def test_numbers_that_do_not_fit_their_shape(fields, words):
    with pytest.raises(ModelFileError, match=words):
        of_array(message(*fields, (8, "w")))


@pytest.mark.parametrize(
    "type, word", [(8, "string"), (14, "complex64"), (17, "type 17"), (22, "int4"), (0, "type 0")]
)
def test_types_that_are_not_supported(type, word):
    with pytest.raises(UnsupportedModelError, match=f"'w' holds a type.*found {word}"):
        of_array(message((1, 1), (2, type), (8, "w"), (9, bytes(4))))


# ---- data beside the model ---------------------------------------------------------------------------------


def beside(location="m.onnx.data", offset=None, length=None, **more):
    """An array (2, 3) whose numbers are elsewhere."""
    entries = [("location", location), ("offset", offset), ("length", length), *more.items()]
    fields = [(13, message((1, k), (2, str(v)))) for k, v in entries if v is not None]
    return message((1, 2), (1, 3), (2, FLOAT), (8, "w"), *fields, (14, 1))


def dense(array, opset=17):
    return model([node("MatMul", "x w", "y")], {"x": ("b", 2)}, ["y"], {"w": array}, opset=opset)


@pytest.fixture
def folder(tmp_path):
    numbers = np.arange(6, dtype="<f4")
    (tmp_path / "m.onnx.data").write_bytes(bytes(8) + numbers.tobytes())
    return tmp_path


def test_weights_in_a_second_file_are_read_where_it_is_named(folder):
    path = folder / "m.onnx"
    path.write_bytes(dense(beside(offset=8, length=24)))
    with pytest.raises(ModelFileError) as refused:
        rnnrt.from_onnx(path)
    for words in ("'m.onnx.data'", "from_onnx(path, data='m.onnx.data')", "--data", "external_data=False"):
        assert words in str(refused.value)
    for data in (folder / "m.onnx.data", [os.fspath(folder / "m.onnx.data")]):
        made = rnnrt.from_onnx(path, data=data)
        np.testing.assert_allclose(made(np.array([[1, 2]], np.float32)), [[6.0, 9.0, 12.0]])
    assert rnnrt.convert(path, data=folder / "m.onnx.data") == made


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "a/b", "..", ".", "", "a\\b"])
def test_a_data_file_is_beside_the_model_and_nowhere_else(folder, location):
    path = folder / "m.onnx"
    path.write_bytes(dense(beside(location, 8)))
    with pytest.raises(ModelFileError, match="not beside this one"):
        rnnrt.from_onnx(path, data=folder / "m.onnx.data")


@pytest.mark.parametrize(
    "offset, length", [(12, None), (8, 20), (-4, None), (1 << 60, None), ("x", None), (8, "24x")]
)
def test_extents_that_do_not_fit_the_data_file(folder, offset, length):
    path = folder / "m.onnx"
    path.write_bytes(dense(beside(offset=offset, length=length)))
    with pytest.raises(ModelFileError, match="do not fit the file they are in"):
        rnnrt.from_onnx(path, data=folder / "m.onnx.data")


def test_a_data_file_that_is_another_or_of_no_use_is_refused(folder):
    path, other = folder / "m.onnx", folder / "other.data"
    other.write_bytes(bytes(32))
    path.write_bytes(dense(beside(offset=8)))
    with pytest.raises(ModelFileError, match="'m.onnx.data'.*found data=other.data"):
        rnnrt.from_onnx(path, data=other)
    path.write_bytes(dense(np.ones((2, 3), np.float32)))
    with pytest.raises(ModelFileError, match="other.data: holds no weights"):
        rnnrt.from_onnx(path, data=other)
    path.write_bytes(dense(beside(offset=8)))
    os.mkfifo(folder / "pipe")
    os.rename(folder / "pipe", folder / "m.onnx.data")
    with pytest.raises(ModelFileError, match="a pipe"):
        rnnrt.from_onnx(path, data=folder / "m.onnx.data")


# ---- what a file may hold ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, error, words",
    [
        ({"opset": 6}, UnsupportedModelError, "opset 7 to 28; found 6"),
        ({"opset": 99}, UnsupportedModelError, "found 99.*convert_version"),
        ({"ir": 99}, UnsupportedModelError, "ir_version 1 to 14; found 99"),
        ({"nodes": [node("MatMul", "x v", "y")]}, ModelFileError, "reads 'v', which nothing before it makes"),
        ({"nodes": [node("Relu", "x", "x")]}, ModelFileError, "two values have one name"),
        ({"nodes": [node("Relu", "x", "z")]}, ModelFileError, "nothing makes the output 'y'"),
        (
            {"nodes": [node("Relu", "x", "y", domain="my.own")]},
            UnsupportedModelError,
            "my.own.Relu is not supp",
        ),
        ({"nodes": [node("Twist", "x", "y")]}, UnsupportedModelError, "the operator Twist is not supported"),
        ({"extra": [(77, 1)]}, ModelFileError, "is not an ONNX model|not a kind"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(change, error, words, tmp_path):
    parts = {"nodes": [node("MatMul", "x w", "y")], "inputs": {"x": ("b", 2)}, "outputs": ["y"]}
    parts |= {"arrays": {"w": np.ones((2, 3), np.float32)}} | change
    with pytest.raises(error, match=words):
        imported(model(**parts), tmp_path)


def test_arrays_that_are_inputs_too_are_arrays(tmp_path):
    """Files before ir_version 4 list their weights among the inputs."""
    ports = [port("x", ("b", 2)), port("w", (2, 3))]
    content = model([node("MatMul", "x w", "y")], ports, ["y"], {"w": np.ones((2, 3), np.float32)}, ir=3)
    assert list(imported(content, tmp_path).inputs) == ["x"]


def test_names_in_messages_are_short_and_printable(tmp_path):
    name = "\x1b[31m" + "n" * 500
    with pytest.raises(UnsupportedModelError) as refused:
        imported(model([node("Twist", "x", "y", name=name)], {"x": ("b", 2)}, ["y"]), tmp_path)
    assert len(str(refused.value)) < 400 and "\x1b" not in str(refused.value)


def test_functions_of_the_file_itself_are_refused(tmp_path):
    function = message((1, "Twice"), (10, "own"))
    content = model([node("Twice", "x", "y", domain="own")], {"x": ("b", 2)}, ["y"], extra=[(25, function)])
    with pytest.raises(UnsupportedModelError, match="functions of its own.*inline_local_functions"):
        imported(content, tmp_path)
    unused = model([node("Relu", "x", "y")], {"x": ("b", 2)}, ["y"], extra=[(25, function)])
    assert imported(unused, tmp_path)(np.array([[-1, 2]], np.float32)).tolist() == [[0, 2]]


def test_the_same_as_onnx_itself_reads(tmp_path):
    onnx = need("onnx")
    body = model([node("Add", "x c", "z")], [], [port("z")], {"c": np.ones(2, np.float32)})
    inner = onnx.load_from_string(body).graph.SerializeToString()
    nodes = [
        node("Constant", "-", "k", value=np.array([[1, 2]], np.int64)),
        node("If", "flag", "y", then_branch=inner, else_branch=inner, name="choice"),
        node(
            "LSTM", "x w - - h", "a b c", hidden_size=3, activations=["Tanh", "Relu"], activation_alpha=[0.5]
        ),
    ]
    content = model(
        nodes, [port("x", ("b", 2)), port("flag", (), 9)], ["y"], {"w": np.ones((2, 3)), "h": np.arange(4)}
    )
    read_by_onnx, own = onnx.load_from_string(content), read(content)
    assert [n.op_type for n in read_by_onnx.graph.node] == [n.op for n in own.program.nodes]
    for wanted, made in zip(read_by_onnx.graph.node, own.program.nodes):
        assert (list(filter(None, wanted.input)), tuple(wanted.output)) == (
            list(filter(None, made.inputs)),
            made.outputs,
        )
        for attribute in wanted.attribute:
            value, read_value = onnx.helper.get_attribute_value(attribute), made.attributes[attribute.name]
            match attribute.type:
                case onnx.AttributeProto.TENSOR:
                    np.testing.assert_array_equal(onnx.numpy_helper.to_array(value), read_value)
                case onnx.AttributeProto.GRAPH:
                    assert [n.op_type for n in value.node] == [n.op for n in read_value.nodes]
                case onnx.AttributeProto.STRINGS:
                    assert [s.decode() for s in value] == read_value
                case _:
                    assert value == read_value
    for array in read_by_onnx.graph.initializer:
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(array), own.program.arrays[array.name])
    assert own.opset == 17 and INT64 == 7


def test_a_live_model(tmp_path):
    onnx = need("onnx")
    content = dense(np.ones((2, 3), np.float32))
    live = onnx.load_from_string(content)
    assert rnnrt.from_onnx(live) == imported(content, tmp_path)
