"""docs/coverage.md says what the importers' tables say, and so do the ticks of the README."""

import json
import re
from pathlib import Path

import coverage_tables

#: A row of the README's table -> for each of its columns the names that a tick there stands for; "" for none.
TICKS = {
    "LSTM, GRU, RNN": (
        *("LSTM GRU SimpleRNN", "LSTM GRU RNN", "LSTM GRU RNN", "lstm gru rnn_tanh", "lstm gru rnn_tanh"),
        "UNIDIRECTIONAL_SEQUENCE_LSTM WHILE UNIDIRECTIONAL_SEQUENCE_RNN",
    ),
    "loops over frames, cells of your own": (
        *("RNN", "GRUCell LSTMCell", "Loop Scan", "gru_cell lstm_cell", "gru_cell lstm_cell", "WHILE"),
    ),
    "convolution over time, transposed too": (
        *("Conv1D Conv1DTranspose", "Conv1d ConvTranspose1d", "Conv ConvTranspose"),
        *("conv1d conv_transpose1d", "conv1d conv_transpose1d", "CONV_2D TRANSPOSE_CONV"),
    ),
    "2-D convolution in front of a sequence": ("Conv2D", "Conv2d", "Conv", "conv2d", "conv2d", "CONV_2D"),
    "pooling, reductions over time": (
        *("MaxPooling1D GlobalAveragePooling1D", "MaxPool1d mean", "MaxPool ReduceMean"),
        *("max_pool1d mean", "max_pool1d mean", "MAX_POOL_2D MEAN"),
    ),
    "dense, embedding": (
        *("Dense Embedding", "Linear Embedding", "Gemm Gather", "linear embedding", "linear embedding"),
        "FULLY_CONNECTED EMBEDDING_LOOKUP",
    ),
    "batch and layer normalisation": (
        *("BatchNormalization LayerNormalization", "BatchNorm1d LayerNorm"),
        *("BatchNormalization LayerNormalization", "batch_norm layer_norm", "batch_norm layer_norm"),
        "MUL ADD MEAN RSQRT",
    ),
    "masks or packed rows": ("Masking", "pack pad", "LSTM", "", "pack_padded_sequence", "WHILE NOT_EQUAL"),
    "state that goes in and out with a call": ("", "", "LSTM", "lstm", "lstm", "READ_VARIABLE"),
}
SECTIONS = ("Keras", "PyTorch", "ONNX", "torch.export", "TorchScript", "TFLite")


def test_the_page_is_that_of_the_tables():
    assert coverage_tables.PAGE.read_text() == coverage_tables.page(), "run: python tools/coverage_tables.py"


def test_every_refusal_of_the_option_grid_is_an_option_of_the_page():
    counts = json.loads(coverage_tables.GRID.read_text())
    found = {coverage_tables.option_of(reason) for source in counts.values() for reason in source["refused"]}
    assert found == set(coverage_tables.REFUSED)
    assert all(advice.endswith(".") for _, advice in coverage_tables.REFUSED.values())
    built = sum(source["networks"] for source in counts.values())
    refused = sum(sum(source["refused"].values()) for source in counts.values())
    assert built >= 5000 and refused <= 0.02 * built
    assert all(source["masked"] >= 46 for name, source in counts.items() if name.startswith("Keras"))
    assert sum(name.startswith("Keras 3") for name in counts) > 3 and any("2.15" in name for name in counts)


def test_every_section_names_something():
    for title, parts in coverage_tables.sections():
        assert all(len(set(names)) for _, names in parts), title
    page = coverage_tables.page()
    assert "`ReverseSequence`" in page and "`UNIDIRECTIONAL_SEQUENCE_LSTM`" in page and "`TopK`" not in page


def test_a_tick_of_the_readme_is_a_name_that_is_read():
    names = {
        title: set().union(*(set(n) for what, n in parts if "Refused" not in what))
        for title, parts in coverage_tables.sections()
    }
    read = [set().union(*(n for title, n in names.items() if title.startswith(s))) for s in SECTIONS]
    read[SECTIONS.index("TorchScript")] |= read[SECTIONS.index("torch.export")]
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    rows = re.findall(r"^\| ([^|]+) \|((?: ✓? ?\|){6})$", readme, re.MULTILINE)
    assert [row for row, _ in rows] == list(TICKS)
    for row, ticks in rows:
        for column, tick, wanted, there in zip(SECTIONS, ticks.split("|"), TICKS[row], read):
            assert bool(tick.strip()) == bool(wanted), f"{row}, {column}"
            assert set(wanted.split()) <= there, f"{row}, {column}: {set(wanted.split()) - there} is not read"
