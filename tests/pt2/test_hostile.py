"""torch.export archives from a stranger: only rnnrt's own errors, in little time and memory."""

import json
import random
import resource

import pytest
from mutants import Tally, value_changed
from pt2_records import argument, changed, nodes_of, program_of, recorded

import rnnrt
from rnnrt import ModelFileError, RnnrtError, UnsupportedModelError
from rnnrt.importers.pt2 import reader


def refused(content, tmp_path, kind=RnnrtError, match="."):
    path = tmp_path / "m.pt2"
    path.write_bytes(content)
    with pytest.raises(kind, match=match) as error:
        reader.read(path)
    assert len(str(error.value)) < 2000 and str(error.value).isprintable()
    return error.value


def test_an_archive_cut_anywhere(tmp_path):
    content, path = recorded()["cells.fixed"], tmp_path / "m.pt2"
    for end in range(0, len(content), 13):
        path.write_bytes(content[:end])
        with pytest.raises(RnnrtError):
            reader.read(path)


def test_mutants_are_read_or_refused(tmp_path):
    draw, path, tally = random.Random(2), tmp_path / "m.pt2", Tally(20)  # a hang would be minutes
    seeds = [recorded()[n] for n in ("gru.open", "tcn.fixed", "cells.open", "lstm_states.fixed")]
    for k in range(200):
        path.write_bytes(changed(seeds[k % len(seeds)], lambda program: value_changed(program, draw)))
        tally.take(lambda: reader.read(path))
    assert not tally.faults and 20 < tally.ends["read"] < 200


def _many(program):
    graph = program["graph_module"]["graph"]
    graph["nodes"] += [{}] * 70_000


def _chain(program):
    """Thousands of copies of an input on the way to where it is a state."""
    graph = program["graph_module"]["graph"]
    (lstm,) = nodes_of(program, "lstm")
    name = argument(lstm, "hx")["as_tensors"][0]["name"]
    copies = []
    for k in range(3_000):
        inputs = [{"name": "self", "arg": {"as_tensor": {"name": name}}, "kind": 1}]
        name = f"copy{k}"
        outputs = [{"as_tensor": {"name": name}}]
        copies.append(
            {"target": "torch.ops.aten.clone.default", "inputs": inputs, "outputs": outputs, "metadata": {}}
        )
    argument(lstm, "hx")["as_tensors"][0]["name"] = name
    graph["nodes"] = copies + graph["nodes"]


def _grown(program):
    """A weight laid beside itself again and again."""
    graph = program["graph_module"]["graph"]
    (linear,) = nodes_of(program, "linear")
    name, made = argument(linear, "weight")["as_tensor"]["name"], []
    for k in range(40):
        pair = [{"name": name}, {"name": name}]
        name = f"wide{k}"
        made.append(
            {
                "target": "torch.ops.aten.cat.default",
                "inputs": [{"name": "tensors", "arg": {"as_tensors": pair}, "kind": 1}],
                "outputs": [{"as_tensor": {"name": name}}],
                "metadata": {},
            }
        )
    argument(linear, "weight")["as_tensor"]["name"] = name
    graph["nodes"] = made + graph["nodes"]


def _nested(program):
    text = json.dumps(program)
    return ("[" * 200_000 + text).encode()


def _padded(program):
    for node in nodes_of(program, "pad"):
        argument(node, "pad")["as_ints"] = [1 << 40, 0]


def _of_input(sizes, name="x"):
    def change(program):
        program["graph_module"]["graph"]["tensor_values"][name]["sizes"] = sizes

    return change


HOSTILE = {
    "many calls": ("lstm.fixed", _many),
    "a long chain": ("lstm_states.fixed", _chain),
    "a constant that grows": ("lstm.fixed", _grown),
    "brackets": ("lstm.fixed", _nested),
    "padding": ("tcn.open", _padded),
    "a large input": ("lstm.fixed", _of_input([{"as_int": 2}, {"as_int": 7}, {"as_int": 1 << 40}])),
    "many layers": (
        "stacked_cells.fixed",
        _of_input([{"as_int": 1 << 62}, {"as_int": 2}, {"as_int": 8}], "h"),
    ),
    "many axes": ("lstm.fixed", _of_input([{"as_int": 2}] * 60)),
    "no sizes": ("lstm.fixed", _of_input(None)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_programs_that_ask_for_too_much(name, tmp_path):
    network, change = HOSTILE[name]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if name == "a long chain":  # as good as none
        path = tmp_path / "m.pt2"
        path.write_bytes(changed(recorded()[network], change))
        reader.read(path)
        return
    refused(changed(recorded()[network], change), tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # KiB


def _config(**entry):
    """The list of weights with the first of them changed."""

    def change(content):
        config = json.loads(content)
        first = next(iter(config["config"].values()))
        for name, value in entry.items():
            (first["tensor_meta"] if name in first["tensor_meta"] else first)[name] = value
        return json.dumps(config).encode()

    return change


WEIGHTS = {
    "past the end": ({"sizes": [{"as_int": 1 << 10}, {"as_int": 5}]}, "reaches past the end"),
    "offset": ({"storage_offset": {"as_int": 7}}, "reaches past the end"),
    "strides": ({"strides": [{"as_int": -1}, {"as_int": 1}]}, "sizes do not fit"),
    "rank": ({"strides": [{"as_int": 1}]}, "sizes do not fit"),
    "expression": ({"sizes": [{"as_expr": {"expr_str": "Symbol('s0')"}}, {"as_int": 5}]}, "wrong value"),
    "folder": ({"path_name": "../../lstm/byteorder"}, "file is missing"),
    "no file": ({"path_name": "weight_99"}, "file is missing"),
    "pickle": ({"use_pickle": True}, "pickled"),
    "sparse": ({"layout": 1}, "layout 1"),
    "complex": ({"dtype": 10}, "complex64"),
    "type": ({"dtype": 99}, "type 99"),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_tensors_that_are_not_what_they_say(name, tmp_path):
    import io
    import zipfile

    entry, message = WEIGHTS[name]
    content = recorded()["lstm.fixed"]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        member = next(n for n in archive.namelist() if n.endswith("model_weights_config.json"))
        config = _config(**entry)(archive.read(member))
    refused(changed(content, None, {member: config}), tmp_path, match=message)


def test_weights_that_share_a_file_are_views(tmp_path):
    """As cuDNN keeps an RNN's; here the second bias is the first one."""
    import io
    import zipfile

    content = recorded()["lstm.fixed"]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        member = next(n for n in archive.namelist() if n.endswith("model_weights_config.json"))
        config = json.loads(archive.read(member))
    own = config["config"]
    own["rnn.bias_hh_l0"] = own["rnn.bias_ih_l0"]
    path = tmp_path / "m.pt2"
    path.write_bytes(changed(content, None, {member: json.dumps(config).encode()}))
    layer, before = reader.read(path)["rnn.l0"], None
    path.write_bytes(content)
    before = reader.read(path)["rnn.l0"]
    assert not (layer.bias == before.bias).all() and (layer.weight == before.weight).all()


def test_the_expressions_of_sizes_are_not_run(tmp_path):
    def change(program):
        size = {"expr_str": "__import__('os').abort()", "hint": {"as_int": 2}}
        program["graph_module"]["graph"]["tensor_values"]["x"]["sizes"][0] = {"as_expr": size}

    path = tmp_path / "m.pt2"
    path.write_bytes(changed(recorded()["lstm.open"], change))
    with pytest.raises(RnnrtError):
        rnnrt.from_pt2(path)


def test_members_nobody_needs_are_not_read(tmp_path):
    members = {"lstm/data/sample_inputs/model.pt": b"\x80\x02cos\nabort\n)R.", "lstm/extra/x.so": b"\x7fELF"}
    path = tmp_path / "m.pt2"
    path.write_bytes(changed(recorded()["lstm.open"], None, members))
    rnnrt.from_pt2(path)


def test_messages_hold_no_terminal_codes(tmp_path):
    def change(program):
        nodes_of(program, "linear")[0]["target"] = "torch.ops.aten.\x1b[2J.default"

    error = refused(changed(recorded()["lstm.open"], change), tmp_path, ModelFileError)
    assert "\x1b" not in str(error)


def test_a_larger_file_than_allowed(tmp_path):
    path = tmp_path / "m.pt2"
    path.write_bytes(recorded()["lstm.open"])
    with pytest.raises(rnnrt.ResourceLimitError, match="max_bytes"):
        rnnrt.from_pt2(path, max_bytes=1000)


def test_the_program_is_the_recorded_one():
    """What the tests here change is there."""
    program = program_of(recorded()["lstm_states.fixed"])
    assert len(nodes_of(program, "lstm")) == 1 and argument(nodes_of(program, "lstm")[0], "hx")


def test_damage_is_not_called_unsupported(tmp_path):
    def change(program):
        argument(nodes_of(program, "linear")[0], "input")["as_tensor"]["name"] = "nothing"

    error = refused(changed(recorded()["lstm.open"], change), tmp_path, ModelFileError, "not made before it")
    assert not isinstance(error, UnsupportedModelError)
