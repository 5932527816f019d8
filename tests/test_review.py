"""What a stranger's trained models did to the importers: forwards that leave something behind, options that
were overlooked, random networks of both frameworks, whole and streamed, against the frameworks themselves."""

import io
import json
import random
import struct
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest
from needs import need

torch = need("torch")
keras = need("keras")
h5py = need("h5py")
import torch.nn.functional as F
from keras import layers as L
from safetensors.torch import save_file
from torch import nn

import rnnrt
from rnnrt.errors import ModelFileError, ResourceLimitError, StateError, UnsupportedModelError

TOLERANCE = 1e-4


def distance(expected, found):
    """Relative to the largest expected magnitude where that is above 1; infinite where shapes differ."""
    return (
        np.abs(expected - found).max(initial=0) / max(1, np.abs(expected).max(initial=0))
        if expected.shape == found.shape
        else np.inf
    )


def streamed(model, x, generator):
    """The frames (time, features) of ``x`` pushed in random chunks and flushed."""
    stream, parts, at = model.stream(), [], 0
    while at < len(x):
        count = generator.randint(0, 5)
        parts.append(stream.push(x[at : at + count]))
        at += count
    return np.concatenate([*parts, stream.flush()])


# ---- PyTorch: a forward that a trace does not hold ---------------------------------------------------------


class _Layers(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.fc, self.norm = nn.LSTM(4, 4, batch_first=True), nn.Linear(4, 2), nn.BatchNorm1d(4)
        self.register_buffer("calls", torch.zeros(1))


class DropoutWithoutTraining(_Layers):
    def forward(self, x):
        return F.dropout(self.rnn(x)[0], 0.5)


class DropoutTold(_Layers):
    def forward(self, x):
        return F.dropout(self.rnn(x)[0], training=True)


class BatchStatistics(_Layers):
    def forward(self, x):
        norm, y = self.norm, self.rnn(x)[0].transpose(1, 2)
        return F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias, True)


class CountsItsCalls(_Layers):
    def forward(self, x):
        self.calls += 1
        return self.rnn(x)[0] * self.calls


class ReplacesItsBuffer(_Layers):
    def forward(self, x):
        self.calls = self.calls + 1
        return self.rnn(x)[0] * self.calls


class DrawsNoise(_Layers):
    def forward(self, x):
        return self.rnn(x)[0] + torch.randn(4)


class AsksForATuple(_Layers):
    """torch.fx hands out no tuple, so the trace would take the cell state for the hidden one."""

    def forward(self, x):
        _, state = self.rnn(x)
        if isinstance(state, tuple):
            state = state[0]
        return self.fc(state[-1]).view(x.size(0), -1)


@pytest.mark.parametrize(
    "cls, match",
    [
        (DropoutWithoutTraining, "drops out after eval"),
        (DropoutTold, "drops out after eval"),
        (BatchStatistics, "each batch's own statistics"),
        (CountsItsCalls, "changes the tensor 'calls'"),
        (ReplacesItsBuffer, "changes the tensor 'calls'"),
        (DrawsNoise, "draws random numbers"),
        (AsksForATuple, "types that forward asks for"),
    ],
)
def test_a_forward_that_answers_otherwise_than_its_trace_is_refused_and_left_alone(cls, match):
    module = cls()
    before = {name: t.clone() for name, t in module.state_dict().items()}
    with pytest.raises(UnsupportedModelError, match=match) as raised:
        rnnrt.from_torch(module)
    assert cls.__name__ in str(raised.value)
    assert all(torch.equal(before[name], t) for name, t in module.state_dict().items())


def test_dropout_that_is_told_self_training_is_the_identity():
    class Told(_Layers):
        def forward(self, x):
            return F.alpha_dropout(F.dropout(self.rnn(x)[0], 0.5, self.training), 0.3)

    module, x = Told(), torch.randn(2, 5, 4)
    assert (
        distance(module.eval()(x).detach().numpy(), rnnrt.from_torch(module.train())(x.numpy())) <= TOLERANCE
    )


def test_a_bare_layer_in_training_mode_keeps_its_spectral_norm():
    module = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3))
    before = {name: t.clone() for name, t in module.state_dict().items()}
    model = rnnrt.from_torch(module.train())
    assert all(torch.equal(before[name], t) for name, t in module.state_dict().items())
    x = torch.randn(2, 5, 4)
    assert distance(module.eval()(x).detach().numpy(), model(x.numpy())) <= TOLERANCE


def test_a_method_put_in_place_of_forward_is_not_overlooked():
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    module[1].forward = lambda x: torch.tanh(x)
    with pytest.raises(UnsupportedModelError, match=r"'1' \(ReLU\) is not supported"):
        rnnrt.from_torch(module)


def test_what_wraps_a_module_is_taken_off_or_refused_by_name():
    inner = nn.Sequential(nn.Linear(4, 3), nn.Tanh())
    x = np.random.RandomState(0).randn(2, 5, 4).astype(np.float32)
    expected = rnnrt.from_torch(inner)(x)
    for wrapped in (nn.DataParallel(inner), torch.compile(inner)):
        assert np.array_equal(rnnrt.from_torch(wrapped)(x), expected)
    with pytest.warns(DeprecationWarning):
        script = torch.jit.script(inner)
    with pytest.raises(UnsupportedModelError, match="TorchScript modules are not read.*state_dict"):
        rnnrt.from_torch(script)


def test_pytorchs_initial_states_have_pytorchs_form():
    module, x = nn.LSTM(3, 4, 2, bidirectional=True), torch.randn(5, 2, 3)
    model, h, c = rnnrt.from_torch(module), torch.randn(4, 2, 4), torch.randn(4, 2, 4)
    assert (
        distance(module(x, (h, c))[0].detach().numpy(), model(x.numpy(), initial_state=(h, c))) <= TOLERANCE
    )
    zeros = model(x.numpy(), initial_state=(torch.zeros_like(h), c))
    assert np.array_equal(model(x.numpy(), initial_state=(None, c)), zeros)
    for wrong in (h, (h,), (h, c, c), 5, ()):
        with pytest.raises(StateError, match="another form than forward takes"):
            model(x.numpy(), initial_state=wrong)


# ---- Keras -------------------------------------------------------------------------------------------------


def sequential(*layers, shape=(None, 4)):
    return keras.Sequential([keras.Input(shape), *layers])


def saved(model, how, folder):
    """What from_keras is given: the live model, or a path it was saved to."""
    if how == "live":
        return model
    model.save(folder / f"model.{how}")
    return folder / f"model.{how}"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", ["live", "keras", "h5"])
def test_a_depthwise_convolution_imports_from_every_container(how, tmp_path):
    """Keras 3 calls its kernel "kernel"; a .keras file does not say."""
    model = sequential(
        L.DepthwiseConv1D(3, depth_multiplier=2, padding="same", activation="relu"),
        L.DepthwiseConv1D(2, use_bias=False),
    )
    x = np.random.RandomState(0).randn(2, 9, 4).astype(np.float32)
    assert distance(model(x).detach().numpy(), rnnrt.from_keras(saved(model, how, tmp_path))(x)) <= TOLERANCE


def doubled(x):
    return x * 2


def _quantised():
    model = sequential(L.Dense(4))
    model.quantize("int8")
    return model


def _lora():
    model = sequential(L.Dense(4))
    model.layers[0].enable_lora(2)
    return model


def _one_frame_for_all():
    x = keras.Input((None, 4))
    return keras.Model(x, L.Add()([x, L.GlobalAveragePooling1D(keepdims=True)(x)]))


def _one_feature_for_all():
    x = keras.Input((None, 4))
    return keras.Model(x, L.Multiply()([x, L.Dense(1)(x)]))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", ["live", "keras", "h5"])
@pytest.mark.parametrize(
    "make, match",
    [
        (
            lambda: sequential(L.Dense(2, activation=doubled)),
            "'dense.*function of the model's author .'doubled'",
        ),
        (
            lambda: sequential(L.GRU(2, activation=lambda x: x * 2)),
            "'gru.*function of the model's author .a lambda",
        ),
        (_quantised, "'dense.*quantization_config"),
        (_lora, "'dense.*lora_rank=2"),
        (_one_frame_for_all, "'add.*broadcasting is not supported"),
        (_one_feature_for_all, "'multiply.*broadcasting is not supported"),
    ],
    ids=["function", "lambda", "int8", "lora", "one-frame", "one-feature"],
)
def test_what_keras_computes_otherwise_is_refused_by_name(make, match, how, tmp_path):
    source = saved(make(), how, tmp_path)
    with pytest.raises(UnsupportedModelError, match=match):
        rnnrt.from_keras(source)


@pytest.mark.filterwarnings("ignore")
def test_a_layer_that_h5_cannot_tell_apart_is_named(tmp_path):
    model = sequential(keras.Sequential([keras.Input((None, 4)), L.Dense(3), L.PReLU(shared_axes=[1])]))
    with pytest.raises(UnsupportedModelError, match="layers/p_re_lu"):
        rnnrt.from_keras(saved(model, "h5", tmp_path))


# ---- random networks ---------------------------------------------------------------------------------------


class Rnn(nn.Module):
    """The part of an RNN's answer that a network goes on with."""

    def __init__(self, rnn, part):
        super().__init__()
        self.rnn, self.part = rnn, part

    def forward(self, x):
        out, state = self.rnn(x)
        if self.part != "last_state":
            return out if self.part == "sequence" else out[:, -1]
        h = state[0] if isinstance(self.rnn, nn.LSTM) else state
        return torch.cat([h[-2], h[-1]], 1) if self.rnn.bidirectional else h[-1]


class Transposed(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x.transpose(1, 2)).transpose(1, 2)


def random_chain(r):
    """(module, spec, features) of a random chain over (batch, time, features)."""
    features = width = r.randint(1, 5)
    modules, spec = [], []
    for k in range(r.randint(1, 4)):
        sized = ["RNN", "LSTM", "GRU", "Conv1d", "Linear", "BatchNorm1d", "LayerNorm"]
        word = r.choice(sized + ["act", "MaxPool1d", "AvgPool1d"] * (k > 0))
        if word in ("RNN", "LSTM", "GRU"):
            units, two = r.randint(2, 5), r.random() < 0.4
            options = {
                "num_layers": r.randint(1, 2),
                "bias": r.random() < 0.8,
                "batch_first": True,
                "bidirectional": two,
            }
            options |= {"nonlinearity": r.choice(["tanh", "relu"])} if word == "RNN" else {}
            options |= {"proj_size": r.choice([0, units - 1])} if word == "LSTM" else {}
            part = r.choice(["sequence", "sequence", "last", "last_state"])
            modules.append(Rnn(getattr(nn, word)(width, units, **options), part))
            spec.append(
                f"{k}.rnn: {word}" + (f" nonlinearity={options['nonlinearity']}" if word == "RNN" else "")
            )
            width = (options.get("proj_size") or units) * (1 + two)
            if part != "sequence":
                return nn.Sequential(*modules), [*spec, part], features
        elif word == "Conv1d":
            out, stride = r.choice([2, 4]), r.choice([1, 1, 2])
            options = {
                "stride": stride,
                "padding": r.randint(0, 2),
                "dilation": r.randint(1, 2),
                "groups": 2 - width % 2,
            }
            modules.append(Transposed(nn.Conv1d(width, out, r.randint(1, 3), **options)))
            spec.append(f"{k}.inner: Conv1d " + " ".join(f"{o}={v}" for o, v in options.items()))
            width = out
        elif word == "Linear":
            out = r.randint(1, 5)
            modules.append(nn.Linear(width, out))
            spec.append(f"{k}: Linear")
            width = out
        elif word == "act":
            module = r.choice(
                [
                    nn.ReLU(),
                    nn.LeakyReLU(0.3),
                    nn.Hardtanh(0, 2.0),
                    nn.ELU(0.5),
                    nn.GELU("tanh"),
                    nn.Dropout(0.5),
                    nn.SELU(),
                ]
            )
            modules.append(module)
            options = {
                "LeakyReLU": " negative_slope=0.3",
                "Hardtanh": " min_val=0 max_val=2",
                "ELU": " alpha=0.5",
                "GELU": " approximate=tanh",
            }
            spec.append(type(module).__name__ + options.get(type(module).__name__, ""))
        elif word in ("MaxPool1d", "AvgPool1d"):
            size, stride, padding = r.randint(2, 3), r.randint(1, 2), r.randint(0, 1)
            modules.append(Transposed(getattr(nn, word)(size, stride, padding)))
            spec.append(f"{word} {size} stride={stride} padding={padding}")
        else:
            eps = r.choice([1e-5, 1e-2])
            modules.append(
                Transposed(nn.BatchNorm1d(width, eps)) if word == "BatchNorm1d" else nn.LayerNorm(width, eps)
            )
            spec.append(f"{k}{'.inner' if word == 'BatchNorm1d' else ''}: {word} eps={eps}")
    return nn.Sequential(*modules), spec, features


def stored(tensors, how, folder):
    """A state dict as from_torch may be given it."""
    path = folder / how
    match how:
        case "zip":
            torch.save({"epoch": 3, "model_state_dict": {f"module.{n}": t for n, t in tensors.items()}}, path)
        case "legacy":
            torch.save(tensors, path, _use_new_zipfile_serialization=False)
        case "safetensors":
            save_file({n: t.contiguous() for n, t in tensors.items()}, path)
        case "float64":
            return {n: t.double() for n, t in tensors.items()}
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(40))
def test_a_random_module_live_and_by_its_spec_is_equal_to_torch(seed, tmp_path):
    r = random.Random(seed)
    torch.manual_seed(seed)
    module, spec, features = random_chain(r)
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if tensor.is_floating_point():
            tensor.data = torch.rand_like(tensor) + 0.5 if "var" in name else torch.randn_like(tensor) * 0.3
    source = stored(module.state_dict(), r.choice(["zip", "legacy", "safetensors", "float64"]), tmp_path)
    spec = "\n".join([f"input channels_last features={features}", *spec])
    models = [rnnrt.from_torch(module, example=torch.randn(2, 13, features)), rnnrt.from_torch(source, spec)]
    module.eval()
    for batch, frames in ((1, 13), (3, 22)):
        x = torch.randn(batch, frames, features)
        with torch.no_grad():
            expected = module(x).numpy()
        for model in models:
            assert distance(expected, model(x.numpy())) <= TOLERANCE
            if model.streamable:
                whole = model(x[0].numpy())
                chunks = streamed(model, x[0].numpy(), r)
                assert np.array_equal(chunks.reshape(whole.shape), whole)


def random_layer(r):
    """A Keras layer over sequences."""
    activation = r.choice(
        [
            "linear",
            "relu",
            "tanh",
            "hard_sigmoid",
            "elu",
            "silu",
            "relu6",
            "leaky_relu",
            "softmax",
            L.LeakyReLU(negative_slope=0.13),
        ]
    )
    bias, units = r.random() < 0.8, r.randint(1, 5)
    cell = {"activation": r.choice(["tanh", "relu", "softsign"]), "use_bias": bias}
    gates = {"recurrent_activation": r.choice(["sigmoid", "hard_sigmoid"]), **cell}
    run = {"return_sequences": True, "go_backwards": r.random() < 0.3}
    recurrent = [
        lambda: L.SimpleRNN(units, **cell, **run),
        lambda: L.LSTM(units, **gates, **run),
        lambda: L.GRU(units, reset_after=bias, **gates, **run),
    ]
    return r.choice(
        [
            *recurrent,
            lambda: L.RNN(
                [
                    L.LSTMCell(units, **gates),
                    L.GRUCell(3, reset_after=r.random() < 0.5),
                    L.SimpleRNNCell(2, **cell),
                ],
                **run,
            ),
            lambda: L.Bidirectional(
                L.LSTM(units, return_sequences=True, **gates),
                merge_mode=r.choice(["concat", "sum", "ave", "mul"]),
            ),
            lambda: L.Conv1D(
                4,
                r.randint(1, 4),
                strides=r.randint(1, 2),
                padding=r.choice(["valid", "same", "causal"]),
                activation=activation,
            ),
            lambda: L.Conv1D(2, 2, dilation_rate=2, padding="causal", use_bias=bias),
            lambda: L.SeparableConv1D(3, 3, padding="same", depth_multiplier=2, activation=activation),
            lambda: L.DepthwiseConv1D(2, strides=2, activation=activation, use_bias=bias),
            lambda: L.BatchNormalization(scale=bias, center=r.random() < 0.5, epsilon=0.01),
            lambda: L.LayerNormalization(scale=bias, center=r.random() < 0.5, epsilon=1e-6),
            lambda: L.MaxPooling1D(r.randint(1, 3), padding=r.choice(["valid", "same"])),
            lambda: L.AveragePooling1D(2, strides=r.randint(1, 2), padding="valid"),
            lambda: L.TimeDistributed(L.Dense(units, activation=activation)),
            lambda: L.Dense(units, activation=activation, use_bias=bias),
            lambda: L.ReLU(max_value=r.choice([None, 1.5])),
            lambda: L.SpatialDropout1D(0.3),
        ]
    )()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(40))
def test_a_random_keras_network_is_equal_to_keras(seed, tmp_path):
    r, generator = random.Random(seed), np.random.RandomState(seed)
    keras.utils.set_random_seed(seed)
    ends = [
        L.GlobalAveragePooling1D(),
        L.GlobalMaxPooling1D(),
        L.Bidirectional(L.GRU(3)),
        L.LSTM(3, go_backwards=True),
        L.Dense(2),
    ]
    model = sequential(*(random_layer(r) for _ in range(r.randint(1, 4))), r.choice(ends))
    for variable in model.weights:
        values = generator.normal(0, 0.2 if "recurrent" in variable.path else 0.5, variable.shape)
        if "seed" not in variable.path:
            variable.assign(np.abs(values) + 0.3 if "variance" in variable.path else values)
    imported = rnnrt.from_keras(saved(model, r.choice(["live", "keras", "h5"]), tmp_path))
    for batch, frames in ((1, 24), (3, 41)):
        x = generator.normal(size=(batch, frames, 4)).astype(np.float32)
        expected = model(x, training=False).detach().numpy()
        assert distance(expected, imported(x)) <= TOLERANCE
        if imported.streamable:
            whole = imported(x[0])
            assert np.array_equal(streamed(imported, x[0], r).reshape(whole.shape), whole)


# ---- files of at most 1 MB that ask for far more -----------------------------------------------------------


def expanded(path):
    torch.save({"weight_ih_l0": torch.zeros(1).expand(400_000_000)}, path)


def expanded_in_a_legacy_file(path):
    torch.save(
        {f"w{k}": torch.zeros(1).expand(20_000_000) for k in range(25)},
        path,
        _use_new_zipfile_serialization=False,
    )


def zeros_packed(path):
    npy = io.BytesIO()
    np.save(npy, np.zeros(16_000_000, np.int8))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for k in range(30):
            archive.writestr(f"a{k}.npy", npy.getvalue())


def impossible_safetensors(shape):
    def write(path):
        size = 4 * int(np.prod([n for n in shape if n < 2], dtype=object))
        header = json.dumps({"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}}).encode()
        path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(size))

    return write


def never_written(path):
    """Arrays that HDF5 fills with zeros when they are read."""
    with h5py.File(path, "w") as file:
        for k in range(30):
            file.create_dataset(f"model_weights/d/a{k}", shape=(4000, 4000), dtype="f4")


def keras_config(*layers):
    def write(path):
        weights = io.BytesIO()
        with h5py.File(weights, "w") as file:
            file.create_group("layers")
        config = {
            "class_name": "Sequential",
            "config": {"name": "s", "layers": [{"class_name": n, "config": c} for n, c in layers]},
        }
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("config.json", json.dumps(config))
            archive.writestr("metadata.json", '{"keras_version": "3.0.0"}')
            archive.writestr("model.weights.h5", weights.getvalue())

    return write


WIDE = {"batch_input_shape": [None, 100, 1 << 24]}
HOSTILE = {
    "expanded.pt": (expanded, ResourceLimitError, "tensors of a file of this size"),
    "legacy.pt": (expanded_in_a_legacy_file, ResourceLimitError, "tensors of a file of this size"),
    "zeros.npz": (zeros_packed, ResourceLimitError, "would unpack to"),
    "axes.safetensors": (impossible_safetensors([1] * 50_000), ModelFileError, "shape is impossible"),
    "empty.safetensors": (
        impossible_safetensors([0, 1 << 40, 1 << 40]),
        ModelFileError,
        "shape is impossible",
    ),
    "unwritten.h5": (never_written, ResourceLimitError, "larger than this reader accepts"),
    "pads.keras": (
        keras_config(*(("ZeroPadding1D", {"name": f"z{k}", **WIDE}) for k in range(50))),
        ResourceLimitError,
        "'z0'",
    ),
    "scales.keras": (
        keras_config(*(("Rescaling", {"name": f"r{k}", "scale": 2.0, **WIDE}) for k in range(50))),
        ResourceLimitError,
        "'r0'",
    ),
    "copies.keras": (
        keras_config(
            ("InputLayer", {"name": "x", "batch_shape": [None, 2]}),
            *(
                ("RepeatVector", {"name": f"c{k}", "n": 1 << 19})
                if k % 2
                else ("GlobalMaxPooling1D", {"name": f"c{k}"})
                for k in range(1, 200)
            ),
        ),
        ResourceLimitError,
        "'c5'.*too many numbers",
    ),
    "unknown.keras": (
        keras_config(
            ("InputLayer", {"name": "x", "batch_shape": [None, None, 2]}),
            *(("Activation" if k % 2 else "Odd", {"name": f"u{k}"}) for k in range(4000)),
        ),
        UnsupportedModelError,
        "'u0'",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_small_file_takes_little_work_and_little_memory(name, tmp_path):
    write, kind, match = HOSTILE[name]
    path = tmp_path / name
    write(path)
    assert path.stat().st_size <= 1 << 20
    read = rnnrt.from_keras if name.endswith((".h5", ".keras")) else rnnrt.from_torch
    tracemalloc.start()
    try:
        with pytest.raises(kind, match=match):
            read(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200 << 20
    work = 0  # calls and returns, the same number on every machine; a second holds some two million

    def count(*_):
        nonlocal work
        work += 1

    sys.setprofile(count)
    try:
        with pytest.raises(kind):
            read(path)
    finally:
        sys.setprofile(None)
    assert work < 8_000_000
