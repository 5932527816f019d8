"""Small captures of amplifiers as their formats write them, and what they answer, in float64 from the
published equations: sample by sample, from zeros long before the first sample, sharing nothing with rnnrt.

A network is written by running it on a tape that makes numbers up and remembers their order.
"""

from __future__ import annotations

import copy
import json

import numpy as np


def damaged(document, generator, count):
    """``count`` texts of a capture with a few characters taken away or replaced."""
    text = json.dumps(document)
    for _ in range(count):
        start, length = generator.integers(0, len(text)), generator.integers(0, 12)
        piece = generator.choice(["", "0", "1e9", "-1", "null", "[]", "{}", '"', "true", ",", "]"])
        yield text[:start] + str(piece) + text[start + length :]


class Tape:
    """A flat list of numbers: read from the front, or, without one, made up and remembered."""

    def __init__(self, numbers=None, seed=0):
        self.read = None if numbers is None else list(numbers)
        self.made, self.rng = [], np.random.default_rng(seed)

    def take(self, *shape, scale=None):
        count = int(np.prod(shape))
        if self.read is None:
            scale = scale or 0.9 / np.sqrt(np.prod(shape[1:]) if len(shape) > 1 else 4)
            numbers = np.float32(self.rng.normal(0, scale, count)).tolist()
            self.made += numbers
        else:
            numbers, self.read = self.read[:count], self.read[count:]
            assert len(numbers) == count
        return np.array(numbers, np.float64).reshape(shape)


FUNCTIONS = {
    "Tanh": np.tanh,
    "ReLU": lambda x: np.maximum(x, 0),
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Hardtanh": lambda x: np.clip(x, -1, 1),
    "SiLU": lambda x: x / (1 + np.exp(-x)),
    "Hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "LeakyReLU": lambda x: np.where(x > 0, x, np.float64(np.float32(0.01)) * x),
}


def activated(spec, x):
    if isinstance(spec, str):
        return FUNCTIONS[spec](x)
    if spec["type"] == "PReLU":
        return np.where(x > 0, x, np.float64(np.float32(spec["negative_slopes"])) * x)
    if "negative_slope" in spec:
        return np.where(x > 0, x, np.float64(np.float32(spec["negative_slope"])) * x)
    return FUNCTIONS[spec["type"]](x)


def convolved(x, weight, bias, dilation=1, groups=1):
    """(time, in) -> (time, out) by weight (out, in per group, tap), the newest tap last."""
    out, columns, taps = weight.shape
    y = np.zeros((len(x), out)) + bias
    for o in range(out):
        first = o // (out // groups) * columns
        for k in range(taps):
            behind = (taps - 1 - k) * dilation
            past = x[: len(x) - behind, first : first + columns]
            y[behind:, o] += past @ weight[o, :, k]
    return y


# ---- Neural Amp Modeler ------------------------------------------------------------------------------------


def nam_answer(document, x):
    """What a .nam file answers to ``x`` (time, channels)."""
    config = document["config"]
    if document["architecture"] == "SlimmableContainer":
        return nam_answer(config["submodels"][-1]["model"], x)
    tape = Tape(document["weights"])
    if document["architecture"] == "LSTM":
        y = _lstm(config, tape, x)
    else:
        silence = np.zeros((400, x.shape[1]))  # longer than any of these networks looks back
        run = {"WaveNet": _wavenet, "ConvNet": _convnet}[document["architecture"]]
        y = run(config, tape, np.concatenate([silence, x]))[400:]
    assert not tape.read
    return y


def nam(architecture="WaveNet", seed=0, version="0.5.4", rate=48000, inputs=1, **config):
    """A .nam file of these options, as a dictionary."""
    tape = Tape(seed=seed)
    run = {"WaveNet": _wavenet, "ConvNet": _convnet, "LSTM": _lstm}[architecture]
    run(config, tape, np.zeros((1, inputs)))
    document = {"version": version, "architecture": architecture, "config": config, "weights": tape.made}
    return document | ({} if rate is None else {"sample_rate": rate})


def container(*documents):
    """A container of .nam files, of rising quality."""
    submodels = [
        {"max_value": (k + 1) / len(documents), "model": document} for k, document in enumerate(documents)
    ]
    return {
        "version": "0.7.0",
        "architecture": "SlimmableContainer",
        "config": {"submodels": submodels},
        "weights": [],
        "sample_rate": 48000,
    }


def _wavenet(config, tape, x):
    inner = config.get("condition_dsp")
    condition = x if inner is None else _wavenet(inner["config"], Tape(inner["weights"]), x)
    u, head = x, None
    for array in config["layers"]:
        u, head = _array(array, tape, u, condition, head)
    convolutions = []
    own = config.get("head")
    for k, taps in enumerate(own["kernel_sizes"] if own else ()):
        rows = own["out_channels"] if k == len(own["kernel_sizes"]) - 1 else own["channels"]
        columns = head.shape[1] if k == 0 else own["channels"]
        convolutions.append((tape.take(rows, columns, taps), tape.take(rows)))
    y = tape.take(1, scale=0.5)[0] * head
    for weight, bias in convolutions:
        y = convolved(activated(own["activation"], y), weight, bias)
    return y


def _array(array, tape, u, condition, head):
    channels = array["channels"]
    half = array.get("bottleneck", channels)
    groups, mixin_groups = array.get("groups_input", 1), array.get("groups_input_mixin", 1)
    layer1x1, head1x1 = array.get("layer1x1"), array.get("head1x1")
    each = lambda key, default: (
        array[key]
        if isinstance(array.get(key), list)
        else [array.get(key, default)] * len(array["dilations"])
    )
    modes = each("gating_mode", "gated" if array.get("gated") else "none")
    u = u @ tape.take(channels, u.shape[1]).T
    summed = [] if head is None else [head]
    for dilation, taps, activation, mode, gate in zip(
        array["dilations"],
        array.get("kernel_sizes") or each("kernel_size", None),
        each("activation", None),
        modes,
        each("secondary_activation", "Sigmoid"),
    ):
        rows = half if mode == "none" else 2 * half
        z = convolved(u, tape.take(rows, channels // groups, taps), tape.take(rows), dilation, groups)
        columns = condition.shape[1] // mixin_groups
        z += convolved(condition, tape.take(rows, columns, 1), np.zeros(rows), 1, mixin_groups)
        p = activated(activation, z[:, :half])
        if mode != "none":
            share = activated(gate or "Sigmoid", z[:, half:])
            p = p * share + (1 - share) * z[:, :half] * (mode == "blended")
        if layer1x1 is None or layer1x1["active"]:
            own = (layer1x1 or {"groups": 1})["groups"]
            u = u + convolved(p, tape.take(channels, half // own, 1), tape.take(channels), 1, own)
        if head1x1 and head1x1["active"]:
            rows, own = head1x1["out_channels"], head1x1["groups"]
            p = convolved(p, tape.take(rows, half // own, 1), tape.take(rows), 1, own)
        summed.append(p)
    options = array.get("head") or {
        "out_channels": array["head_size"],
        "kernel_size": 1,
        "bias": array["head_bias"],
    }
    s, rows = sum(summed), options["out_channels"]
    weight = tape.take(rows, s.shape[1], options["kernel_size"])
    bias = tape.take(rows) if options["bias"] else np.zeros(rows)
    return u, convolved(s, weight, bias, options.get("head_dilation", 1))


def _lstm(config, tape, x):
    units = config["hidden_size"]
    for _ in range(config["num_layers"]):
        weight, bias = tape.take(4 * units, x.shape[1] + units), tape.take(4 * units)
        h, c = tape.take(units), tape.take(units)
        made = []
        for sample in x:
            i, f, g, o = np.split(weight @ np.concatenate([sample, h]) + bias, 4)
            sigmoid = FUNCTIONS["Sigmoid"]
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            made.append(h)
        x = np.array(made)
    outputs = config.get("out_channels", 1)
    weight, bias = tape.take(outputs, units), tape.take(outputs)
    return x @ weight.T + bias


def _convnet(config, tape, x):
    channels, groups, normalised = config["channels"], config.get("groups", 1), config["batchnorm"]
    for dilation in config["dilations"]:
        weight = tape.take(channels, x.shape[1] // groups, 2)
        bias = np.zeros(channels) if normalised else tape.take(channels)
        x = convolved(x, weight, bias, dilation, groups)
        if normalised:
            mean, variance = tape.take(channels), tape.take(channels, scale=0.2)
            gamma, beta, epsilon = tape.take(channels), tape.take(channels), tape.take(1, scale=0.01)
            if tape.read is None:  # a variance below zero would be none
                at = len(tape.made) - 3 * channels - 1
                tape.made[at : at + channels] = np.float32(np.abs(variance) + 0.1).tolist()
                tape.made[-1] = float(np.float32(1e-5))
                variance, epsilon = np.array(tape.made[at : at + channels]), np.array(tape.made[-1:])
            x = gamma * (x - mean) / np.sqrt(variance + epsilon) + beta
        x = activated(config["activation"], x)
    outputs = config.get("out_channels", 1)
    weight, bias = tape.take(outputs, channels), tape.take(outputs)
    return x @ weight.T + bias


def array(input_size=1, condition_size=1, channels=4, dilations=(1, 2, 4), **options):
    """One array of layers in the oldest words, ``options`` over them; None takes a field away."""
    made = {
        "input_size": input_size,
        "condition_size": condition_size,
        "head_size": 1,
        "channels": channels,
        "kernel_size": 3,
        "dilations": list(dilations),
        "activation": "Tanh",
        "gated": False,
        "head_bias": True,
    } | options
    return {key: value for key, value in made.items() if value is not None}


def head(rows, taps, bias=True, **more):
    """What takes the place of head_size and head_bias in an array."""
    own = {"out_channels": rows, "kernel_size": taps, "bias": bias} | more
    return {"head": own, "head_size": None, "head_bias": None}


STACK = {
    "layers": [array(head_size=3), array(4, channels=3, dilations=(8, 1))],
    "head": None,
    "head_scale": 0.02,
}

#: name -> a file, as a dictionary.
NAM = {
    "stack": nam(**STACK),
    "stack_without_rate": nam(rate=None, version="0.5.0", **STACK),
    "gated": nam(layers=[array(gated=True)], head_scale=1.0),
    "own_head": nam(
        layers=[array(head_size=2)],
        head={"channels": 3, "out_channels": 1, "kernel_sizes": [2, 3], "activation": "ReLU"},
        head_scale=1.0,
    ),
    "second_edition": nam(
        version="0.7.0",
        layers=[
            array(
                channels=3,
                kernel_size=None,
                kernel_sizes=[6, 2, 5],
                dilations=[1, 3, 7],
                activation=[{"type": "LeakyReLU", "negative_slope": 0.03}] * 3,
                gated=None,
                gating_mode=["none"] * 3,
                secondary_activation=[None] * 3,
                bottleneck=3,
                head1x1={"active": False, "out_channels": 1, "groups": 1},
                layer1x1={"active": True, "groups": 1},
                groups_input=1,
                groups_input_mixin=1,
                conv_pre_film={"active": False, "shift": True, "groups": 1},
                layer1x1_post_film=False,
                slimmable=None,
                **head(1, 16),
            )
        ],
        head=None,
        head_scale=0.01,
    ),
    "groups": nam(
        version="0.6.0",
        layers=[
            array(
                channels=4,
                bottleneck=6,
                groups_input=2,
                layer1x1={"active": True, "groups": 2},
                head1x1={"active": True, "out_channels": 4, "groups": 2},
                activation=["SiLU", "Softsign", "Hardswish"],
                **head(4, 2, head_dilation=3),
            ),
            array(4, channels=4, activation="Hardtanh", layer1x1={"active": False, "groups": 1}),
        ],
        head_scale=1.0,
    ),
    "blended": nam(
        version="0.6.0",
        layers=[
            array(
                gated=None,
                gating_mode=["blended", "gated", "none"],
                activation=[{"type": "PReLU", "negative_slopes": [0.1, -0.2, 0.3, 0.4]}, "LeakyReLU", "ReLU"],
                secondary_activation=["Hardtanh", None, ""],
            )
        ],
        head_scale=1.0,
    ),
    "stereo": nam(
        version="0.6.0",
        inputs=2,
        in_channels=2,
        layers=[array(2, 2, groups_input_mixin=2, head_size=2)],
        head_scale=1.0,
    ),
    "condition": nam(
        version="0.6.0",
        layers=[array(condition_size=2)],
        head_scale=1.0,
        condition_dsp=nam(layers=[array(channels=2, head_size=2)], head_scale=1.0, seed=5),
    ),
    "container": container(nam(seed=7, **STACK), nam("LSTM", input_size=1, hidden_size=2, num_layers=1)),
    "lstm": nam("LSTM", input_size=1, hidden_size=3, num_layers=1),
    "lstms": nam("LSTM", inputs=2, input_size=2, in_channels=2, out_channels=2, hidden_size=5, num_layers=2),
    "convnet": nam("ConvNet", channels=3, dilations=[1, 2, 4], batchnorm=False, activation="ReLU"),
    "convnet_normalised": nam(
        "ConvNet", channels=4, dilations=[1, 4], batchnorm=True, activation={"type": "Tanh"}
    ),
    "convnet_groups": nam(
        "ConvNet",
        inputs=2,
        in_channels=2,
        out_channels=2,
        channels=4,
        dilations=[3, 1],
        batchnorm=False,
        activation="Sigmoid",
        groups=2,
    ),
}


def written(folder, document, name="capture.nam"):
    """The path of a file of ``document``."""
    path = folder / name
    path.write_text(json.dumps(document))
    return path


# ---- RTNeural, AIDA-X, GuitarML ----------------------------------------------------------------------------

SIGMOID = FUNCTIONS["Sigmoid"]
ACTIVATIONS = {
    "": lambda x: x,
    "tanh": np.tanh,
    "relu": FUNCTIONS["ReLU"],
    "sigmoid": SIGMOID,
    "elu": lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1),
    "softmax": lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True),
}


def rtneural(layers, channels=1, seed=0, **more):
    """An RTNeural file of ``layers``, (type, units, options) each, with random arrays in Keras's order; of a
    batchnorm ``affine`` says whether it has gamma and beta."""
    rng, made, size = np.random.default_rng(seed), [], channels
    draw = lambda *shape: np.float32(rng.normal(0, 0.7 / np.sqrt(shape[0]), shape))
    for kind, units, options in layers:
        arrays = _keras_arrays(draw, kind, size, units, options)
        options = {key: value for key, value in options.items() if key != "affine"}
        layer = {"type": kind, "activation": "", "shape": [None, None, units]} | options
        made.append(layer | {"weights": [array.tolist() for array in arrays]})
        size = units
    return {"in_shape": [None, None, channels], "layers": made} | more


def _keras_arrays(draw, kind, size, units, options):
    match kind:
        case "dense":
            return draw(size, units), draw(units)
        case "time-distributed-dense":
            return (draw(size, units),)
        case "conv1d":
            kernel = options["kernel_size"][0], size // options.get("groups", 1), units
            return draw(*kernel), draw(units)
        case "lstm":
            return draw(size, 4 * units), draw(units, 4 * units), draw(4 * units)
        case "gru":
            return draw(size, 3 * units), draw(units, 3 * units), draw(2, 3 * units)
        case "prelu":
            return (draw(1, units),)
        case "batchnorm":
            affine = (draw(size), draw(size)) if options.get("affine", True) else ()
            return (*affine, draw(size), np.abs(draw(size)) + 0.5)
        case "activation":
            return ()


def rtneural_answer(document, x):
    """What an RTNeural or AIDA-X file answers to ``x`` (time, channels), as a player runs it."""
    x = x.copy()
    x[:, 0] *= 10 ** (document.get("in_gain", 0) / 20)
    y = x
    for layer in document["layers"]:
        arrays = [np.array(a, np.float64) for a in layer["weights"]]
        y = _RUN[layer["type"]](layer, arrays, y)
    y = y + x[:, :1] if document.get("in_skip") else y
    return y * 10 ** (document.get("out_gain", 0) / 20)


def _dense(layer, arrays, x):
    return ACTIVATIONS[layer["activation"]](x @ arrays[0] + (arrays[1] if len(arrays) > 1 else 0))


def _conv1d(layer, arrays, x):
    weight = arrays[0].transpose(2, 1, 0)
    y = convolved(x, weight, arrays[1], layer["dilation"][0], layer.get("groups", 1))
    return ACTIVATIONS[layer["activation"]](y)


def _keras_lstm(layer, arrays, x):
    kernel, recurrent, bias = arrays
    h = c = np.zeros(len(recurrent))
    made = []
    for sample in x:
        i, f, g, o = np.split(sample @ kernel + h @ recurrent + bias, 4)
        c = SIGMOID(f) * c + SIGMOID(i) * np.tanh(g)
        h = SIGMOID(o) * np.tanh(c)
        made.append(h)
    return np.array(made)


def _keras_gru(layer, arrays, x):
    kernel, recurrent, (bias, recurrent_bias) = arrays
    h, made = np.zeros(len(recurrent)), []
    for sample in x:
        z, r, n = np.split(sample @ kernel + bias, 3)
        hz, hr, hn = np.split(h @ recurrent + recurrent_bias, 3)
        z = SIGMOID(z + hz)
        h = z * h + (1 - z) * np.tanh(n + SIGMOID(r + hr) * hn)
        made.append(h)
    return np.array(made)


def _batchnorm(layer, arrays, x):
    *affine, mean, variance = arrays
    gamma, beta = affine or (1, 0)
    return (x - mean) / np.sqrt(variance + layer["epsilon"]) * gamma + beta


_RUN = {
    "dense": _dense,
    "time-distributed-dense": _dense,
    "conv1d": _conv1d,
    "lstm": _keras_lstm,
    "gru": _keras_gru,
    "prelu": lambda layer, arrays, x: np.where(x > 0, x, arrays[0] * x),
    "batchnorm": _batchnorm,
    "activation": lambda layer, arrays, x: ACTIVATIONS[layer["activation"]](x),
}

RTNEURAL = {
    "dense": rtneural([("dense", 8, {"activation": "tanh"}), ("time-distributed-dense", 2, {})]),
    "conv": rtneural(
        [
            ("conv1d", 4, {"kernel_size": [3], "dilation": [2], "activation": "relu"}),
            ("conv1d", 6, {"kernel_size": [2], "dilation": [1], "groups": 2, "activation": "elu"}),
            ("prelu", 6, {}),
            ("batchnorm", 6, {"epsilon": 0.01}),
            ("dense", 3, {"activation": "softmax"}),
        ]
    ),
    "lstm": rtneural([("lstm", 5, {"activation": "tanh"}), ("dense", 1, {})]),
    "gru": rtneural([("gru", 4, {}), ("batchnorm", 4, {"epsilon": 1e-3, "affine": False}), ("dense", 1, {})]),
    "knobs": rtneural([("lstm", 4, {}), ("dense", 1, {})], channels=3, in_skip=1),
    "activation": rtneural([("dense", 4, {}), ("activation", 4, {"activation": "sigmoid"})]),
}


def aida(seed=0, samples=64, channels=1, **options):
    """An AIDA-X file with its own test vectors, which players record without the gains."""
    document = rtneural([("lstm", 4, {}), ("dense", 1, {})], channels=channels, seed=seed)
    x = np.zeros((samples, channels))
    x[:, 0] = np.float32(np.random.default_rng(seed).normal(0, 0.3, samples))
    y = rtneural_answer(document | {"in_skip": options.get("in_skip", 0)}, x)
    vectors = {"input_batch": x[:, 0].tolist(), "output_batch": y[:, 0].tolist()}
    about = {"metadata": {"name": "clean", "samplerate": "44100", "esr": 0.01}}
    return document | vectors | about | options


def guitarml(unit="LSTM", inputs=1, layers=1, hidden=5, skip=1, bias=True, seed=0):
    """A GuitarML file: PyTorch's tensors of an RNN and a Linear."""
    rng, rows = np.random.default_rng(seed), {"LSTM": 4, "GRU": 3, "RNN": 1}[unit] * hidden
    draw = lambda *shape: np.float32(rng.normal(0, 0.5, shape)).tolist()
    tensors = {}
    for k in range(layers):
        tensors[f"rec.weight_ih_l{k}"] = draw(rows, hidden if k else inputs)
        tensors[f"rec.weight_hh_l{k}"] = draw(rows, hidden)
        if bias:
            tensors |= {f"rec.bias_ih_l{k}": draw(rows), f"rec.bias_hh_l{k}": draw(rows)}
    tensors |= {"lin.weight": draw(1, hidden), "lin.bias": draw(1)}
    data = {
        "model": "SimpleRNN",
        "input_size": inputs,
        "skip": skip,
        "output_size": 1,
        "unit_type": unit,
        "num_layers": layers,
        "hidden_size": hidden,
        "bias_fl": bias,
    }
    return {"model_data": data, "state_dict": tensors}


def guitarml_answer(document, x):
    """What a GuitarML file answers to ``x`` (time, channels)."""
    data, y = document["model_data"], x
    tensors = {name: np.array(value, np.float64) for name, value in document["state_dict"].items()}
    for k in range(data["num_layers"]):
        weight, recurrent = tensors[f"rec.weight_ih_l{k}"], tensors[f"rec.weight_hh_l{k}"]
        bias, recurrent_bias = (
            tensors.get(f"rec.bias_{w}_l{k}", np.zeros(len(weight))) for w in ("ih", "hh")
        )
        h = c = np.zeros(data["hidden_size"])
        made = []
        for sample in y:
            s, u = weight @ sample + bias, recurrent @ h + recurrent_bias
            if data["unit_type"] == "LSTM":
                i, f, g, o = np.split(s + u, 4)
                c = SIGMOID(f) * c + SIGMOID(i) * np.tanh(g)
                h = SIGMOID(o) * np.tanh(c)
            elif data["unit_type"] == "GRU":
                (r, z, n), (ur, uz, un) = np.split(s, 3), np.split(u, 3)
                z = SIGMOID(z + uz)
                h = (1 - z) * np.tanh(n + SIGMOID(r + ur) * un) + z * h
            else:
                h = np.tanh(s + u)
            made.append(h)
        y = np.array(made)
    return y @ tensors["lin.weight"].T + tensors["lin.bias"] + data["skip"] * x[:, :1]


GUITARML = {
    "lstm": guitarml(),
    "lstm_with_knobs": guitarml(inputs=3, seed=1),
    "lstms_without_bias": guitarml(layers=2, bias=False, skip=0),
    "gru": guitarml("GRU", hidden=4),
    "rnn": guitarml("RNN", inputs=2, layers=2),
}


def changed(document, *path, **fields):
    """A copy of a document in which the object at ``path`` has these fields; ... takes one away."""
    document = copy.deepcopy(document)
    place = document
    for key in path:
        place = place[key]
    for key, value in fields.items():
        if value is ...:
            del place[key]
        else:
            place[key] = value
    return document
