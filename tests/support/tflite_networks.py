"""Small TFLite networks written by hand: every operator rnnrt reads, with options that converters seldom
write.

tools/record_tflite.py records what LiteRT answers to them (tests/data/tflite_answers.npz).
"""

import numpy as np
from tflite_bytes import graph, model, op

T = 6


def draw(*shape, seed=0, scale=1.0):
    return (scale * np.random.RandomState(seed).standard_normal(shape)).astype(np.float32)


def whole(*numbers):
    return np.array(numbers, np.int32)


def one(word, x=(1, None, 4), y=None, arrays=None, more="", **options):
    """A file of one operator, over x and constants."""
    arrays = arrays or {}
    made = op(word, f"x {more or ' '.join(arrays)}", "y", **options)
    return model(graph([made], {"x": x}, "y", {"y": x if y is None else y}, arrays))


FILES = {}
_PLAIN = "LOGISTIC TANH RELU RELU6 RELU_N1_TO_1 RELU_0_TO_1 ELU HARD_SWISH EXP SQUARE ABS NEG SIN COS"
_COMPARED = "LESS LESS_EQUAL GREATER GREATER_EQUAL EQUAL NOT_EQUAL"
_REDUCING = "MEAN SUM REDUCE_MAX REDUCE_MIN"
for _word in (*_PLAIN.split(), "LOG_SOFTMAX"):
    FILES[_word.lower()] = one(_word)
FILES |= {
    "leaky_relu": one("LEAKY_RELU", alpha=0.3),
    "gelu": one("GELU", approximate=0),
    "gelu_tanh": one("GELU", approximate=1),
    "softmax": one("SOFTMAX", beta=1.0),
    "softmax_beta": one("SOFTMAX", beta=0.5),
    "prelu": one("PRELU", arrays={"a": draw(1, 4, seed=1)}),
    "log_sqrt_rsqrt": model(
        graph(
            [op("ABS", "x", "a"), op("LOG", "a", "b"), op("SQRT", "a", "c"), op("RSQRT", "a", "d")],
            {"x": (1, None, 4)},
            "b c d",
            dict.fromkeys("abcd", (1, None, 4)),
        )
    ),
}

# ---- arithmetic --------------------------------------------------------------------------------------------
_C = {"c": np.array([1, -2, 0.5, 3], np.float32)}
for _fused in (0, 1, 2, 3):
    FILES[f"add_{_fused}"] = one("ADD", arrays=_C, fused=_fused)
FILES |= {
    "sub_from": model(
        graph([op("SUB", "c x", "y", fused=1)], {"x": (1, None, 4)}, "y", {"y": (1, None, 4)}, _C)
    ),
    "mul": one("MUL", arrays=_C, fused=3),
    "div": one("DIV", arrays=_C, fused=0),
    "div_by": model(
        graph(
            [op("EXP", "x", "e"), op("DIV", "c e", "y")],
            {"x": (1, None, 4)},
            "y",
            dict.fromkeys("ey", (1, None, 4)),
            _C,
        )
    ),
    "maximum": one("MAXIMUM", arrays={"c": np.float32(0.2)}),
    "minimum": one("MINIMUM", arrays={"c": np.float32(-0.2)}),
    "squared_difference": one("SQUARED_DIFFERENCE", arrays=_C),
    "pow": one("POW", arrays={"c": np.float32(2.0)}),
}


def two(word, **options):
    shape = (1, None, 4)
    made = op(word, "x z", "y", **options)
    return model(graph([made], {"x": shape, "z": shape}, "y", {"y": shape}))


FILES |= {f"two_{w.lower()}": two(w) for w in ("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM")}
FILES["two_squared_difference"] = two("SQUARED_DIFFERENCE")
FILES["add_n"] = model(
    graph([op("ADD_N", "x z x", "y")], {"x": (1, None, 4), "z": (1, None, 4)}, "y", {"y": (1, None, 4)})
)
for _word in _COMPARED.split():
    FILES[f"select_{_word.lower()}"] = model(
        graph(
            [op(_word, "x z", "m"), op("SELECT_V2", "m x z", "y")],
            {"x": (1, None, 4), "z": (1, None, 4)},
            "y",
            dict.fromkeys("my", (1, None, 4)),
            types={"m": "bool"},
        )
    )
FILES["truth"] = model(
    graph(
        [
            op("GREATER", "x z", "a"),
            op("GREATER", "x c", "b"),
            op("LOGICAL_AND", "a b", "d"),
            op("LOGICAL_NOT", "a", "e"),
            op("LOGICAL_OR", "d e", "f"),
            op("CAST", "f", "y", in_type=6, out_type=0),
        ],
        {"x": (1, None, 4), "z": (1, None, 4)},
        "y",
        dict.fromkeys("abdefy", (1, None, 4)),
        {"c": np.float32(0.1)},
        types=dict.fromkeys("abdef", "bool"),
    )
)

# ---- products ----------------------------------------------------------------------------------------------
_W = {"w": draw(5, 4, seed=2), "b": draw(5, seed=3)}


def product(x, y, bias="b", **options):
    return model(graph([op("FULLY_CONNECTED", f"x w {bias}", "y", **options)], {"x": x}, "y", {"y": y}, _W))


FILES |= {
    "product": product((1, 4), (1, 5), fused=1),
    "product_frames": product((1, None, 4), (1, None, 5), keep_num_dims=1),
    "product_rows": model(
        graph(
            [op("FULLY_CONNECTED", "x w b", "r", keep_num_dims=0), op("RESHAPE", "r s", "y")],
            {"x": (1, None, 4)},
            "y",
            {"r": (None, 5), "y": (1, None, 5)},
            _W | {"s": whole(1, -1, 5)},
        )
    ),
    "product_no_bias": product((1, None, 4), (1, None, 5), "-", fused=3, keep_num_dims=1),
    "batch_product": one("BATCH_MATMUL", y=(1, None, 5), arrays={"w": draw(4, 5, seed=2)}),
    "batch_product_adj": one("BATCH_MATMUL", y=(1, None, 5), arrays={"w": draw(5, 4, seed=2)}, adj_y=1),
}

# ---- windows -----------------------------------------------------------------------------------------------


def window(word, arrays, y, x=4, h=1, out=4, **options):
    """An operator over frames: between an axis of size one put in and taken out; ``h``: its place."""
    names = " ".join(arrays)
    shape = lambda frames, n: (1, *((1, frames) if h == 1 else (frames, 1)), n)
    ops = [
        op("EXPAND_DIMS", "x h", "i"),
        op(word, f"i {names}", "o", **options),
        op("SQUEEZE", "o", "y", squeeze_dims=[h]),
    ]
    shapes = {"i": shape(None, x), "o": shape(None, out), "y": (1, y, out)}
    return model(graph(ops, {"x": (1, None, x)}, "y", shapes, arrays | {"h": whole(h)}))


_STEP = {"stride_w": 1, "stride_h": 1}
for _name, _k, _options in (
    ("valid", 3, {"padding": 1} | _STEP),
    ("same", 4, {"padding": 0, "fused": 1} | _STEP),
    ("stride", 3, {"padding": 1, "stride_w": 2, "stride_h": 1}),
    ("same_stride", 3, {"padding": 0, "stride_w": 2, "stride_h": 1}),
    ("dilated", 3, {"padding": 1, "dilation_w": 2, "fused": 3} | _STEP),
):
    _arrays = {"w": draw(5, 1, _k, 4, seed=4), "b": draw(5, seed=5)}
    FILES[f"conv_{_name}"] = window("CONV_2D", _arrays, None, out=5, **_options)
FILES |= {
    "conv_down": window(
        "CONV_2D",
        {"w": draw(5, 3, 1, 4, seed=4), "b": draw(5, seed=5)},
        None,
        h=2,
        out=5,
        padding=1,
        **_STEP,
    ),
    "depthwise": window(
        "DEPTHWISE_CONV_2D",
        {"w": draw(1, 1, 3, 8, seed=6), "b": draw(8, seed=7)},
        None,
        out=8,
        padding=0,
        depth_multiplier=2,
        **_STEP,
    ),
    "max_pool": window("MAX_POOL_2D", {}, None, padding=1, filter_w=2, filter_h=1, stride_w=2, stride_h=1),
    "max_pool_same": window("MAX_POOL_2D", {}, None, padding=0, filter_w=3, filter_h=1, **_STEP),
    "average_pool": window(
        "AVERAGE_POOL_2D", {}, None, padding=0, filter_w=3, filter_h=1, stride_w=2, stride_h=1, fused=1
    ),
}


def transposed(taps, stride, padding, frames=T):
    out = frames * stride if padding == 0 else (frames - 1) * stride + max(taps, stride)
    arrays = {"s": whole(1, 1, out, 3), "w": draw(3, 1, taps, 4, seed=8), "b": draw(3, seed=9), "h": whole(1)}
    ops = [
        op("EXPAND_DIMS", "x h", "i"),
        op("TRANSPOSE_CONV", "s w i b", "o", padding=padding, stride_w=stride, stride_h=1),
        op("SQUEEZE", "o", "y", squeeze_dims=[1]),
    ]
    shapes = {"i": (1, 1, frames, 4), "o": (1, 1, out, 3), "y": (1, out, 3)}
    return model(graph(ops, {"x": (1, frames, 4)}, "y", shapes, arrays))


FILES |= {
    "transposed_same": transposed(4, 2, 0),
    "transposed_odd": transposed(3, 2, 0),
    "transposed_valid": transposed(5, 2, 1),
    "transposed_gaps": transposed(2, 3, 0),
    "transposed_valid_gaps": transposed(2, 3, 1),
}

# ---- axes and parts ----------------------------------------------------------------------------------------
_REDUCED = {"a": whole(1)}
for _word in _REDUCING.split():
    FILES[f"{_word.lower()}_time"] = one(_word, y=(1, 4), arrays=_REDUCED, keep_dims=0)
    FILES[f"{_word.lower()}_features"] = one(_word, y=(1, None, 1), arrays={"a": whole(-1)}, keep_dims=1)


def strided(begin, end, step, y, x=(1, T, 4), **masks):
    arrays = {"b": whole(*begin), "e": whole(*end), "s": whole(*step)}
    return one("STRIDED_SLICE", x, y, arrays, **masks)


FILES |= {
    "strided_features": strided((0, 0, 1), (1, 0, 3), (1, 1, 1), (1, T, 2), begin_mask=2, end_mask=2),
    "strided_steps": strided((0, 0, 0), (0, 0, 4), (1, 1, 2), (1, T, 2), begin_mask=3, end_mask=3),
    "strided_last": strided(
        (0, -1, 0), (0, 0, 0), (1, 1, 1), (1, 4), begin_mask=5, end_mask=5, shrink_axis_mask=2
    ),
    "strided_item": strided(
        (0, 0, -2), (0, 0, 0), (1, 1, 1), (1, T), begin_mask=3, end_mask=3, shrink_axis_mask=4
    ),
    "strided_back": strided((0, -1, 0), (0, 0, 0), (1, -1, 1), (1, T, 4), begin_mask=7, end_mask=7),
    "strided_frames": strided((0, 1, 0), (0, 5, 0), (1, 2, 1), (1, 2, 4), begin_mask=5, end_mask=5),
    "slice": one("SLICE", (1, T, 4), (1, T, 2), {"b": whole(0, 0, 1), "n": whole(-1, -1, 2)}),
    "gather": one("GATHER", (1, T, 4), (1, T, 3), {"i": whole(3, 0, 0)}, axis=2),
    "reverse": one("REVERSE_V2", arrays={"a": whole(1)}),
    "reverse_features": one("REVERSE_V2", arrays={"a": whole(2)}),
    "pad": one("PAD", y=(1, None, 4), arrays={"p": np.array([[0, 0], [2, 1], [0, 0]], np.int32)}),
    "mirror_pad": one(
        "MIRROR_PAD", (1, T, 4), (1, T + 3, 4), {"p": np.array([[0, 0], [2, 1], [0, 0]], np.int32)}, mode=0
    ),
    "parts": model(
        graph(
            [
                op("SPLIT", "a x", "p q", num_splits=2),
                op("SPLIT_V", "x n a", "r s", num_splits=2),
                op("CONCATENATION", "q s p r", "y", axis=2),
            ],
            {"x": (1, T, 4)},
            "y",
            {"p": (1, T, 2), "q": (1, T, 2), "r": (1, T, 1), "s": (1, T, 3), "y": (1, T, 8)},
            {"a": np.int32(2), "n": whole(1, -1)},
        )
    ),
    "packed": model(
        graph(
            [
                op("UNPACK", "x", "a b c", num=3, axis=1),
                op("ADD", "a b", "d"),
                op("PACK", "c d a", "y", values_count=3, axis=1),
            ],
            {"x": (1, 3, 4)},
            "y",
            dict.fromkeys("abcd", (1, 4)) | {"y": (1, 3, 4)},
        )
    ),
    "turned": model(
        graph(
            [op("TRANSPOSE", "x p", "a"), op("MUL", "a c", "b"), op("TRANSPOSE", "b p", "y")],
            {"x": (1, T, 4)},
            "y",
            {"a": (1, 4, T), "b": (1, 4, T), "y": (1, T, 4)},
            {"p": whole(0, 2, 1), "c": np.array([[1], [2], [3], [4]], np.float32)},
        )
    ),
    "embedding": model(
        graph(
            [op("GATHER", "t x", "y")],
            {"x": (1, None)},
            "y",
            {"y": (1, None, 4)},
            {"t": draw(5, 4, seed=10)},
            types={"x": "int32"},
        )
    ),
}

# ---- recurrent ---------------------------------------------------------------------------------------------
_U, _N = 3, 4


def cell(seed, units=_U, outputs=None, scale=0.5):
    """{name: array} of an LSTM's weights, recurrent weights and biases, by gate."""
    outputs = outputs or units
    made = {}
    for k, gate in enumerate("ifco"):
        made[f"w{gate}"] = draw(units, _N, seed=seed + k, scale=scale)
        made[f"r{gate}"] = draw(units, outputs, seed=seed + 10 + k, scale=scale)
        made[f"b{gate}"] = draw(units, seed=seed + 20 + k, scale=scale)
    return made


def lstm(arrays, left_out="", x=(1, None, _N), y=None, outputs=_U, norm=False, projected=False, **options):
    named = lambda n: "-" if n in left_out.split() else n
    inputs = ["x", *(named(f"w{g}") for g in "ifco"), *(named(f"r{g}") for g in "ifco"), "-", "-", "-"]
    inputs += [*(named(f"b{g}") for g in "ifco"), "p" if projected else "-", "-", "h", "c"]
    inputs += [f"n{g}" for g in "ifco"] if norm else ["-"] * 4
    kept = {n: a for n, a in arrays.items() if n in inputs}
    shapes = {"y": y or (*x[:-1], outputs), "h": (1, outputs), "c": (1, _U)}
    made = op("UNIDIRECTIONAL_SEQUENCE_LSTM", " ".join(inputs), "y", **({"fused": 4} | options))
    return model(graph([made], {"x": x}, "y", shapes, kept, variables=("h", "c")))


_NORMS = {f"n{g}": 1 + draw(_U, seed=60 + k, scale=0.2) for k, g in enumerate("ifco")}
FILES |= {
    "lstm": lstm(cell(30), cell_clip=10.0),
    "lstm_no_clip": lstm(cell(30)),
    "lstm_clipped": lstm(cell(31, scale=3.0), cell_clip=0.7),
    "lstm_coupled": lstm(cell(30), "wi ri bi"),
    "lstm_no_bias_of_coupled": lstm(cell(33), "wi ri bi", cell_clip=10.0),
    "lstm_projected": lstm(
        cell(34, outputs=2) | {"p": draw(2, _U, seed=70)}, outputs=2, projected=True, cell_clip=10.0
    ),
    "lstm_normed": lstm(cell(35) | _NORMS, norm=True, cell_clip=10.0),
    "lstm_time_first": lstm(cell(36), x=(None, 1, _N), time_major=1, cell_clip=10.0),
    "lstm_relu": lstm(cell(37), fused=1),
}


def both_lstm(merge, outputs):
    arrays, inputs = {}, ["x"]
    for side in "fb":
        own = {f"{side}{n}": a for n, a in cell(80 if side == "f" else 120).items()}
        arrays |= own
        inputs += [f"{side}w{g}" for g in "ifco"] + [f"{side}r{g}" for g in "ifco"] + ["-"] * 3
        inputs += [f"{side}b{g}" for g in "ifco"] + ["-"] * 2
    states = ["fh", "fc", "bh", "bc"]
    inputs += states + ["-"] * 9
    shapes = {n: (1, None, 2 * _U if merge else _U) for n in outputs.split()} | dict.fromkeys(states, (1, _U))
    options = {"fused": 4, "cell_clip": 10.0, "merge_outputs": merge, "time_major": 0}
    made = op("BIDIRECTIONAL_SEQUENCE_LSTM", " ".join(inputs), outputs, **options)
    return model(graph([made], {"x": (1, None, _N)}, outputs, shapes, arrays, variables=states))


def rnn_arrays(seed, side=""):
    made = {
        "w": draw(_U, _N, seed=seed),
        "r": draw(_U, _U, seed=seed + 1, scale=0.5),
        "b": draw(_U, seed=seed + 2),
    }
    return {f"{side}{n}": a for n, a in made.items()}


def rnn(fused, time_major=0):
    shapes = {"y": (1, None, _U), "h": (1, _U)}
    x = (1, None, _N)
    if time_major:
        x, shapes["y"] = (None, 1, _N), (None, 1, _U)
    made = op("UNIDIRECTIONAL_SEQUENCE_RNN", "x w r b h", "y", fused=fused, time_major=time_major)
    return model(graph([made], {"x": x}, "y", shapes, rnn_arrays(160), variables=["h"]))


def both_rnn(merge, outputs):
    inputs = "x fw fr fb fh bw br bb bh - - -"
    arrays = rnn_arrays(170, "f") | rnn_arrays(180, "b")
    shapes = {n: (1, None, 2 * _U if merge else _U) for n in outputs.split()} | dict.fromkeys(
        ("fh", "bh"), (1, _U)
    )
    made = op("BIDIRECTIONAL_SEQUENCE_RNN", inputs, outputs, fused=4, merge_outputs=merge, time_major=0)
    return model(graph([made], {"x": (1, None, _N)}, outputs, shapes, arrays, variables=["fh", "bh"]))


FILES |= {
    "both_lstm_joined": both_lstm(1, "y"),
    "both_lstm": both_lstm(0, "y z"),
    "rnn_tanh": rnn(4),
    "rnn_relu": rnn(1),
    "rnn_relu6": rnn(3),
    "rnn_plain": rnn(0),
    "rnn_time_first": rnn(4, 1),
    "both_rnn_joined": both_rnn(1, "y"),
    "both_rnn": both_rnn(0, "y z"),
}


def kept_frames():
    """A convolution that keeps its last two frames in a variable, three frames a call."""
    first = graph(
        [op("VAR_HANDLE", "", "v", shared_name="ring"), op("ASSIGN_VARIABLE", "v z", "")],
        {},
        "",
        arrays={"z": np.zeros((1, 2, _N), np.float32)},
        types={"v": "resource"},
    )
    main = graph(
        [
            op("CALL_ONCE", "", "", subgraph=1),
            op("VAR_HANDLE", "", "v", shared_name="ring"),
            op("READ_VARIABLE", "v", "old"),
            op("CONCATENATION", "old x", "all", axis=1),
            op("STRIDED_SLICE", "all b e s", "new", begin_mask=5, end_mask=7),
            op("ASSIGN_VARIABLE", "v new", ""),
            op("EXPAND_DIMS", "all h", "i"),
            op("CONV_2D", "i w c", "o", padding=1, fused=1, **_STEP),
            op("SQUEEZE", "o", "y", squeeze_dims=[1]),
        ],
        {"x": (1, 3, _N)},
        "y",
        {
            "old": (1, 2, _N),
            "all": (1, 5, _N),
            "new": (1, 2, _N),
            "i": (1, 1, 5, _N),
            "o": (1, 1, 3, 5),
            "y": (1, 3, 5),
        },
        {
            "b": whole(0, -2, 0),
            "e": whole(0, 0, 0),
            "s": whole(1, 1, 1),
            "h": whole(1),
            "w": draw(5, 1, 3, _N, seed=190),
            "c": draw(5, seed=191),
        },
        types={"v": "resource"},
    )
    return model(main, first)


FILES["kept_frames"] = kept_frames()


def sample(name, batch=1, seed=0, frames=T):
    """Inputs of a network: [array]."""
    shapes = {
        "product": [(batch, 4)],
        "packed": [(batch, 3, 4)],
        "kept_frames": [(batch, 3, 4)],
        "lstm_time_first": [(frames, batch, 4)],
        "rnn_time_first": [(frames, batch, 4)],
    }
    count = 2 if name.startswith(("two_", "select_", "add_n", "truth")) else 1
    if name == "embedding":
        return [np.random.RandomState(seed).randint(0, 5, (batch, frames)).astype(np.int32)]
    own = shapes.get(name, [(batch, frames, 4)] * count)
    return [draw(*shape, seed=1000 * seed + 500 + k) for k, shape in enumerate(own)]
