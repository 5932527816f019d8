"""importers/torch/layers.py and the reference against recorded PyTorch answers (tools/record_torch.py);
needs no PyTorch.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from rnnrt import reference
from rnnrt.graph import GraphBuilder
from rnnrt.importers.torch import layers

TOLERANCE = 1e-5
SCALE = 64
FRAMES = (0, 1, 24, 48, 49)
RECURRENT = ("RNN", "LSTM", "GRU")
SIZES = ("input_size", "hidden_size", "num_layers", "bias", "bidirectional", "batch_first", "proj_size")


def load():
    """[(case, tensors, input, initial states, answers)] of the recorded file."""
    with np.load(Path(__file__).parents[1] / "data/torch_grid.npz", allow_pickle=False) as file:
        cases, numbers, answers = (
            json.loads(file["cases"].tobytes()),
            file["numbers"] / SCALE,
            file["answers"],
        )
    loaded = []
    for case in cases:

        def take(shape):
            nonlocal numbers
            taken, numbers = numbers[: int(np.prod(shape))].reshape(shape), numbers[int(np.prod(shape)) :]
            return taken

        tensors = {name: take(shape) for name, shape in case["tensors"].items()}
        batch, time, options = case["batch"], case["time"], case["options"]
        width = options["input_size"] if case["kind"] in RECURRENT else case["features"]
        x = take((batch, time) if width is None else (batch, time, width))
        states = [take(shape) for shape in case["answers"][1:]] if case.get("states") else []
        expected = []
        for shape in case["answers"]:
            expected.append(answers[: int(np.prod(shape))].reshape(shape))
            answers = answers[int(np.prod(shape)) :]
        loaded.append((case, tensors, x * SCALE if case["kind"] == "Embedding" else x, states, expected))
    assert not len(numbers) and not len(answers)
    return loaded


GRID = load()


def identify(case):
    shown = [f"{k}={v}" for k, v in case["options"].items() if k != "batch_first"]
    return f"{case['kind']}-{case['time']}x{case['batch']}-" + ",".join(shown)


def close(made, expected):
    assert made.shape == expected.shape
    assert np.abs(made - expected).max() <= TOLERANCE * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize(
    "case,tensors,x,states,expected",
    [g for g in GRID if g[0]["kind"] in RECURRENT],
    ids=[identify(g[0]) for g in GRID if g[0]["kind"] in RECURRENT],
)
def test_a_recurrent_stack_answers_as_torch(case, tensors, x, states, expected):
    builder = GraphBuilder()
    options = {o: v for o, v in case["options"].items() if o not in SIZES}
    made = layers.add_rnn(
        builder, "rnn", builder.input("x", x.shape[2:]), tensors, kind=case["kind"], **options
    )
    builder.output("y", made.sequence)
    initial = {
        f"{layer}/{word}": part[k] for word, part in zip("hc", states) for k, layer in enumerate(made.layers)
    }
    outputs, finals = reference.run(builder.graph(), {"x": x}, initial)
    y = outputs["y"]
    close(y[:, [t for t in FRAMES if t < case["time"]]] if case["time"] > 2 else y, expected[0])
    for word, final in zip("hc", expected[1:]):
        close(np.stack([finals[f"{layer}/{word}"] for layer in made.layers]), final)


@pytest.mark.parametrize(
    "case,tensors,x,states,expected",
    [g for g in GRID if g[0]["kind"] not in RECURRENT],
    ids=[identify(g[0]) for g in GRID if g[0]["kind"] not in RECURRENT],
)
def test_a_layer_answers_as_torch(case, tensors, x, states, expected):
    builder, kind, options = GraphBuilder(), case["kind"], dict(case["options"])
    given = builder.input("x", x.shape[2:], ids=kind == "Embedding")
    own = (
        "in_channels",
        "out_channels",
        "kernel_size",
        "bias",
        "num_features",
        "affine",
        "elementwise_affine",
        "in_features",
        "out_features",
        "num_embeddings",
        "embedding_dim",
    )
    kept = {o: v for o, v in options.items() if o not in own}
    match kind:
        case "Conv1d":
            made = layers.add_conv1d(builder, "y", given, tensors, **kept)
        case "BatchNorm1d":
            made = layers.add_batch_norm(builder, "y", given, tensors, **kept)
        case "LayerNorm":
            made = layers.add_layer_norm(builder, "y", given, tensors, **kept)
        case "Linear":
            made = layers.add_linear(builder, "y", given, tensors)
        case "Embedding":
            made = layers.add_embedding(builder, "y", given, tensors, **kept)
        case "MaxPool1d":
            made = layers.add_max_pool(builder, "y", given, **options)
        case "AvgPool1d":
            made = layers.add_average_pool(builder, "y", given, **options)
        case "AdaptiveAvgPool1d":
            made = layers.add_global_pool(builder, "y", given, kind="average", **options)
        case "AdaptiveMaxPool1d":
            made = layers.add_global_pool(builder, "y", given, kind="max", **options)
        case _:
            made = layers.add_activation(builder, "y", given, kind, **options)
    builder.output("y", made)
    y = reference.run(builder.graph(), {"x": x})[0]["y"]
    close(y[:, None] if kind.startswith("Adaptive") else y, expected[0])


def test_the_grid_covers_what_it_claims():
    stacks = [g for g in GRID if g[0]["kind"] in RECURRENT]
    seen = {
        (
            c["kind"],
            c["options"].get("nonlinearity"),
            "proj_size" in c["options"],
            c["options"]["bias"],
            c["options"]["num_layers"],
            c["options"]["bidirectional"],
            c["time"],
        )
        for c, *_ in stacks
    }
    assert len(seen) == 5 * 2 * 2 * 2 * 3
    assert {c["batch"] for c, *_ in stacks} == {1, 3} and {
        c["options"]["input_size"] for c, *_ in stacks
    } == {1, 5, 20, 33}
    assert sum(bool(c["states"]) for c, *_ in stacks) > 20
    assert {c["kind"] for c, *_ in GRID} >= {
        "Conv1d",
        "BatchNorm1d",
        "LayerNorm",
        "MaxPool1d",
        "AvgPool1d",
        "Linear",
        "Embedding",
        "GELU",
    }


def test_missing_and_unexpected_tensors_are_named():
    _, tensors, x, *_ = next(g for g in GRID if g[0]["kind"] == "LSTM" and g[0]["options"]["num_layers"] == 2)
    for name in tensors:
        builder = GraphBuilder()
        with pytest.raises(layers.ModelFileError, match=name):
            layers.add_rnn(
                builder,
                "rnn",
                builder.input("x", x.shape[2:]),
                {n: t for n, t in tensors.items() if n != name},
                kind="LSTM",
            )
    builder = GraphBuilder()
    with pytest.raises(layers.ModelFileError, match="weight_zz_l0"):
        layers.add_rnn(
            builder, "rnn", builder.input("x", x.shape[2:]), tensors | {"weight_zz_l0": x}, kind="LSTM"
        )
    with pytest.raises(layers.ShapeError, match="not GRU's"):
        layers.add_rnn(builder, "rnn", builder.layers[0].name, tensors, kind="GRU")
