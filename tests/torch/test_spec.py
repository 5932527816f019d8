"""The spec: a live module's state dict, its draft, filled in, is the live module; whatever is missing or left
over is refused by name.
"""

import re
from pathlib import Path

import numpy as np
import pytest
from needs import need

from rnnrt import reference
from rnnrt.errors import ModelFileError, RnnrtError, ShapeError, UnsupportedModelError
from rnnrt.importers.spec import build as spec
from rnnrt.importers.torch.files import read_tensors, unwrap

DATA = Path(__file__).parents[1] / "data" / "torch"
NET = """
input channels_first
conv: Conv1d stride=2 padding=2
bn: BatchNorm1d
relu
gru: GRU      # both directions
last
fc: Linear
"""


def answer(graph, x):
    """What ``graph`` says of ``x`` in the source's own axes."""
    order = graph[graph.inputs[0]].axes
    x = np.transpose(x, [order.index(a) for a in "btf"]) if x.ndim == 3 else x
    y = reference.run(graph, {"input": x})[0]["output"]
    return np.transpose(y, ["btf".index(a) for a in graph.outputs[0].axes]) if y.ndim == 3 else y


@pytest.mark.parametrize(
    "name, key", [("net.pt", "y"), ("net_legacy.pt", "y"), ("net.safetensors", "y_bfloat16")]
)
def test_recorded_network(name, key):
    recorded = np.load(DATA / "net.npz")
    graph = spec.build(NET, unwrap(read_tensors(DATA / name)), {"source": "recorded"})
    assert graph.metadata["source"] == "recorded" and graph.signals["input"].features == (3,)
    assert np.abs(answer(graph, recorded["x"]) - recorded[key]).max() < 1e-6


# ---- live modules: module -> state dict -> draft -> filled in -> the same answer ---------------------------


def modules():
    """name -> (modules by name, forward(modules, x), input shape or ids, spec: "@prefix ..." fills in the
    draft's line).
    """
    torch = need("torch")
    nn, functional = torch.nn, torch.nn.functional

    def rnn(kind, *sizes, **options):
        return getattr(nn, kind)(*sizes, batch_first=True, **options)

    def cell_over_time(cell, x):
        h, made = torch.zeros(len(x), cell.hidden_size), []
        for t in range(x.shape[1]):
            h = cell(x[:, t], h)
            made.append(h)
        return torch.stack(made, 1)

    def per_frame(m, x):
        y = functional.max_pool1d(functional.relu(m["conv"](x.reshape(-1, 1, 20))), 2)
        return m["rnn"](m["fc"](y.flatten(1)).reshape(*x.shape[:2], -1))[0]

    def activations(m, x):
        x = functional.softsign(functional.silu(functional.selu(functional.hardsigmoid(m["fc"](x)))))
        return functional.hardtanh(functional.gelu(x, approximate="tanh"), 0.0, 0.3)

    def pools(m, x):
        x = functional.avg_pool1d(functional.max_pool1d(m["c"](x), 3, 2, 1), 2)
        return m["fc"](functional.adaptive_avg_pool1d(x, 1).flatten(1))

    return {
        "lstm, two layers, both directions": (
            {"": rnn("LSTM", 3, 4, 2, bidirectional=True)},
            lambda m, x: m[""](x)[0],
            (2, 6, 3),
            ["@ "],
        ),
        "lstm, projection": (
            {"a.lstm": rnn("LSTM", 3, 5, 2, proj_size=2)},
            lambda m, x: m["a.lstm"](x)[0],
            (2, 6, 3),
            ["@a.lstm proj_size=2"],
        ),
        "relu rnn, last": (
            {"rnn": rnn("RNN", 3, 4, nonlinearity="relu"), "fc": nn.Linear(4, 2)},
            lambda m, x: m["fc"](m["rnn"](x)[0][:, -1]),
            (2, 6, 3),
            ["@rnn nonlinearity=relu", "last", "@fc"],
        ),
        "tanh rnn without bias": (
            {"rnn": rnn("RNN", 3, 4, bias=False)},
            lambda m, x: m["rnn"](x)[0],
            (1, 5, 3),
            ["@rnn nonlinearity=tanh bias=False"],
        ),
        "gru, final state of both directions": (
            {"gru": rnn("GRU", 3, 4, 2, bidirectional=True), "fc": nn.Linear(8, 2)},
            lambda m, x: functional.softmax(m["fc"](m["gru"](x)[1][-2:].transpose(0, 1).flatten(1)), -1),
            (2, 6, 3),
            ["@gru", "Dropout p=0.5", "last_state", "@fc", "softmax dim=-1"],
        ),
        "gru cell over time": (
            {"cell": nn.GRUCell(3, 4)},
            lambda m, x: cell_over_time(m["cell"], x),
            (2, 5, 3),
            ["@cell"],
        ),
        "relu cell over time": (
            {"cell": nn.RNNCell(3, 4, nonlinearity="relu")},
            lambda m, x: cell_over_time(m["cell"], x),
            (2, 5, 3),
            ["@cell nonlinearity=relu"],
        ),
        "convolutions": (
            {
                "0": nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2),
                "1": nn.BatchNorm1d(6, eps=1e-2),
                "3": nn.Conv1d(6, 5, 4, dilation=2, padding="same"),
            },
            lambda m, x: functional.leaky_relu(m["3"](functional.elu(m["1"](m["0"](x)))), 0.2),
            (2, 4, 15),
            [
                "input channels_first",
                "@0 stride=2 padding=1 dilation=1 groups=2",
                "@1 eps=0.01",
                "elu",
                "@3 stride=1 padding=same dilation=2 groups=1",
                "LeakyReLU negative_slope=0.2",
            ],
        ),
        "convolutions that copy frames": (
            {
                "0": nn.Conv1d(4, 4, 3, padding=2, stride=2, padding_mode="reflect"),
                "1": nn.Conv1d(4, 4, 4, padding="same", dilation=2, padding_mode="replicate"),
                "2": nn.Conv1d(4, 3, 3, padding=1, padding_mode="circular"),
            },
            lambda m, x: m["2"](m["1"](m["0"](x))),
            (2, 4, 15),
            [
                "input channels_first",
                "@0 stride=2 padding=2 dilation=1 groups=1 padding_mode=reflect",
                "@1 stride=1 padding=same dilation=2 groups=1 padding_mode=replicate",
                "@2 stride=1 padding=1 dilation=1 groups=1 padding_mode=circular",
            ],
        ),
        "convolution on frames": (
            {"c": nn.Conv1d(3, 5, 3, bias=False)},
            lambda m, x: m["c"](x.transpose(1, 2)).transpose(1, 2),
            (2, 9, 3),
            ["input channels_last", "@c stride=1 padding=0 dilation=1 groups=1"],
        ),
        "pools": (
            {"c": nn.Conv1d(3, 4, 3), "fc": nn.Linear(4, 2)},
            pools,
            (2, 3, 20),
            [
                "input channels_first",
                "@c stride=1 padding=valid dilation=1 groups=1",
                "MaxPool1d 3 stride=2 padding=1",
                "avg_pool1d 2",
                "AdaptiveAvgPool1d 1",
                "flatten",
                "@fc",
            ],
        ),
        "greatest over time": (
            {"gru": rnn("GRU", 3, 4)},
            lambda m, x: torch.tanh(m["gru"](x)[0]).max(1).values,
            (2, 6, 3),
            ["@gru", "Tanh", "max"],
        ),
        "mean over time": (
            {"gru": rnn("GRU", 3, 4)},
            lambda m, x: m["gru"](x)[0].mean(1),
            (2, 6, 3),
            ["@gru", "mean"],
        ),
        "flatten, channels first": (
            {"c": nn.Conv1d(3, 4, 3), "fc": nn.Linear(4 * 8, 2)},
            lambda m, x: m["fc"](m["c"](x).flatten(1)),
            (2, 3, 10),
            ["input channels_first length=10", "@c stride=1 padding=0 dilation=1 groups=1", "flatten", "@fc"],
        ),
        "flatten, channels last": (
            {"c": nn.Conv1d(3, 4, 3), "l": rnn("LSTM", 4, 5), "fc": nn.Linear(5 * 8, 2)},
            lambda m, x: m["fc"](m["l"](m["c"](x).transpose(1, 2))[0].flatten(1)),
            (2, 3, 10),
            [
                "input channels_first length=10",
                "@c stride=1 padding=0 dilation=1 groups=1",
                "@l",
                "flatten channels_last",
                "@fc",
            ],
        ),
        "embedding": (
            {
                "emb": nn.Embedding(7, 3),
                "lstm": rnn("LSTM", 3, 4),
                "norm": nn.LayerNorm(4, eps=1e-3),
                "head": nn.Linear(4, 2, bias=False),
            },
            lambda m, x: m["head"](m["norm"](m["lstm"](m["emb"](x))[0])),
            "ids",
            ["@emb Embedding", "@lstm", "@norm LayerNorm eps=1e-3", "@head Linear bias=False"],
        ),
        "per frame": (
            {"conv": nn.Conv1d(1, 2, 5), "fc": nn.Linear(16, 6), "rnn": rnn("LSTM", 6, 4)},
            per_frame,
            (2, 5, 20),
            [
                "input features=20",
                "per_frame",
                "@conv stride=1 padding=0 dilation=1 groups=1",
                "relu",
                "max_pool1d 2",
                "flatten",
                "@fc",
                "end",
                "@rnn",
            ],
        ),
        "per frame, two channels": (
            {"conv": nn.Conv1d(2, 3, 3)},
            lambda m, x: m["conv"](x.reshape(-1, 2, 6)).mean(-1).reshape(*x.shape[:2], -1),
            (2, 5, 12),
            [
                "input features=12",
                "per_frame channels=2",
                "@conv stride=1 padding=0 dilation=1 groups=1",
                "mean",
                "end",
            ],
        ),
        "more pools": (
            {"c": nn.Conv1d(3, 4, 3)},
            lambda m, x: functional.adaptive_max_pool1d(
                functional.adaptive_avg_pool1d(
                    functional.avg_pool1d(functional.pad(m["c"](x), (2, 2)), 3, 2, 1, ceil_mode=True), 4
                ),
                3,
            ),
            (2, 3, 20),
            [
                "input channels_first length=20",
                "@c stride=1 padding=0 dilation=1 groups=1",
                "ZeroPad1d padding=2",
                "AvgPool1d 3 stride=2 padding=1 ceil_mode=True",
                "AdaptiveAvgPool1d 4",
                "AdaptiveMaxPool1d 3",
            ],
        ),
        "softplus": (
            {"fc": nn.Linear(3, 4), "n": nn.RMSNorm(4)},
            lambda m, x: functional.softplus(
                m["n"](functional.softplus(3 * m["fc"](x) / 3, beta=2.0)), beta=0.5, threshold=0.25
            ),
            (2, 6, 3),
            ["@fc", "Softplus beta=2.0", "@n RMSNorm eps=None", "softplus beta=0.5 threshold=0.25"],
        ),
        "activations": (
            {"fc": nn.Linear(3, 3)},
            activations,
            (2, 4, 3),
            [
                "@fc",
                "hardsigmoid",
                "SELU",
                "silu",
                "softsign",
                "gelu approximate=tanh",
                "Hardtanh min_val=0 max_val=0.3",
            ],
        ),
    }


NAMES = (
    "lstm, two layers, both directions",
    "lstm, projection",
    "relu rnn, last",
    "tanh rnn without bias",
    "gru, final state of both directions",
    "gru cell over time",
    "relu cell over time",
    "convolutions",
    "convolutions that copy frames",
    "convolution on frames",
    "pools",
    "greatest over time",
    "mean over time",
    "flatten, channels first",
    "flatten, channels last",
    "embedding",
    "per frame",
    "per frame, two channels",
    "more pools",
    "softplus",
    "activations",
)


def filled_in(draft, lines):
    """The draft's lines in the order of ``lines``, each '?' replaced by what ``lines`` say, the lines without
    tensors added.
    """
    assert "?" in draft
    drafted = {}
    for line in draft.splitlines():
        line = line.partition("#")[0].strip()
        if line and not line.startswith("input"):
            prefix, colon, rest = line.rpartition(": ")
            drafted[prefix] = (f"{prefix}: " if colon else "", rest)
    made = []
    for line in lines:
        if line.startswith("@"):
            prefix, _, options = line[1:].partition(" ")
            start, rest = drafted.pop(prefix)
            for unknown in re.findall(r"(\w+)=\?", rest):
                assert f"{unknown}=" in options, f"the draft asks for {unknown}"
            rest = re.sub(r"\s*\w+=\?|^\?$", "", rest)
            line = f"{start}{rest} {options}"
        made.append(line)
    assert not drafted, f"nothing was said of {drafted}"
    return made


@pytest.fixture(scope="module")
def live():
    return modules()


def made_ready(case):
    """(tensors, forward, x) of a case, with statistics of their own in the normalisations."""
    torch = need("torch")
    parts, forward, shape, _ = case
    torch.manual_seed(3)
    for part in parts.values():
        for name, buffer in part.named_buffers():
            if name.startswith("running"):
                buffer.copy_(torch.rand(buffer.shape) + 0.5)
        for parameter in part.parameters():
            parameter.data.mul_(1.5).add_(0.01)
        part.eval()
    state = {}
    for prefix, part in parts.items():
        state |= {f"{prefix}.{k}" if prefix else k: v for k, v in part.state_dict().items()}
    x = torch.randint(0, 7, (2, 9)) if shape == "ids" else torch.randn(*shape)
    with torch.no_grad():
        y = forward(parts, x)
    return unwrap(read_tensors(state)), x.numpy(), y.numpy()


def test_every_case_is_listed(live):
    assert list(live) == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_draft_filled_in_is_the_module(live, name):
    tensors, x, y = made_ready(live[name])
    lines = filled_in(spec.draft(tensors), live[name][3])
    graph = spec.build("\n".join(lines), tensors)
    found = answer(graph, x)
    assert found.shape == y.shape
    assert np.abs(found - y).max() <= 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_anything_removed_is_refused_by_name(live, name):
    tensors, _, _ = made_ready(live[name])
    lines = filled_in(spec.draft(tensors), live[name][3])
    for k, said in enumerate(live[name][3]):
        if said.startswith("@"):
            prefix = said[1:].partition(" ")[0]
            with pytest.raises(UnsupportedModelError) as caught:
                spec.build("\n".join(lines[:k] + lines[k + 1 :]), tensors)
            assert prefix in str(caught.value) and "order?" in caught.value.draft
    for removed in tensors:
        if removed.endswith("bias") and "running_mean" not in str(
            [n for n in tensors if n.startswith(removed[:-4])]
        ):
            continue  # a module without bias is a module of its own; see below
        with pytest.raises(RnnrtError) as caught:
            spec.build("\n".join(lines), {n: a for n, a in tensors.items() if n != removed})
        message = str(caught.value)
        assert removed.rpartition(".")[2] in message and "line" in message, message


@pytest.mark.parametrize(
    "kind, said",
    [("Conv1d", f"padding=1 padding_mode={m}") for m in ("zeros", "reflect", "replicate", "circular")]
    + [("AvgPool1d", "padding=1 ceil_mode=True"), ("AvgPool1d", "padding=1")],
)
def test_as_many_frames_as_before_can_be_added_to_those(kind, said):
    """Padding that stands before its window counts among its frames."""
    torch = need("torch")
    torch.manual_seed(4)
    conv, x = torch.nn.Conv1d(4, 4, 3), torch.randn(2, 4, 9)
    told = [word.partition("=")[::2] for word in said.split()]
    options = {name: {"True": True, "1": 1}.get(value, value) for name, value in told}
    if kind == "Conv1d":
        module = torch.nn.Conv1d(4, 4, 3, **options)
        module.load_state_dict(conv.state_dict())
        lines = [f"y = c: Conv1d x stride=1 dilation=1 groups=1 {said}", "add x y"]
        wanted = x + module(x)
    else:
        wanted = conv(x) + torch.nn.AvgPool1d(3, 1, **options)(conv(x))
        lines = ["z = c: Conv1d x stride=1 dilation=1 groups=1 padding=0"]
        lines += [f"y = AvgPool1d 3 stride=1 {said}", "add z y"]
    tensors = unwrap(read_tensors({f"c.{k}": v for k, v in conv.state_dict().items()}))
    graph = spec.build("\n".join(["x = input channels_first", *lines]), tensors)
    (found,) = reference.run(graph, {"x": x.numpy().swapaxes(1, 2)})[0].values()
    assert np.abs(found.swapaxes(1, 2) - wanted.detach().numpy()).max() < 1e-5


def test_an_instance_norm_with_statistics_is_a_batch_norm():
    random = np.random.default_rng(6)
    names = ("n.weight", "n.bias", "n.running_mean", "n.running_var")
    tensors = {name: random.uniform(0.5, 2, 4).astype(np.float32) for name in names}
    said = "input channels_first\nn: {}1d momentum=None eps=0.01"
    x = random.standard_normal((2, 4, 7)).astype(np.float32)
    found, wanted = (answer(spec.build(said.format(k), tensors), x) for k in ("InstanceNorm", "BatchNorm"))
    assert np.abs(found - wanted).max() < 1e-6
    del tensors["n.running_var"]
    with pytest.raises(ModelFileError, match="running_var is missing"):
        spec.build(said.format("InstanceNorm"), tensors)


def test_a_bias_that_was_written_may_not_be_missing():
    tensors = {"fc.weight": np.ones((2, 3), np.float32)}
    spec.build("fc: Linear", tensors)
    with pytest.raises(ShapeError, match="line 1.*bias.*False.*True"):
        spec.build("fc: Linear bias=True", tensors)


# ---- without a spec ----------------------------------------------------------------------------------------


def rnn_tensors(gates, prefix="", units=4, width=3):
    rng = np.random.default_rng(0)
    shapes = {
        "weight_ih_l0": (gates * units, width),
        "weight_hh_l0": (gates * units, units),
        "bias_ih_l0": (gates * units,),
        "bias_hh_l0": (gates * units,),
    }
    return {prefix + n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}


def test_exactly_one_lstm_or_gru_needs_no_spec():
    for gates, kind in ((4, "lstm"), (3, "gru")):
        for prefix in ("", "encoder.rnn."):
            assert [x.kind for x in spec.build(None, rnn_tensors(gates, prefix)).layers] == ["input", kind]


def test_anything_else_asks_with_a_draft():
    cases = {
        "nonlinearity": (rnn_tensors(1), "RNN nonlinearity=?"),
        "do not tell": (
            rnn_tensors(4, "lstm.") | {"fc.weight": np.ones((2, 4)), "fc.bias": np.ones(2)},
            "fc: Linear",
        ),
        "do not tell how": ({"a": np.ones((2, 2, 2, 2))}, "the tensor a (2, 2, 2, 2)"),
    }
    for words, (tensors, line) in cases.items():
        with pytest.raises(UnsupportedModelError, match=words) as caught:
            spec.build(None, tensors)
        assert line in caught.value.draft and line in str(caught.value) and "order?" in caught.value.draft
        if "?" in re.sub("#.*", "", caught.value.draft):
            with pytest.raises(UnsupportedModelError, match="'\\?'"):
                spec.build(caught.value.draft, tensors)
    with pytest.raises(UnsupportedModelError):
        spec.build("", rnn_tensors(4))


def test_a_draft_cannot_be_broken_by_names():
    draft = spec.draft(
        {"a\nb: Linear\x1b[0m.weight": np.ones((2, 2)), "": np.ones(1), "x" * 5000: np.ones(1)}
    )
    assert len(draft.splitlines()) == 5 and "\x1b" not in draft and max(map(len, draft.splitlines())) <= 400


# ---- arrays with names of their own ------------------------------------------------------------------------


def test_options_name_arrays():
    torch = need("torch")
    gru, fc = torch.nn.GRU(3, 4, batch_first=True), torch.nn.Linear(4, 2)
    state = gru.state_dict()
    arrays = {
        "enc_w_ih": state["weight_ih_l0"],
        "enc_w_hh": state["weight_hh_l0"],
        "enc_b_ih": state["bias_ih_l0"],
        "enc_b_hh": state["bias_hh_l0"],
    }
    arrays |= {"fc_w": fc.weight, "fc_b": fc.bias, "dec_w": torch.ones(2)}
    text = """
        enc: GRU weight_ih_l0=enc_w_ih weight_hh_l0=enc_w_hh bias_ih_l0=enc_b_ih bias_hh_l0=enc_b_hh
        fc: Linear weight=fc_w bias=fc_b
        ignore dec_*
    """
    tensors = unwrap(read_tensors(arrays))
    x = torch.randn(2, 5, 3)
    with torch.no_grad():
        y = fc(gru(x)[0]).numpy()
    assert np.abs(answer(spec.build(text, tensors), x.numpy()) - y).max() < 1e-6
    with pytest.raises(ModelFileError, match="line 3.*'fc_x'"):
        spec.build(text.replace("bias=fc_b", "bias=fc_x"), tensors)
    with pytest.raises(UnsupportedModelError, match="fc_b"):
        spec.build(text.replace("bias=fc_b", ""), tensors)


def test_a_module_may_run_twice():
    w = np.random.default_rng(0).standard_normal((3, 3)).astype(np.float32)
    graph = spec.build("fc: Linear\nrelu\nfc: Linear", {"fc.weight": w})
    x = np.ones((1, 2, 3))
    assert np.allclose(answer(graph, x), np.maximum(x @ w.T, 0) @ w.T)


# ---- what is refused ---------------------------------------------------------------------------------------

CONV = {"c.weight": np.ones((4, 3, 2), np.float32)}
REFUSED = [
    ("lstm: LSTM\nlstm: Foo", "line 2.*'Foo'"),
    ("lstm: GRU", "line 1.*GRU"),
    ("other: LSTM", "line 1.*no tensors for LSTM.*other"),
    ("lstm: LSTM hidden_size=5", "line 1.*hidden_size.*4.*5"),
    ("lstm: LSTM num_layers=2", "num_layers"),
    ("lstm: LSTM bidirectional=True", "bidirectional"),
    ("lstm: LSTM batch_first=False", "batch_first"),
    ("lstm: LSTM nonlinearity=relu", "no option 'nonlinearity'"),
    ("lstm: LSTM foo=1", "no option 'foo'"),
    ("lstm: LSTM dropout=x", "impossible value"),
    ("lstm: LSTM dropout=nan", "impossible value"),
    ("lstm: LSTM dropout=True", "impossible value"),
    ("lstm: LSTM dropout", "option needs a value"),
    ("lstm: LSTM weight=lstm.bias_ih_l0", "LSTM has no tensor 'weight'"),
    ("lstm: LSTM bias_ih_l0=nothing", "no tensor 'nothing'"),
    ("lstm: LSTM dropout=0 dropout=0", "twice"),
    ("lstm:", "names no operation"),
    ("lstm: LSTM\nlast last", "line 2"),
    ("lstm: LSTM\nlast x=1", "line 2.*no option"),
    ("lstm: LSTM\nlast\nlast", "line 3"),
    ("lstm: LSTM\nrelu\nlast_state", "line 3.*last_state must follow"),
    ("lstm: LSTM\nrelu: relu", "line 2.*takes no prefix"),
    ("lstm: LSTM\ngelu approximate=erf", "line 2.*approximat"),
    ("lstm: LSTM\nleaky_relu negative_slope=x", "line 2.*impossible"),
    ("lstm: LSTM\nleaky_relu negative_slop=0.1", "line 2.*negative_slop"),
    ("lstm: LSTM\nMaxPool1d", "line 2.*kernel_size"),
    ("lstm: LSTM\nMaxPool1d 2 3", "line 2"),
    ("lstm: LSTM\nAdaptiveAvgPool1d 3", "line 2.*one frame"),
    ("lstm: LSTM\nsoftmax dim=0", "line 2.*features"),
    ("lstm: LSTM\ntranspose", "line 2.*leave it out"),
    ("lstm: LSTM\nflatten", "line 2.*length"),
    ("lstm: LSTM\ninput channels_first", "line 2.*first line"),
    ("input channels_firs\nlstm: LSTM", "line 1.*channels_firs"),
    ("input channels_first channels_last\nlstm: LSTM", "line 1"),
    ("input features=x\nlstm: LSTM", "line 1"),
    ("input features=7\nlstm: LSTM", "line 2.*7"),
    ("input features=0\nlstm: LSTM", "1 to"),
    ("input features=999999999999\nlstm: LSTM", "1 to"),
    ("flatten\nlstm: LSTM", "input features=N"),
    ("per_frame\nlast\nend\nlstm: LSTM", "input features=N"),
    ("lstm: LSTM\nper_frame\nmean", "per_frame has no end"),
    ("lstm: LSTM\nper_frame\nend", "line 3.*one value"),
    ("lstm: LSTM\nper_frame\nper_frame", "line 3.*inside"),
    ("lstm: LSTM\nper_frame channels=3", "line 2.*channels"),
    ("end\nlstm: LSTM", "line 1|input features"),
    ("lstm: LSTM\nignore fc*", "line 2.*fc"),
    ("lstm: LSTM\nignore lstm.bias*", "ignored and used"),
    ("lstm: LSTM\nignore", "line 2.*names no tensor"),
    ("relu\nignore lstm*", "input features=N"),
    ("lstm: LSTM = 3", "line 1"),
    ("__class__", "line 1.*__class__"),
    ("lstm: LSTM\n" + "relu\n" * 5000, "too long"),
]


@pytest.mark.parametrize("text, words", REFUSED)
def test_refused(text, words):
    with pytest.raises(RnnrtError, match=words):
        spec.build(text, rnn_tensors(4, "lstm."))


@pytest.mark.parametrize(
    "text, words",
    [
        ("c: Conv1d padding=same stride=2", "line 1.*stride"),
        ("c: Conv1d padding=reflect", "line 1.*reflect"),
        ("c: Conv1d padding=1 padding_mode=mirror", "line 1.*padding_mode"),
        ("c: Conv1d kernel_size=3", "line 1.*kernel_size.*2.*3"),
        ("c: Conv1d stride=0", "line 1.*stride"),
        ("c: Conv1d stride=1.5", "line 1.*stride"),
        ("c: Linear", "line 1.*axes"),
        ("input channels_first\nc: Conv1d\nsoftmax", "line 3.*dim"),
        ("input channels_last length=9\nc: Conv1d\nflatten", "line 3.*channels_first"),
    ],
)
def test_convolutions_refused(text, words):
    with pytest.raises(RnnrtError, match=words):
        spec.build(text, CONV)


def test_a_spec_is_text():
    for text in (7, b"LSTM", ["LSTM"]):
        with pytest.raises(UnsupportedModelError, match="text"):
            spec.build(text, rnn_tensors(4))
