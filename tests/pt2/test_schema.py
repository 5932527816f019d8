"""What the JSON of an exported program may say: used, known to say nothing, or refused by name."""

import pytest
from onnx_exports import sample
from pt2_records import argument, changed, nodes_of, recorded

import rnnrt
from rnnrt import ModelFileError, UnsupportedModelError


def read(tmp_path, network, change=None, members=None, left_out=(), **options):
    path = tmp_path / "m.pt2"
    path.write_bytes(changed(recorded()[network], change, members, left_out))
    return rnnrt.from_pt2(path, **options)


def version(major, minor):
    def change(program):
        program["schema_version"] = {"major": major, "minor": minor}

    return change


def test_schema_versions(tmp_path):
    for minor in (0, 14, 20, 31):
        read(tmp_path, "lstm.open", version(8, minor))
    for major in (5, 7, 9):
        with pytest.raises(UnsupportedModelError, match=rf"schema version.*8.0 to 8.20.*{major}.1"):
            read(tmp_path, "lstm.open", version(major, 1))


def test_a_field_that_is_not_known_says_nothing_or_is_refused(tmp_path):
    def add(place, value):
        def change(program):
            graph = program["graph_module"]["graph"]
            owner = {"program": program, "graph": graph, "node": graph["nodes"][-1]}[place]
            owner["new_in_8_99"] = value

        return change

    for place in ("program", "graph", "node"):
        read(tmp_path, "lstm.open", add(place, None))
        with pytest.raises(UnsupportedModelError, match="'new_in_8_99', which is not known"):
            read(tmp_path, "lstm.open", add(place, {"scale": 2}))


def test_decomposed_programs_are_refused(tmp_path):
    def change(program):
        program["verifiers"] = ["ATEN"]

    with pytest.raises(UnsupportedModelError, match="unrolled.*before run_decompositions"):
        read(tmp_path, "lstm.open", change)


def test_a_state_that_the_module_keeps_is_refused(tmp_path):
    def change(program):
        signature = program["graph_module"]["signature"]
        own = signature["output_specs"][0]["user_output"]["arg"]
        signature["output_specs"][0] = {"buffer_mutation": {"arg": own["as_tensor"], "buffer_name": "hidden"}}

    with pytest.raises(UnsupportedModelError, match="changes 'hidden', which it keeps.*state="):
        read(tmp_path, "lstm.open", change)


def test_other_archives(tmp_path):
    with pytest.raises(UnsupportedModelError, match="several programs.*model, other"):
        read(tmp_path, "lstm.open", None, {"archive/models/other.json": b"{}"})
    with pytest.raises(UnsupportedModelError, match="AOTInductor.*torch.export.save"):
        members = {"archive/data/aotinductor/model/x.so": b""}
        read(tmp_path, "lstm.open", None, members, left_out=("models/model.json",))
    with pytest.raises(UnsupportedModelError, match="another byte order.*big"):
        read(tmp_path, "lstm.open", None, {"byteorder": b"big"})
    with pytest.raises(
        UnsupportedModelError, match="version of the archive is not known.*found b'pt2', b'7'"
    ):
        read(tmp_path, "lstm.open", None, {"archive_version": b"7"})
    with pytest.raises(ModelFileError, match="lacks .*model_weights_config.json"):
        read(tmp_path, "lstm.open", left_out=("model_weights_config.json",))


def test_arguments_are_bound_by_their_names(tmp_path):
    """The order in which a file has them says nothing."""

    def change(program):
        for node in program["graph_module"]["graph"]["nodes"]:
            node["inputs"].reverse()

    (x,) = sample("lstm", 2, 9)
    assert (read(tmp_path, "lstm.open", change)(x) == read(tmp_path, "lstm.open")(x)).all()


def test_an_argument_that_is_left_out_has_its_default(tmp_path):
    def change(program):
        (node,) = nodes_of(program, "log_softmax")
        node["inputs"].append({"name": "dtype", "arg": {"as_scalar_type": 7}, "kind": 2})

    (x,) = sample("norm_gru", 2, 9)
    assert (read(tmp_path, "norm_gru.open", change)(x) == read(tmp_path, "norm_gru.open")(x)).all()

    def other(program):
        change(program)
        argument(nodes_of(program, "log_softmax")[0], "dtype")["as_scalar_type"] = 8

    with pytest.raises(UnsupportedModelError, match="log_softmax with dtype=torch.float64 is not supported"):
        read(tmp_path, "norm_gru.open", other)


def test_what_a_recurrent_operator_says_is_used(tmp_path):
    def say(name, kind, value):
        def change(program):
            argument(nodes_of(program, "lstm")[0], name)[kind] = value

        return change

    with pytest.raises(UnsupportedModelError, match="zeros of the initial state do not follow the input's"):
        read(tmp_path, "lstm.fixed", say("batch_first", "as_bool", False))  # the batch is then the other axis
    with pytest.raises(UnsupportedModelError, match="number of weights does not fit"):
        read(tmp_path, "lstm.fixed", say("bidirectional", "as_bool", True))
    with pytest.raises(UnsupportedModelError, match="number of weights does not fit"):
        read(tmp_path, "lstm.fixed", say("num_layers", "as_int", 3))
    with pytest.raises(UnsupportedModelError, match="number of weights does not fit"):
        read(tmp_path, "lstm.fixed", say("has_biases", "as_bool", False))

    def trained(program):
        say("train", "as_bool", True)(program)
        argument(nodes_of(program, "lstm")[0], "dropout")["as_float"] = 0.5

    with pytest.raises(UnsupportedModelError, match="dropout between the layers is active"):
        read(tmp_path, "lstm.fixed", trained)


def test_a_parameter_that_is_not_in_the_file(tmp_path):
    def change(program):
        program["graph_module"]["signature"]["input_specs"][0]["parameter"]["parameter_name"] = "rnn.other"

    with pytest.raises(ModelFileError, match="lacks the tensor 'rnn.other'"):
        read(tmp_path, "lstm.open", change)
