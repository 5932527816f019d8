"""Records what PyTorch answers over a grid of layers and options: tests/data/torch_grid.npz, which the tests
read without PyTorch.

    python tools/record_torch.py [destination]

Weights, inputs and states are whole multiples of 1/64 below 2, kept as int8, so that the file is small and
exact; answers are float64 PyTorch, kept as float32. Layout: ``cases`` is JSON, one entry a case with the
shapes of its arrays; ``numbers`` (int8) holds the tensors, then the input, then the initial states of each
case in that order, ``answers`` (float32) its outputs, one after the other.
"""

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

SCALE = 64
FRAMES = (0, 1, 24, 48, 49)  # of a long sequence only these are kept
SIZES = ((1, 5), (5, 20), (20, 5), (33, 1), (5, 33), (20, 20), (1, 1))


def main(destination):
    torch.set_num_threads(1)
    random, cases, numbers, answers = np.random.RandomState(20240), [], [], []
    for case in [*recurrent_cases(), *plain_cases()]:
        record(case, random, numbers, answers)
        cases.append(case)
    arrays = {"cases": np.frombuffer(json.dumps(cases, separators=(",", ":")).encode(), np.uint8)}
    arrays |= {"numbers": np.concatenate(numbers), "answers": np.concatenate(answers).astype(np.float32)}
    np.savez_compressed(destination, **arrays)
    print(
        f"{destination}: {len(cases)} cases, {destination.stat().st_size:,} bytes, PyTorch "
        f"{torch.__version__}"
    )


def recurrent_cases():
    """Every kind x bias x layers x directions, each at several lengths, sizes, batches and states."""
    turns = itertools.cycle(range(210))
    kinds = (
        ("RNN", {"nonlinearity": "tanh"}),
        ("RNN", {"nonlinearity": "relu"}),
        ("LSTM", {}),
        ("LSTM", {"proj_size": 3}),
        ("GRU", {}),
    )
    for (kind, more), bias, layers, both in itertools.product(kinds, (True, False), (1, 2), (False, True)):
        for time in (1, 2, 50):
            turn = next(turns)
            size, units = SIZES[turn % len(SIZES)]
            options = {
                "num_layers": layers,
                "bias": bias,
                "bidirectional": both,
                "batch_first": turn % 2 == 0,
                **more,
            }
            options |= {"input_size": size, "hidden_size": max(units, 5) if "proj_size" in more else units}
            yield {
                "kind": kind,
                "options": options,
                "time": time,
                "batch": (1, 3)[turn % 3 > 0],
                "states": turn % 4 == 1,
            }


def plain_cases():
    for stride, padding, dilation, groups, taps in itertools.product(
        (1, 2, 3), (0, 2, "same"), (1, 2), (1, 3), (1, 4)
    ):
        if padding != "same" or stride == 1:
            options = {
                "in_channels": 6,
                "out_channels": 9,
                "kernel_size": taps,
                "stride": stride,
                "padding": padding,
                "dilation": dilation,
            }
            yield _plain("Conv1d", options | {"groups": groups, "bias": taps == 4}, 6, 13)
    yield _plain("Conv1d", {"in_channels": 33, "out_channels": 33, "kernel_size": 3, "groups": 33}, 33, 5)
    yield _plain("Conv1d", {"in_channels": 1, "out_channels": 5, "kernel_size": 2, "padding": "valid"}, 1, 2)
    for affine, size in itertools.product((True, False), (1, 5, 33)):
        yield _plain(
            "BatchNorm1d", {"num_features": size, "affine": affine, "eps": 1e-3 if affine else 1e-5}, size, 4
        )
        yield _plain("LayerNorm", {"normalized_shape": size, "elementwise_affine": affine}, size, 4)
        yield _plain("Linear", {"in_features": size, "out_features": 5, "bias": affine}, size, 3)
    yield _plain("LayerNorm", {"normalized_shape": 20, "bias": False, "eps": 0.01}, 20, 3)
    for size, stride, padding in ((2, None, 0), (3, 1, 1), (4, 3, 2), (1, 2, 0)):
        options = {"kernel_size": size, "padding": padding} | ({"stride": stride} if stride else {})
        yield _plain("MaxPool1d", options, 5, 11)
        yield _plain("AvgPool1d", options, 5, 11)
        yield _plain("AvgPool1d", options | {"count_include_pad": False}, 5, 11)
    yield _plain("AdaptiveAvgPool1d", {"output_size": 1}, 5, 7)
    yield _plain("AdaptiveMaxPool1d", {"output_size": 1}, 5, 7)
    yield _plain("Embedding", {"num_embeddings": 11, "embedding_dim": 5, "padding_idx": 2}, None, 9)
    for kind, options in (
        ("ReLU", {}),
        ("ReLU6", {}),
        ("LeakyReLU", {}),
        ("LeakyReLU", {"negative_slope": 0.3}),
        ("Tanh", {}),
        ("Sigmoid", {}),
        ("Hardtanh", {}),
        ("Hardtanh", {"min_val": 0.0, "max_val": 1.5}),
        ("Hardsigmoid", {}),
        ("Hardswish", {}),
        ("ELU", {}),
        ("ELU", {"alpha": 0.5}),
        ("SELU", {}),
        ("SiLU", {}),
        ("Softsign", {}),
        ("GELU", {"approximate": "tanh"}),
    ):
        yield _plain(kind, options, 20, 6)


def _plain(kind, options, features, time):
    return {"kind": kind, "options": options, "time": time, "batch": 2, "features": features}


def record(case, random, numbers, answers):
    """Run one case in float64; its arrays are appended, their shapes noted in ``case``."""

    def draw(shape, low=-100, high=101):
        drawn = random.randint(low, high, shape).astype(np.int8)
        numbers.append(drawn.reshape(-1))
        return torch.from_numpy(drawn.astype(np.float64) / SCALE)

    kind, options, batch, time = case["kind"], case["options"], case["batch"], case["time"]
    module = getattr(nn, kind)(**options).double().eval()
    recurrent = kind in ("RNN", "LSTM", "GRU")
    spread = 100 // max(
        1, int(options.get("hidden_size", 1) ** 0.5)
    )  # keeps gates away from saturation, and a relu RNN from growing
    case["tensors"] = {
        name: list(t.shape) for name, t in module.state_dict().items() if t.is_floating_point()
    }
    for name, shape in case["tensors"].items():
        bounds = (
            (20, 121)
            if name == "running_var"
            else (-spread // 2, spread // 2 + 1)
            if recurrent
            else (-100, 101)
        )
        module.state_dict()[name].copy_(draw(shape, *bounds))
    with torch.no_grad():
        if recurrent:
            directions = options["num_layers"] * (2 if options["bidirectional"] else 1)
            x = draw((batch, time, options["input_size"]))
            widths = [options.get("proj_size") or options["hidden_size"]] + [options["hidden_size"]] * (
                kind == "LSTM"
            )
            states = [draw((directions, batch, width)) for width in widths] if case["states"] else None
            given = states[0] if states and kind != "LSTM" else tuple(states) if states else None
            y, finals = module(x if options["batch_first"] else x.transpose(0, 1), given)
            y = y if options["batch_first"] else y.transpose(0, 1)
            made = [
                y[:, [t for t in FRAMES if t < time]] if time > 2 else y,
                *(finals if kind == "LSTM" else [finals]),
            ]
        elif kind == "Embedding":
            x = draw((batch, time), 0, options["num_embeddings"]) * SCALE
            made = [module(x.long())]
        else:
            x = draw((batch, time, case["features"]))
            channels_first = kind.endswith("1d")
            y = module(x.transpose(1, 2) if channels_first else x)
            made = [y.transpose(1, 2) if channels_first else y]
    case["answers"] = [list(y.shape) for y in made]
    answers.extend(y.numpy().reshape(-1) for y in made)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "tests/data/torch_grid.npz")
