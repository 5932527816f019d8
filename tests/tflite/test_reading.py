"""What a TFLite file may say about itself: names, types, versions, and what is refused by name."""

import numpy as np
import pytest
from command import run
from tflite_answers import imported
from tflite_bytes import graph, model, op, read, written
from tflite_networks import FILES, draw, one, sample, whole

import rnnrt
from rnnrt import ModelFileError, UnsupportedModelError
from rnnrt.importers import detect

PLAIN = FILES["product_frames"]


def changed(content, change):
    """The bytes of a file whose tables ``change`` has changed."""
    tables = read(content)
    change(tables)
    return written(tables)


def test_a_file_is_known_by_its_content(tmp_path):
    path = tmp_path / "a.keras"
    path.write_bytes(PLAIN)
    assert detect(path).name == "tflite"
    made = rnnrt.convert(path, tmp_path / "m.rnnrt")
    (x,) = sample("product_frames")
    assert (rnnrt.load(tmp_path / "m.rnnrt")(x) == made(x)).all()
    assert made.graph.metadata["source"] == "tflite"
    with pytest.raises(UnsupportedModelError, match="Use rnnrt.from_tflite"):
        rnnrt.from_onnx(path)


def test_names_are_those_of_the_signature(tmp_path):
    names = {"inputs": [{"name": "sound", "tensor": 0}], "outputs": [{"name": "mask", "tensor": 3}]}
    made = imported(changed(PLAIN, lambda m: m.update(signatures=[names | {"key": "serve"}])), tmp_path)
    assert (list(made.inputs), list(made.outputs)) == (["sound"], ["mask"])
    made = imported(PLAIN, tmp_path)
    assert (list(made.inputs), list(made.outputs)) == (["x"], ["y"])


def test_signatures_of_other_graphs_are_left_out_and_said(tmp_path):
    def two(tables):
        tables["subgraphs"].append(tables["subgraphs"][0])
        tables["signatures"] = [{"key": "train", "subgraph": 1, "inputs": [], "outputs": []}]

    made = imported(changed(PLAIN, two), tmp_path)
    assert "train" in made.graph.metadata["assumptions"][0]


def _set(*path, **values):
    def change(tables):
        for step in path:
            tables = tables[step]
        tables.update(values)

    return change


TENSOR, OPERATOR = ("subgraphs", 0, "tensors", 1), ("subgraphs", 0, "operators", 0)
DAMAGED = {
    "a shape that its numbers do not fit": (
        _set(*TENSOR, shape=[5, 5]),
        ModelFileError,
        "do not fit its shape",
    ),
    "a type of other numbers": (_set(*TENSOR, type=5), UnsupportedModelError, "string"),
    "a buffer that is not there": (_set(*TENSOR, buffer=99), ModelFileError, "not there"),
    "a sparse tensor": (_set(*TENSOR, sparsity={}), UnsupportedModelError, "sparse"),
    "a negative size": (_set(*TENSOR, shape=[-5, -4]), ModelFileError, "impossible shape"),
    "many axes": (_set(*TENSOR, shape=[1] * 20), ModelFileError, "impossible shape"),
    "an operator code that is not there": (_set(*OPERATOR, opcode=7), ModelFileError, "not there"),
    "a tensor that is not there": (_set(*OPERATOR, inputs=[0, 1, 77]), ModelFileError, "not there"),
    "a result that is left out": (_set(*OPERATOR, outputs=[-1]), ModelFileError, "leaves a result out"),
    "options of another": (_set(*OPERATOR, options_type=11), ModelFileError, "options of another"),
    "a result that is read before": (_set(*OPERATOR, inputs=[3, 1, 2]), ModelFileError, "before it makes"),
    "a constant that is made": (_set(*OPERATOR, outputs=[1]), ModelFileError, "a second time"),
    "another version": (_set(version=4), UnsupportedModelError, "version of TFLite"),
    "a custom operator": (
        _set("operator_codes", 0, old_code=32, code=32, custom="Mine"),
        UnsupportedModelError,
        "'Mine' is not supported",
    ),
    "an operator rnnrt does not have": (
        _set("operator_codes", 0, old_code=56, code=56),
        UnsupportedModelError,
        "'ARG_MAX'",
    ),
    "an operator of the future": (
        _set("operator_codes", 0, old_code=127, code=999),
        UnsupportedModelError,
        "'number 999'",
    ),
    "a DEQUANTIZE of nothing": (
        lambda m: (
            m["operator_codes"].append({"old_code": 6, "code": 6}),
            m["subgraphs"][0]["operators"].insert(0, {"opcode": 1, "inputs": [-1], "outputs": [3]}),
        ),
        ModelFileError,
        "one input and one output",
    ),
    "no graphs": (_set(subgraphs=[]), ModelFileError, "no graph"),
    "numbers behind the end": (_set("buffers", 1, offset=1 << 33), UnsupportedModelError, "2 GB"),
    "a shape the operator does not make": (
        _set("subgraphs", 0, "tensors", 3, shape=[1, 1, 7], signature=[1, -1, 7]),
        ModelFileError,
        "another shape than the file says",
    ),
    "a type the operator does not make": (
        _set("subgraphs", 0, "tensors", 3, type=2),
        UnsupportedModelError,
        "numbers that are not supported",
    ),
    "an input of integers with a scale": (
        _set("subgraphs", 0, "tensors", 0, type=9),
        UnsupportedModelError,
        "holds a type of number",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_said_by_name(name, tmp_path):
    change, kind, text = DAMAGED[name]
    with pytest.raises(kind, match=text):
        imported(changed(PLAIN, change), tmp_path)


def test_a_field_that_is_not_known_is_refused(tmp_path):
    """A table with one more field than the schema has."""
    from rnnrt.importers.containers.flatbuffers import fields
    from rnnrt.importers.tflite.schema import TABLES

    more = TABLES["SubGraph"] | fields(more="9 i32")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("tflite_bytes")._KINDS, "SubGraph", more)
        content = changed(PLAIN, _set("subgraphs", 0, more=5))
    with pytest.raises(UnsupportedModelError, match="a graph holds a field that is not known.*field 9"):
        imported(content, tmp_path)


# ---- loops -------------------------------------------------------------------------------------------------


def counting(more=1, first=0, limit=6, frames=6):
    """A loop that adds up the frames of x, and fills a sequence with the sums."""
    shapes = {"i": (), "j": (), "acc": (frames, 1, 4), "h": (1, 4), "x": (6, 1, 4)}
    order = ("i", "acc", "h", "x")
    body = graph(
        [
            op("GATHER", "x i", "f", axis=0),
            op("ADD", "h f", "h2"),
            op("ADD", "i one", "i2"),
            op("RESHAPE", "i l", "i3"),
            op("CONCATENATION", "i3 minus", "n", axis=0),
            op("SLICE", "acc zero n", "before"),
            op("RESHAPE", "i2 l", "i4"),
            op("CONCATENATION", "i4 none", "m", axis=0),
            op("SLICE", "acc m all", "behind"),
            op("RESHAPE", "h2 s", "one_frame"),
            op("CONCATENATION", "before one_frame behind", "acc2", axis=0),
        ],
        {n: shapes[n] for n in order},
        "i2 acc2 h2 x",
        {
            "f": (1, 4),
            "h2": (1, 4),
            "i3": (1,),
            "i4": (1,),
            "n": (3,),
            "m": (3,),
            "before": (None, None, None),
            "behind": (None, 1, 4),
            "one_frame": (1, 1, 4),
            "acc2": shapes["acc"],
        },
        {
            "one": np.int32(more),
            "l": whole(1),
            "minus": whole(-1, -1),
            "none": whole(0, 0),
            "zero": whole(0, 0, 0),
            "all": whole(-1, -1, -1),
            "s": whole(1, 1, 4),
        },
        types={n: "int32" for n in ("i", "i2", "i3", "i4", "n", "m")},
    )
    ends = graph(
        [op("LESS", "i limit", "go")],
        {n: shapes[n] for n in order},
        "go",
        {"go": ()},
        {"limit": np.int32(limit)},
        types={"i": "int32", "go": "bool"},
    )
    main = graph(
        [
            op("TRANSPOSE", "input p", "x"),
            op("WHILE", "i acc h x", "i9 acc9 h9 x9", cond=1, body=2),
            op("TRANSPOSE", "acc9 p", "y"),
        ],
        {"input": (1, 6, 4)},
        "y h9",
        {"x": (6, 1, 4), "acc9": shapes["acc"], "h9": (1, 4), "x9": (6, 1, 4), "y": (1, frames, 4)},
        {
            "i": np.int32(first),
            "acc": np.zeros(shapes["acc"], np.float32),
            "h": np.zeros((1, 4), np.float32),
            "p": whole(1, 0, 2),
        },
        types={"i9": "int32"},
    )
    return model(main, ends, body)


def test_a_loop_over_frames(tmp_path):
    made, (x,) = imported(counting(), tmp_path), sample("lstm")
    y, last = made(x)
    np.testing.assert_allclose(y, np.cumsum(x, 1), atol=1e-5)
    np.testing.assert_allclose(last, np.cumsum(x, 1)[:, -1], atol=1e-5)
    assert made.inputs["input"] == (None, 6, 4)


@pytest.mark.parametrize(
    "options, text",
    [
        ({"more": 2}, "."),
        ({"first": 1}, "count from 0"),
        ({"frames": 7}, "must fill the sequences"),
        ({"frames": 5}, "must fill the sequences"),
    ],
)
def test_a_loop_of_another_kind_is_refused(options, text, tmp_path):
    with pytest.raises(rnnrt.RnnrtError, match=text):
        imported(counting(**options), tmp_path)


def test_a_loop_that_runs_itself_is_refused(tmp_path):
    def itself(tables):
        body = tables["subgraphs"][2]
        body["operators"] = tables["subgraphs"][0]["operators"]

    with pytest.raises(rnnrt.RnnrtError):
        imported(changed(counting(), itself), tmp_path)


# ---- states ------------------------------------------------------------------------------------------------


def cell():
    """h' = tanh(W x + U h), the state an input and an output of a call."""
    return model(
        graph(
            [
                op("FULLY_CONNECTED", "x w b", "a"),
                op("FULLY_CONNECTED", "h r -", "c"),
                op("ADD", "a c", "s"),
                op("TANH", "s", "hn"),
                op("FULLY_CONNECTED", "hn o -", "y"),
            ],
            {"x": (1, 4), "h": (1, 3)},
            "y hn",
            {"a": (1, 3), "c": (1, 3), "s": (1, 3), "hn": (1, 3), "y": (1, 2)},
            {"w": draw(3, 4), "b": draw(3, seed=1), "r": draw(3, 3, seed=2), "o": draw(2, 3, seed=3)},
        )
    )


def test_a_state_that_goes_in_and_out_becomes_that_of_streams(tmp_path):
    calls, carried = imported(cell(), tmp_path), imported(cell(), tmp_path, state={"h": "hn"})
    assert calls.graph.metadata["proposed_state"] == {"h": "hn"}
    x, h, wanted = draw(5, 1, 4, seed=9), np.zeros((1, 3), np.float32), []
    for frame in x:
        y, h = calls(frame, h)
        wanted.append(y[0])
    np.testing.assert_allclose(carried(x[:, 0]), wanted, atol=1e-6)
    stream = carried.stream()
    assert (np.stack([stream.step(frame[0]) for frame in x]) == carried(x[:, 0])).all()


def test_the_command_reads_tflite_files(tmp_path, capsys):
    path = tmp_path / "m.tflite"
    path.write_bytes(cell())
    code, out, _ = run(capsys, "info", path)
    assert code == 0 and "h" in out and "hn" in out
    code, _, _ = run(capsys, "convert", path, "-o", tmp_path / "m.rnnrt", "--state", "h=hn")
    assert code == 0 and list(rnnrt.load(tmp_path / "m.rnnrt").inputs) == ["x"]
    code, _, err = run(capsys, "info", path, "--data", "x")
    assert code == 2 and "--data belongs to .onnx files" in err


def test_variables_that_do_not_begin_at_zero_are_refused(tmp_path):
    def ones(tables):
        for buffer in tables["buffers"]:
            if len(buffer.get("data", b"")) == 32:
                buffer["data"] = np.ones(8, np.float32).tobytes()

    with pytest.raises(UnsupportedModelError, match="do not begin at zero"):
        imported(changed(FILES["kept_frames"], ones), tmp_path)


def test_an_output_that_depends_on_no_input_is_refused(tmp_path):
    def constant(tables):
        tables["subgraphs"][0]["outputs"] = [1]

    with pytest.raises(rnnrt.RnnrtError):
        imported(changed(PLAIN, constant), tmp_path)
    assert one("RELU")[4:8] == b"TFL3"
