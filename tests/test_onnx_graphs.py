"""The ONNX models that the peers benchmark runs are the networks rnnrt runs."""

import numpy as np
import pytest
from cases import CASES
from needs import need

from rnnrt import UnsupportedModelError, reference

need("onnx")
onnxruntime = need("onnxruntime")
import onnx_graphs

CASE = {c.name: c for c in CASES}


def session(written):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(written.model, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("batch", (1, 3))
@pytest.mark.parametrize(
    "name",
    (
        "lstm_20",
        "gru_20",
        "gru_before_20",
        "rnn_20",
        "gru_no_bias",
        "textbook_conv_gru",
        "conv_dilated",
        "conv_grouped",
        "wavenet",
        "residual",
        "conv_even_same",
    ),
)
def test_a_whole_sequence_means_what_the_reference_says(name, batch):
    graph, x = CASE[name].graph(), CASE[name].sample(batch, 40)
    written = onnx_graphs.whole(graph, batch, 40)
    y = written.restored(session(written).run(None, {"x": written.arranged(x)})[0])
    assert np.abs(y - reference.run(graph, {"x": x})[0]["y"]).max() <= 1e-5


@pytest.mark.parametrize("name", ("lstm_20", "gru_20", "rnn_20", "textbook_lstm"))
def test_steps_that_carry_the_state_mean_what_the_whole_sequence_means(name):
    graph, x = CASE[name].graph(), CASE[name].sample(1, 30)
    written = onnx_graphs.step(graph)
    run, states, answers = (
        session(written).run,
        {n: np.zeros(s, np.float32) for n, s in written.states.items()},
        [],
    )
    for frame in x[0]:
        made = dict(
            zip(
                written.outputs,
                run(
                    list(written.outputs),
                    {"x": frame.reshape(1, 1, -1)} | {f"{n}_in": a for n, a in states.items()},
                ),
            )
        )
        states = {n: made[f"{n}_out"] for n in states}
        answers.append(made[written.output].ravel())
    assert np.abs(np.array(answers) - reference.run(graph, {"x": x})[0]["y"][0]).max() <= 1e-5


@pytest.mark.parametrize(
    "name", ("layer_norm", "lstm_norm", "lstm_projection", "gru_hard_sigmoid", "gru_reverse", "leaky_dense")
)
def test_what_is_not_written_is_refused_by_name(name):
    graph = CASE[name].graph()
    with pytest.raises(UnsupportedModelError, match="not written as ONNX|plain cell"):
        onnx_graphs.whole(graph, 1, 20)
