"""The PyTorch part of the option grid: descriptions of small modules, a product and a seeded draw over kinds
and their options; the module that a description is, and the line of a spec that says the same.

    {"family": "LSTM", "frames": [None, 4], "axes": "btf", "ids": false,
     "chain": [["LSTM", {"input_size": 4, "hidden_size": 3}, "sequence"]]}

``chain``: modules one after the other, each with how it is called: "" as it is, "turned" with time and
features exchanged before and after, of a recurrent module what goes on ("sequence", "last", "hidden", "all").
"residual" adds what went in, where it fits.
"""

from __future__ import annotations

import itertools
import random

WIDTH = 4
ACTIVATIONS = (
    ("ReLU", {}),
    ("ReLU6", {}),
    ("LeakyReLU", {}),
    ("LeakyReLU", {"negative_slope": 0.3}),
    ("ELU", {}),
    ("ELU", {"alpha": 0.5}),
    ("CELU", {}),
    ("CELU", {"alpha": 2.0}),
    ("SELU", {}),
    ("SiLU", {}),
    ("GELU", {}),
    ("GELU", {"approximate": "tanh"}),
    ("Mish", {}),
    ("Softplus", {}),
    ("Softplus", {"beta": 2.0}),
    ("Softplus", {"beta": 0.5, "threshold": 3.0}),
    ("Softsign", {}),
    ("Softshrink", {}),
    ("Softshrink", {"lambd": 0.2}),
    ("Hardshrink", {}),
    ("Hardshrink", {"lambd": 0.2}),
    ("Tanhshrink", {}),
    ("Hardtanh", {}),
    ("Hardtanh", {"min_val": -0.3, "max_val": 2.0}),
    ("Hardsigmoid", {}),
    ("Hardswish", {}),
    ("Sigmoid", {}),
    ("LogSigmoid", {}),
    ("Tanh", {}),
    ("Threshold", {"threshold": 0.1, "value": 0.0}),
    ("Threshold", {"threshold": 0.1, "value": -2.0}),
    ("RReLU", {}),
    ("RReLU", {"lower": 0.1, "upper": 0.5}),
    ("Identity", {}),
    ("Dropout", {"p": 0.3}),
    ("AlphaDropout", {"p": 0.3}),
    ("FeatureAlphaDropout", {"p": 0.3}),
)


class Draw(random.Random):
    def few(self, **choices):
        return {name: self.choice(values) for name, values in choices.items() if self.random() < 0.4}


def case(family, *chain, frames=(None, WIDTH), axes="btf", ids=False):
    return {
        "family": family,
        "frames": list(frames),
        "axes": axes,
        "ids": ids,
        "chain": [list(c) for c in chain],
    }


def recurrent(draw, count=2):
    for (kind, more), layers, bias, both, part in itertools.product(
        (
            ("RNN", {"nonlinearity": "tanh"}),
            ("RNN", {"nonlinearity": "relu"}),
            ("LSTM", {}),
            ("LSTM", {"proj_size": 2}),
            ("GRU", {}),
        ),
        (1, 2, 3),
        (True, False),
        (True, False),
        ("sequence", "last", "hidden", "all", "started"),
    ):
        for _ in range(count):
            own = {"input_size": WIDTH, "hidden_size": draw.choice((3, 5)), "num_layers": layers}
            own |= {"bias": bias, "bidirectional": both, **more}
            own |= draw.few(dropout=(0.3,)) if layers > 1 else {}
            first = draw.random() < 0.7
            own |= {"batch_first": True} if first else {}
            yield case(kind, [kind, own, part], axes="btf" if first else "tbf")


def convolutions(draw, count=2):
    for taps, stride, padding, dilation, mode in itertools.product(
        (1, 2, 3, 5),
        (1, 2, 3),
        (0, 1, 2, "same", "valid"),
        (1, 2),
        ("zeros", "reflect", "replicate", "circular"),
    ):
        if (
            padding == "same"
            and stride > 1
            or mode != "zeros"
            and (padding in (0, "valid") or draw.random() < 0.4)
        ):
            continue
        for _ in range(count if mode == "zeros" else 1):
            own = {"in_channels": WIDTH, "kernel_size": taps, "stride": stride, "padding": padding}
            own |= {"dilation": dilation, "padding_mode": mode} | draw.few(groups=(2, 4), bias=(False,))
            own["out_channels"] = own.get("groups", 1) * draw.choice((1, 2))
            yield case("Conv1d", ["Conv1d", own, ""], frames=(None, WIDTH), axes="bft")
    for taps, stride, padding, dilation in itertools.product((1, 2, 3, 4), (1, 2, 3), (0, 1), (1, 2)):
        for k in range(count):
            own = {"in_channels": WIDTH, "kernel_size": taps, "stride": stride, "padding": padding}
            own |= {"dilation": dilation} | draw.few(groups=(2,), bias=(False,))
            own["out_channels"] = own.get("groups", 1) * draw.choice((1, 2))
            if k and max(stride, dilation) > 1:
                own["output_padding"] = 1
            yield case("ConvTranspose1d", ["ConvTranspose1d", own, ""], axes="bft")


def pools(draw, count=1):
    conv = ["Conv1d", {"in_channels": WIDTH, "out_channels": WIDTH, "kernel_size": 1}, ""]
    for size, stride, padding, ceil in itertools.product(
        (1, 2, 3, 4), (None, 1, 2, 3), (0, 1), (False, True)
    ):
        if padding > size // 2:
            continue
        own = {"kernel_size": size, "stride": stride, "padding": padding, "ceil_mode": ceil}
        yield case("AvgPool1d", conv, ["AvgPool1d", own, ""], axes="bft")
        yield case("AvgPool1d", conv, ["AvgPool1d", own | {"count_include_pad": False}, ""], axes="bft")
        for dilation in (1, 2):
            yield case("MaxPool1d", conv, ["MaxPool1d", own | {"dilation": dilation}, ""], axes="bft")
    for kind, size, length in itertools.product(
        ("AdaptiveAvgPool1d", "AdaptiveMaxPool1d"), (1, 2, 3, 5), (None, 15)
    ):
        yield case(kind, conv, [kind, {"output_size": size}, ""], axes="bft", frames=(length, WIDTH))
    for power, size in itertools.product((1.0, 2.0), (2, 3)):
        yield case("LPPool1d", conv, ["LPPool1d", {"norm_type": power, "kernel_size": size}, ""], axes="bft")
    for sides in (1, (2, 0), (0, 3), (1, 2), (-1, 0)):
        for kind in ("ZeroPad1d", "ReflectionPad1d", "ReplicationPad1d", "CircularPad1d"):
            if min(sides if isinstance(sides, tuple) else (sides,)) >= 0 or kind == "ZeroPad1d":
                yield case(kind, conv, [kind, {"padding": sides}, ""], axes="bft")
        for value in (0.0, 1.5):
            yield case(
                "ConstantPad1d", conv, ["ConstantPad1d", {"padding": sides, "value": value}, ""], axes="bft"
            )
    for scale, own in itertools.product(
        (2, 3), ({}, {"mode": "nearest"}, {"mode": "linear"}, {"mode": "linear", "align_corners": True})
    ):
        yield case("Upsample", conv, ["Upsample", {"scale_factor": scale, **own}, ""], axes="bft")
        yield case(
            "Upsample", conv, ["Upsample", {"scale_factor": scale, **own}, ""], axes="bft", frames=(12, WIDTH)
        )


def pointwise(draw, count=1):
    linear = ["Linear", {"in_features": WIDTH, "out_features": WIDTH}, ""]
    conv = ["Conv1d", {"in_channels": WIDTH, "out_channels": WIDTH, "kernel_size": 2}, ""]
    before = {"btf": linear, "bft": conv}
    for kind, own in ACTIVATIONS:
        yield case(kind, linear, [kind, own, ""])
        yield case(kind, conv, [kind, own, ""], axes="bft")
    for kind in ("Dropout1d", "FeatureAlphaDropout"):
        yield case(kind, conv, [kind, {"p": 0.3}, ""], axes="bft")
    for kind, (axes, dim) in itertools.product(
        ("Softmax", "LogSoftmax", "Softmin"),
        (("btf", -1), ("btf", 2), ("btf", 1), ("bft", 1), ("bft", 2), ("bft", -1)),
    ):
        yield case(kind, before[axes], [kind, {"dim": dim}, ""], axes=axes)
    for dim, axes in ((-1, "btf"), (2, "btf"), (1, "bft"), (-2, "bft")):
        yield case("GLU", before[axes], ["GLU", {"dim": dim}, ""], axes=axes)
    for number in (1, WIDTH):
        yield case("PReLU", conv, ["PReLU", {"num_parameters": number, "init": 0.1}, ""], axes="bft")
    yield case("PReLU", linear, ["PReLU", {}, ""])
    for eps, affine, track in itertools.product((1e-5, 0.1), (True, False), (True, False)):
        own = {"num_features": WIDTH, "eps": eps, "affine": affine, "track_running_stats": track}
        yield case("BatchNorm1d", ["BatchNorm1d", own, ""], axes="bft")
        yield case("InstanceNorm1d", ["InstanceNorm1d", own, ""], axes="bft")
        for momentum in (0.3, None):
            if track:
                yield case("BatchNorm1d", ["BatchNorm1d", own | {"momentum": momentum}, ""], axes="bft")
        for groups in (1, 2, 4):
            gn = {"num_groups": groups, "num_channels": WIDTH, "eps": eps, "affine": affine}
            if track:
                yield case("GroupNorm", ["GroupNorm", gn, ""], axes="bft")
        ln = {"normalized_shape": WIDTH, "eps": eps, "elementwise_affine": affine}
        yield case("LayerNorm", ["LayerNorm", ln | ({"bias": False} if not track else {}), ""])
        yield case("LayerNorm", ["LayerNorm", ln, "turned"], axes="bft")
        yield case("LayerNorm", ["LayerNorm", ln | {"normalized_shape": [9, WIDTH]}, ""], frames=(9, WIDTH))
        if track:
            yield case("RMSNorm", ["RMSNorm", ln, ""])
            yield case("RMSNorm", ["RMSNorm", ln | {"eps": None}, ""])
    for size in (1, 3):
        yield case("LocalResponseNorm", conv, ["LocalResponseNorm", {"size": size}, ""], axes="bft")
    for bias, out in itertools.product((True, False), (1, 3, 8)):
        yield case("Linear", ["Linear", {"in_features": WIDTH, "out_features": out, "bias": bias}, ""])
        yield case(
            "Linear",
            ["Linear", {"in_features": WIDTH, "out_features": out, "bias": bias}, "turned"],
            axes="bft",
        )
    for own in (
        {},
        {"padding_idx": 0},
        {"padding_idx": 2},
        {"padding_idx": -1},
        {"scale_grad_by_freq": True},
        {"sparse": True},
    ):
        own = {"num_embeddings": 7, "embedding_dim": 3} | own
        yield case("Embedding", ["Embedding", own, ""], frames=(None,), axes="bt", ids=True)
        rnn = ["GRU", {"input_size": 3, "hidden_size": 3, "batch_first": True}, "sequence"]
        yield case("Embedding", ["Embedding", own, ""], rnn, frames=(None,), axes="bt", ids=True)
    for start, end in ((1, -1), (1, 2), (0, -1), (2, -1)):
        yield case("Flatten", ["Flatten", {"start_dim": start, "end_dim": end}, ""], frames=(6, WIDTH))
    yield case("Unflatten", ["Unflatten", {"dim": 2, "unflattened_size": [2, 2]}, ""])


def pictures(draw, count=1):
    """2-D modules over (batch, channels, time, bins), then frames, then a GRU."""
    made = []
    for taps, stride, padding, mode in itertools.product(
        ([1, 1], [3, 3], [2, 3], [3, 1]),
        ([1, 1], [1, 2], [2, 2], [2, 1]),
        ([0, 0], [1, 1], "same"),
        ("zeros", "reflect", "replicate"),
    ):
        if (
            padding == "same"
            and stride != [1, 1]
            or mode != "zeros"
            and (padding == [0, 0] or draw.random() < 0.6)
        ):
            continue
        own = {"in_channels": 2, "out_channels": draw.choice((2, 4)), "kernel_size": taps, "stride": stride}
        own |= {"padding": padding, "padding_mode": mode} | draw.few(
            groups=(2,), bias=(False,), dilation=([2, 1], [1, 2])
        )
        made.append(["Conv2d", own, ""])
    for kind, size, stride, padding, ceil in itertools.product(
        ("MaxPool2d", "AvgPool2d"),
        ([2, 2], [1, 2], [3, 2]),
        (None, [1, 2], [2, 1]),
        (0, [0, 1], [1, 1]),
        (False, True),
    ):
        if padding == [1, 1] and size == [1, 2]:
            continue
        own = {"kernel_size": size, "stride": stride, "padding": padding, "ceil_mode": ceil}
        own |= draw.few(count_include_pad=(False,)) if kind == "AvgPool2d" else {}
        made.append([kind, own, ""])
    made += [
        ["BatchNorm2d", {"num_features": 2, "affine": a, "eps": e}, ""]
        for a in (True, False)
        for e in (1e-5, 0.1)
    ]
    made += [["Dropout2d", {"p": 0.3}, ""], ["ReLU", {}, ""], ["PReLU", {"num_parameters": 2}, ""]]
    made += [
        ["GroupNorm", {"num_groups": 2, "num_channels": 2}, ""],
        ["InstanceNorm2d", {"num_features": 2}, ""],
    ]
    made += [
        ["ZeroPad2d", {"padding": [1, 0, 2, 1]}, ""],
        ["ConstantPad2d", {"padding": 1, "value": 0.5}, ""],
    ]
    made += [
        ["ReflectionPad2d", {"padding": [1, 1, 0, 0]}, ""],
        ["ReplicationPad2d", {"padding": [1, 1, 0, 0]}, ""],
    ]
    made += [["UpsamplingNearest2d", {"scale_factor": 2}, ""], ["Upsample", {"scale_factor": 2}, ""]]
    made += [
        [
            "ConvTranspose2d",
            {"in_channels": 2, "out_channels": 2, "kernel_size": [1, 3], "stride": [1, 2]},
            "",
        ]
    ]
    made += [
        ["AdaptiveAvgPool2d", {"output_size": [None, 1]}, ""],
        ["AdaptiveMaxPool2d", {"output_size": [None, 2]}, ""],
    ]
    made += [
        ["LocalResponseNorm", {"size": 2}, ""],
        ["Softmax", {"dim": -1}, ""],
        ["Softmax", {"dim": 1}, ""],
    ]
    made += [
        ["AdaptiveAvgPool2d", {"output_size": 1}, "end"],
        ["AdaptiveMaxPool2d", {"output_size": [1, 1]}, "end"],
    ]
    for module, axes in itertools.product(made, ("bftf", "bfft")):
        yield case(
            module[0],
            module[:2] + [""],
            ["", {}, "end" if module[2] else f"frames {axes}"],
            axes=axes,
            frames=(12, 2, 8),
        )


def composed(draw, count=260):
    """Two to five modules, residuals, norms between, one of several ends."""
    for _ in range(count):
        chain, width = [], WIDTH
        for _ in range(draw.randint(2, 5)):
            n, what = draw.choice((2, 4)), draw.randrange(9)
            if what in (0, 1, 2):
                kind, both = draw.choice(("RNN", "LSTM", "GRU")), draw.random() < 0.3
                own = {"input_size": width, "hidden_size": n, "batch_first": True, "bidirectional": both}
                own |= draw.few(bias=(False,), num_layers=(2,))
                fits = n * (1 + both) == width and draw.random() < 0.5
                chain.append([kind, own, "sequence residual" if fits else "sequence"])
                width = n * (1 + both)
            elif what in (3, 4):
                taps = draw.choice((1, 3))
                own = {"in_channels": width, "out_channels": n, "kernel_size": taps, "padding": taps // 2}
                own |= draw.few(bias=(False,), padding_mode=("reflect", "replicate"))
                chain.append(
                    ["Conv1d", own, "turned residual" if n == width and draw.random() < 0.5 else "turned"]
                )
                width = n
            elif what == 5:
                chain.append(
                    draw.choice(
                        [
                            ["LayerNorm", {"normalized_shape": width}, ""],
                            ["BatchNorm1d", {"num_features": width}, "turned"],
                        ]
                    )
                )
            elif what == 6:
                chain.append(
                    ["Linear", {"in_features": width, "out_features": n}, "residual" if n == width else ""]
                )
                width = n
            elif what == 7:
                kind, own = draw.choice(ACTIVATIONS[:20])
                chain.append([kind, own, ""])
            else:
                own = {"kernel_size": 2, "stride": draw.choice((1, 2))}
                chain.append([draw.choice(("MaxPool1d", "AvgPool1d")), own, "turned"])
        end = draw.randrange(4)
        if end == 0:
            chain.append(
                [
                    "GRU",
                    {"input_size": width, "hidden_size": 3, "batch_first": True},
                    draw.choice(("last", "hidden")),
                ]
            )
            chain.append(["Linear", {"in_features": 3, "out_features": 2}, ""])
        elif end == 1:
            chain += [
                ["", {}, draw.choice(("mean", "max"))],
                ["Linear", {"in_features": width, "out_features": 2}, ""],
            ]
        yield case("composed", *chain)


FAMILIES = (recurrent, convolutions, pools, pointwise, pictures, composed)


def descriptions():
    made = []
    for family in FAMILIES:
        made += family(Draw(f"torch {family.__name__}"))
    return [d | {"number": k} for k, d in enumerate(made)]


# ---- the module of a description ---------------------------------------------------------------------------


def tuples(x):
    return tuple(x) if isinstance(x, list) else x


def built(description):
    """The torch module of a description, in eval, with random weights of few digits."""
    import numpy as np
    import torch
    from torch import nn

    class Chain(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.ModuleDict()
            for k, (kind, options, _) in enumerate(description["chain"]):
                if kind:
                    self.parts[f"m{k}"] = getattr(nn, kind)(**{o: tuples(v) for o, v in options.items()})

        def forward(self, x, state=None):
            for k, (kind, options, how) in enumerate(description["chain"]):
                words, before = how.split(), x
                if words and words[0] == "frames":
                    y = x.permute(0, 2, 1, 3) if words[1] == "bftf" else x.permute(0, 3, 1, 2)
                    x = y.reshape(y.shape[0], y.shape[1], y.shape[2] * y.shape[3])
                    continue
                if how in ("mean", "max"):
                    x = x.mean(1) if how == "mean" else x.max(1)[0]
                    continue
                if how == "end":
                    x = x.flatten(1)
                    continue
                module = self.parts[f"m{k}"]
                if kind in ("RNN", "LSTM", "GRU"):
                    y, finals = module(x) if state is None else module(x, state)
                    h = finals[0] if kind == "LSTM" else finals
                    if "all" in words or "started" in words:
                        return (y, *(finals if kind == "LSTM" else (finals,)))
                    if "last" in words:
                        y = y[:, -1] if options.get("batch_first") else y[-1]
                    elif "hidden" in words:
                        y = h[-1]
                    x = y
                elif "turned" in words:
                    x = module(x.transpose(1, 2)).transpose(1, 2)
                else:
                    x = module(x)
                if "residual" in words:
                    x = x + before
            return x

    class Stateless(Chain):
        def forward(self, x):
            return super().forward(x)

    started = any("started" in how for *_, how in description["chain"])
    made = (Chain if started else Stateless)()
    rng = np.random.default_rng([description["number"], 2])
    for name, tensor in made.state_dict().items():
        if tensor.is_floating_point():
            value = np.round(rng.normal(size=tuple(tensor.shape)) * (0.3 if "_hh" in name else 0.5) * 64) / 64
            value = np.abs(value) + 0.5 if "running_var" in name else value
            tensor.copy_(torch.from_numpy(value))
    return made.eval()


def given(description):
    """[(x, states or None)] of the runs: numbers in the module's own axes."""
    import numpy as np

    rng, made = np.random.default_rng([description["number"], 3]), []
    length, *features = description["frames"]
    for rows, frames in ((3, 16), (1, 21)):
        t = length or frames
        sizes = {"b": rows, "t": t}
        left = list(features)
        shape = [sizes[a] if a in sizes else left.pop(0) for a in description["axes"]]
        x = np.round(rng.normal(size=shape) * 64) / 64
        if description["ids"]:
            x = rng.integers(0, 7, shape)
        states = None
        kind, options, how = description["chain"][0]
        if "started" in how:
            count = options["num_layers"] * (1 + options["bidirectional"])
            widths = [options.get("proj_size") or options["hidden_size"]] + [options["hidden_size"]] * (
                kind == "LSTM"
            )
            states = [np.round(rng.normal(size=(count, rows, w)) * 64) / 64 for w in widths]
        made.append((x, states))
    return made


def state_of(states, dtype=None):
    """The initial states of a run as PyTorch takes them."""
    import numpy as np
    import torch

    made = [
        torch.from_numpy(np.asarray(s, np.float64)).to(dtype or torch.float32)
        for s in ([states] if isinstance(states, np.ndarray) else states)
    ]
    return made[0] if len(made) == 1 else tuple(made)


#: What a spec works out from the tensors.
SIZES = {
    "input_size",
    "hidden_size",
    "num_layers",
    "bias",
    "bidirectional",
    "batch_first",
    "proj_size",
    "num_features",
}
SIZES |= {
    "in_channels",
    "out_channels",
    "kernel_size",
    "in_features",
    "out_features",
    "num_embeddings",
    "embedding_dim",
}
SIZES |= {"num_channels", "dropout"}


def spec(description):
    """The same network as lines of a spec; None where it is no chain of kinds that a spec has."""
    from rnnrt.importers.spec import build, kinds

    if description["axes"] not in ("btf", "bft", "bt") or "started" in description["chain"][0][2]:
        return None
    length, *features = description["frames"]
    if not any(kind in kinds.PARAMETRIC or kind in kinds.RNNS for kind, *_ in description["chain"]):
        return None  # a spec is of tensors
    if description["axes"] == "bft" and "turned" in description["chain"][-1][2]:
        return None  # whose answer has the axes of its last line
    said = "" if description["ids"] else f" features={features[0]}"
    first = description["axes"] == "bft"
    lines = [f"input channels_{'first' if first else 'last'}{said}" + (f" length={length}" if length else "")]
    for k, (kind, options, how) in enumerate(description["chain"]):
        if how in ("mean", "max"):
            lines.append(how)
            continue
        if (
            "residual" in how
            or how == "all"
            or kind == ""
            or kind not in {*kinds.PARAMETRIC, *kinds.RNNS, *kinds.POOLS, *build._WITHOUT}
        ):
            return None
        if (
            kind in ("Linear", "LayerNorm")
            and first
            and "turned" not in how
            or options.get("track_running_stats") is False
        ):
            return None
        if kind.startswith("Adaptive") and options["output_size"] == 1:
            return None  # one frame by a module, a vector by a spec
        own = {o: v for o, v in options.items() if o not in SIZES or kind in kinds.POOLS}
        own |= {"nonlinearity": own.get("nonlinearity", "tanh")} if kind == "RNN" else {}
        own = {o: v for o, v in own.items() if o not in ("track_running_stats", "num_parameters")}
        if isinstance(own.get("normalized_shape"), list) or any(
            isinstance(v, (list, tuple)) for v in own.values()
        ):
            return None
        own.pop("normalized_shape", None)
        words = [f"{o}={v}" for o, v in own.items()]
        named = kind in kinds.PARAMETRIC or kind in kinds.RNNS
        lines.append(" ".join([f"parts.m{k}: {kind}" if named else kind, *words]))
        if how.startswith(("last", "hidden")):
            if how == "hidden" and options.get("bidirectional"):
                return None  # h[-1] is the reverse half alone; last_state joins both
            lines.append("last" if how == "last" else "last_state")
    return "\n".join(lines)
