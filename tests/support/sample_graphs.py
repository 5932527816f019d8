"""Two graphs that tests of files share: a small one, and one in which every layer and every type of field
occurs.
"""

import numpy as np

from rnnrt import verification
from rnnrt.format import file, graph_json
from rnnrt.graph import GraphBuilder
from rnnrt.layers import (
    GRU,
    LSTM,
    Activation,
    Add,
    Affine,
    Attention,
    AveragePool1D,
    BatchNormalization,
    Concatenate,
    Conv1D,
    Conv2D,
    ConvTranspose1D,
    Crop1D,
    Dense,
    Divide,
    Embedding,
    Equal,
    Expand,
    FeatureMax,
    First,
    Flatten,
    GlobalAveragePool,
    GlobalMaxPool,
    GlobalSum,
    GlobalVariance,
    Greater,
    GreaterEqual,
    Last,
    LayerNormalization,
    LogSoftmax,
    Maximum,
    MaxPool1D,
    Multiply,
    NotEqual,
    Pad1D,
    Reshape,
    Reverse,
    Scan,
    Select,
    SimpleRNN,
    Softmax,
    TimeDistributed,
    Unflatten,
    Where,
)
from rnnrt.lowered import Lowered


def normal(*shape, seed=0):
    return np.random.default_rng(seed + sum(shape)).standard_normal(shape).astype(np.float32)


def small_graph():
    b = GraphBuilder()
    x = b.input("x", (2,))
    h = b.add(
        GRU,
        "gru",
        x,
        weight=normal(9, 2),
        recurrent_weight=normal(9, 3),
        bias=normal(9),
        recurrent_bias=normal(9),
    )
    b.output("y", b.add(Dense, "fc", b.add(Last, "last", h), weight=normal(1, 3), bias=normal(1)))
    return b.graph(metadata={"source": "test"})


def small_file(folder):
    """The small graph as a file, with a sample and where it came from."""
    graph = small_graph()
    path = folder / "small.rnnrt"
    golden, provenance = verification.reference_sample(graph), {"from": "a test"}
    file.save(graph, path, golden=golden, provenance=provenance, lower=Lowered)
    return path


def step_graph():
    """The step of a cell with states of 4 and 3 numbers over frames of 2."""
    step = GraphBuilder()
    x, s, t = (step.input(name, (n,), time=False) for name, n in (("frame", 2), ("s", 4), ("t", 3)))
    joined = step.add(Concatenate, "join", x, s, t)
    step.output("next_s", step.add(Dense, "new_s", joined, weight=normal(4, 9), activation="tanh"))
    step.output("next_t", step.add(Dense, "new_t", joined, weight=normal(3, 9), activation="softsign"))
    step.output("y", step.add(Dense, "out", joined, weight=normal(2, 9), bias=normal(2)))
    return step.graph()


def _joined(b, x, value):
    """What joins, and what leaves out and makes up frames: a value of one number."""
    for mode in ("constant", "replicate", "reflect"):
        x = b.add(Pad1D, f"pad_{mode}", x, before=1, after=2, mode=mode, value=0.5)
    x = b.add(Crop1D, "crop", x, before=2, after=1, stride=2)
    over = b.add(Divide, "divide", b.add(Maximum, "maximum", x, x), x)
    width = b.signal(x).width
    wide = b.add(Expand, "expand", x, b.add(Select, "as_wide", value, index=(0,) * width))
    said = [b.add(kind, kind.kind, over, wide) for kind in (Greater, GreaterEqual, Equal)]
    most = b.add(FeatureMax, "feature_max", b.add(Where, "where", said[0], said[1], said[2]))
    once = [b.add(GlobalVariance, "variance", most, correction=1.0), b.add(GlobalSum, "total", most)]
    once.append(b.add(First, "first", b.add(LogSoftmax, "log_softmax", most)))
    return b.add(Concatenate, "once", *once)


def graph_with_every_layer():
    """One graph in which every kind of layer and every type of field occurs."""
    inner = GraphBuilder()
    h = inner.add(
        Conv1D,
        "conv",
        inner.input("frame", (2,), length=4),
        weight=normal(3, 2, 2),
        bias=normal(3),
        dilation=2,
    )
    inner.output("out", inner.add(Flatten, "flatten", h))
    b = GraphBuilder()
    x = b.input("x", (3,), length=12, axes="bft")
    ids = b.input("ids", (), ids=True, length=12)
    h0 = b.input("h0", (4,), time=False)
    embedded = b.add(Embedding, "table", ids, weight=normal(5, 3))
    h = b.add(
        BatchNormalization, "bn", x, mean=normal(3), variance=np.abs(normal(3)), gamma=normal(3), epsilon=1e-5
    )
    h = b.add(Multiply, "product", h, b.add(Affine, "affine", embedded, scale=normal(3), offset=normal(3)))
    h = b.add(
        Conv1D, "conv", h, weight=normal(6, 3, 1), groups=3, padding="same", activation=("leaky_relu", 0.2)
    )
    h = b.add(ConvTranspose1D, "up", h, weight=normal(6, 3, 6), padding=(0, 2), activation="tanh")
    h = b.add(Reshape, "image", h, features=(3, 2))
    h = b.add(
        Conv2D, "conv2d", h, weight=normal(2, 1, 2, 2), bin_dilation=2, padding="same", bin_padding=(1, 1)
    )
    h = b.add(Reshape, "row", h, features=(6,))
    h = b.add(
        MaxPool1D,
        "max",
        b.add(AveragePool1D, "mean", h, size=3, stride=1, padding=(1, 1), count_padding=True),
        size=2,
        stride=2,
    )
    h = b.add(
        SimpleRNN,
        "rnn",
        h,
        h0,
        weight=normal(4, 6),
        recurrent_weight=normal(4, 4),
        norm="gates",
        gamma=normal(4),
        reverse=True,
    )
    h = b.add(
        GRU,
        "gru",
        h,
        weight=normal(12, 4),
        recurrent_weight=normal(12, 4),
        reset_after=False,
        recurrent_activation="hard_sigmoid",
    )
    real = b.add(NotEqual, "mask", h, value=0.5)
    for fields in ({"heads": 2, "causal": True, "masked_score": -9.0}, {"weight": normal(4), "bias": [0.5]}):
        h = b.add(Attention, "attention", h, h, h, real, scale=0.5, **fields)
    h = b.add(
        LSTM,
        "lstm",
        h,
        weight=normal(20, 4),
        recurrent_weight=normal(20, 2),
        projection=normal(2, 5),
        epsilon=1e-12,
        mask=real,
        masked_output="zero",
    )
    h = b.add(Scan, "scan", h, h0, graph=step_graph(), states=("s", "t"), started=("s",), initial=normal(7))
    wide = b.add(Concatenate, "wide", h, "lstm:cells", b.add(Reverse, "reverse", h))
    wide = b.add(Add, "sum", wide, b.add(LayerNormalization, "ln", wide, size=9, gamma=normal(9)))
    picked = b.add(
        Select,
        "pick",
        b.add(Activation, "gelu", wide, activation="gelu_tanh"),
        index=(8, 0, 1, 2, 3, 4, 5, 7),
    )
    inside = b.add(
        TimeDistributed, "per_frame", b.add(Reshape, "reshape", picked, features=(4, 2)), graph=inner.graph()
    )
    pooled = b.add(
        Concatenate,
        "pooled",
        b.add(GlobalMaxPool, "gmax", inside),
        b.add(GlobalAveragePool, "gmean", inside, mask=real),
    )
    again = b.add(Dense, "fc", b.add(Unflatten, "unflatten", pooled, length=3), weight=normal(2, 4))
    b.output("joined", _joined(b, inside, pooled))
    b.output("classes", b.add(Softmax, "softmax", again), "tbf")
    b.output("state", "lstm:c")
    b.output("last", b.add(Last, "last", inside))
    return b.graph(metadata={"source": "test", "assumed": ["epsilon", 0.001, None, True]})


def same(one, other):
    """Whether two graphs agree in every field, array and nested graph."""
    assert file.canonical_json(one) == file.canonical_json(other)
    first, second = graph_json.encode(one)[1], graph_json.encode(other)[1]
    assert list(first) == list(second)
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])
        assert not second[name].flags.writeable
    return True
