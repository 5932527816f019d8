"""One list of configurations: the tests and the benchmarks both walk it.

A case is a name and a function that builds its graph with asymmetric random weights. Sizes are those that
bite: one, just under, at and over a vector of 4, 8 and 16 lanes, over a panel, over a segment of 64 terms.
The functions stand in case_layers.py, case_networks.py, case_scans.py and case_masks.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import case_masks as masks
import case_networks as networks
import case_scans as scans
import numpy as np
import steps
from case_layers import (
    GATES,
    batch_norm,
    bidirectional,
    conv,
    conv2d,
    conv_transpose,
    image,
    layer,
    layer_norm,
    masked,
    masked_one,
    normal,
    one,
    over_bins,
    raw,
    stack,
    to_dense,
    weights,
)

from rnnrt import layers as L


@dataclass(frozen=True)
class Case:
    name: str
    build: Callable
    features: int = 3
    length: int | None = None
    ids: int = 0  # above 0: the input is ids below this number
    streams: bool = True
    bench: bool = False  # worth a line in the benchmark

    def graph(self, seed=0):
        r = np.random.default_rng([seed, sum(self.name.encode())])
        b = L.GraphBuilder()
        x = b.input("x", () if self.ids else (self.features,), length=self.length, ids=bool(self.ids))
        y = self.build(b, x, r)
        b.output("y", y)
        return b.graph()

    def sample(self, batch, frames, seed=0):
        r = np.random.default_rng([seed, 7])
        frames = self.length or frames
        if self.ids:
            return (raw(r, batch, frames) % np.uint64(self.ids)).astype(np.float32)
        return normal(r, batch, frames, self.features).astype(np.float32)


SIZES = (1, 5, 16, 20, 33, 130)
CASES: list[Case] = []


def case(name, build, **fields):
    CASES.append(Case(name, build, **fields))


for _n in SIZES:
    case(f"lstm_{_n}", one(L.LSTM, _n), features=min(_n, 33), bench=_n == 20)
    case(f"gru_{_n}", one(L.GRU, _n), features=min(_n, 33), bench=_n == 20)
    case(f"gru_before_{_n}", one(L.GRU, _n, reset_after=False), features=min(_n, 33))
    case(f"rnn_{_n}", one(L.SimpleRNN, _n), features=min(_n, 33), bench=_n == 20)
    case(f"dense_{_n}", to_dense(_n, activation="tanh"), features=min(_n, 33))
    case(f"conv_{_n}", lambda b, x, r, n=_n: conv(b, x, r, n, 3, padding=(2, 0)), features=min(_n, 33))
for _kind in GATES:
    _word = _kind.kind
    case(f"{_word}_no_bias", one(_kind, 7, bias=False))
    case(f"{_word}_relu", one(_kind, 7, activation="relu"))
    case(f"{_word}_norm", one(_kind, 20, norm="gates"), bench=_word == "lstm")
    case(f"{_word}_reverse", one(_kind, 9, reverse=True), streams=False)
    if _kind is not L.SimpleRNN:
        case(f"{_word}_hard_sigmoid", one(_kind, 9, recurrent_activation="hard_sigmoid"))
        case(f"{_word}_hard_sigmoid_keras2", one(_kind, 9, recurrent_activation="hard_sigmoid_keras2"))
    for _merge in (L.Concatenate, L.Add, L.Multiply):
        case(
            f"bidirectional_{_word}_{_merge.kind}",
            lambda b, x, r, k=_kind, m=_merge: bidirectional(b, x, r, k, 6, m),
            streams=False,
        )
case("lstm_joint_norm", one(L.LSTM, 12, norm="joint"))
case("gru_before_norm", one(L.GRU, 12, norm="gates", reset_after=False))
case("gru_before_relu", one(L.GRU, 12, activation="relu", reset_after=False))
case("lstm_projection", one(L.LSTM, 20, projection=6))
case("lstm_projection_norm", one(L.LSTM, 12, projection=5, norm="gates"))
case("lstm_cell_clip", one(L.LSTM, 20, cell_clip=0.4))
case("lstm_cell_clip_projection", one(L.LSTM, 12, projection=5, norm="gates", cell_clip=0.3))
case("lstm_cells", networks.cells)
for _name, _bins, _in, _part in (
    ("lstm", 4, 5, one(L.LSTM, 9)),
    ("lstm_many", 40, 3, one(L.LSTM, 17)),
    ("lstm_projection_norm", 5, 6, one(L.LSTM, 12, projection=5, norm="gates")),
    ("gru", 33, 1, one(L.GRU, 8)),
    ("gru_before", 7, 4, one(L.GRU, 20, reset_after=False)),
    ("rnn", 3, 20, one(L.SimpleRNN, 33)),
):
    case(f"bins_{_name}", image(_bins, _in, _part), features=_bins * _in, bench=_name == "gru")
case("bins_reverse", image(4, 5, one(L.GRU, 6), one(L.LSTM, 7, reverse=True)), features=20, streams=False)
case("bins_from_an_edge", networks.bins_from_an_edge, features=12, streams=False)
for _n in (4, 8, 16, 32):
    case(f"lstm_{_n}_of_one", one(L.LSTM, _n, bias=_n != 8), features=1, bench=_n == 16)
case("lstm_128", one(L.LSTM, 128), features=128, bench=True)
case("lstm_256", one(L.LSTM, 256), features=64, bench=True)
case("gru_128", one(L.GRU, 128), features=128, bench=True)
for _f in L.FUNCTIONS:
    _p = {"clipped_relu": (1.5,), "elu": (0.7,), "at_least": (-0.5,), "celu": (0.7,)}
    _p = _p.get(_f, (0.3,) * len(L.FUNCTIONS[_f]))
    _positive = [layer(L.Activation, activation="exponential")] * (_f in ("sqrt", "log", "reciprocal"))
    case(f"function_{_f}", stack(*_positive, layer(L.Activation, activation=L.Function(_f, _p))), features=19)
for _n in (1, 3, 9, 20, 37, 70):
    case(f"dense_plus_{_n}", lambda b, x, r, n=_n: networks.dense_plus(b, x, r, n), features=min(_n, 33))
case("dense_plus_relu", lambda b, x, r: networks.dense_plus(b, x, r, 21, activation="relu"))
case("leaky_dense", to_dense(9, activation=L.Function("leaky_relu", (0.2,))))
case("softmax", stack(to_dense(21), layer(L.Softmax)))
case("log_softmax", stack(to_dense(21), layer(L.LogSoftmax)))
case("layer_norm", layer_norm, features=37)
case("batch_norm", batch_norm, features=37)
case("batch_norm_after_relu", stack(to_dense(9, activation="relu"), batch_norm))
case("batch_norm_into_conv", stack(lambda b, x, r: conv(b, x, r, 8, 3), batch_norm))
for _name, _fields in {
    "valid": {},
    "causal": {"padding": (2, 0)},
    "same": {"padding": "same"},
    "stride": {"stride": 2},
    "stride_causal": {"stride": 3, "padding": (2, 0)},
    "dilated": {"dilation": 4, "padding": (8, 0)},
    "dilated_same": {"dilation": 3, "padding": "same"},
    "symmetric": {"padding": (1, 1), "stride": 2},
    "stride_beyond": {"stride": 5},
    "wide_pad": {"padding": (4, 3)},
}.items():
    case(
        f"conv_{_name}",
        lambda b, x, r, f=_fields: conv(b, x, r, 10, 3, activation="relu", **f),
        features=4,
        bench=_name == "dilated",
    )
case("conv_even_same", lambda b, x, r: conv(b, x, r, 10, 8, padding="same"))
case("conv_same_stride2", lambda b, x, r: conv(b, x, r, 10, 2, padding="same", stride=2))
case("conv_same_stride2_wide", lambda b, x, r: conv(b, x, r, 10, 5, padding="same", stride=2), streams=False)
case("conv_one_tap", lambda b, x, r: conv(b, x, r, 10, 1))
case("conv_grouped", lambda b, x, r: conv(b, x, r, 12, 3, groups=2, padding=(1, 1)), features=6)
case("conv_depthwise", lambda b, x, r: conv(b, x, r, 20, 5, groups=20, padding=(2, 2)), features=20)
case("conv_depthwise_multiplier", lambda b, x, r: conv(b, x, r, 12, 3, groups=6), features=6)
for _name, _in, _out, _groups, _taps, _fields in (
    ("of_four", 24, 24, 6, 3, {"padding": (2, 0)}),
    ("of_two", 18, 18, 9, 5, {"dilation": 2, "padding": (1, 3), "activation": "relu"}),
    ("of_three", 9, 9, 3, 3, {"stride": 2}),
    ("five_to_one", 20, 4, 4, 2, {"bias": False}),
    ("one_to_four", 3, 12, 3, 4, {"padding": (3, 0)}),
    ("of_eight", 16, 16, 2, 3, {"dilation": 3, "padding": (6, 0)}),
    ("long", 8, 8, 2, 21, {"padding": (20, 0)}),
):  # a group's inputs and outputs; few outputs lie across groups
    case(
        f"conv_groups_{_name}",
        lambda b, x, r, o=_out, k=_taps, g=_groups, f=_fields: conv(b, x, r, o, k, groups=g, **f),
        features=_in,
    )
for _name, _in, _out, _taps, _fields in (
    ("dilated", 5, 12, 4, {"dilation": 3, "padding": (9, 0)}),
    ("dilated_few", 5, 2, 4, {"dilation": 3, "padding": (4, 5)}),
    ("few", 3, 2, 6, {"padding": (3, 2)}),
    ("raw", 1, 20, 16, {"stride": 4, "padding": (6, 6)}),
    ("apart", 3, 6, 3, {"stride": 5, "padding": (1, 1)}),
    ("long", 3, 10, 25, {"padding": (24, 0)}),
    ("long_dilated", 1, 10, 70, {"dilation": 2, "padding": (138, 0)}),
):  # windows that are one sum
    case(
        f"conv_narrow_{_name}",
        lambda b, x, r, o=_out, k=_taps, f=_fields: conv(b, x, r, o, k, activation="tanh", **f),
        features=_in,
    )
case("conv_long_window", lambda b, x, r: conv(b, x, r, 8, 9, padding=(8, 0)), features=33)
case(
    "wavenet",
    stack(
        *[
            lambda b, x, r, d=2**k: conv(b, x, r, 20, 2, dilation=d, padding=(d, 0), activation="relu")
            for k in range(4)
        ],
        to_dense(1),
    ),
    features=1,
    bench=True,
)
for _name, _fields in {
    "doubling": {"stride": 2, "padding": (1, 1)},
    "causal": {"stride": 2, "padding": (0, 2)},
    "output_padding": {"stride": 3, "padding": (1, 0)},
    "one_to_one": {"padding": (2, 1)},
    "dilated": {"stride": 2, "dilation": 3},
    "gaps": {"stride": 6, "padding": (0, -1)},
    "cut": {"stride": 2, "padding": (3, 5)},
    "same": {"stride": 3, "padding": "same"},
}.items():
    case(
        f"conv_transpose_{_name}",
        lambda b, x, r, f=_fields: conv_transpose(b, x, r, 10, 4, activation="relu", **f),
        features=4,
        bench=_name == "doubling",
    )
case("conv_transpose_wide", lambda b, x, r: conv_transpose(b, x, r, 33, 5, stride=2), features=70)
case("conv_transpose_one_output", lambda b, x, r: conv_transpose(b, x, r, 1, 3, stride=2, bias=False))
case("conv_transpose_grouped", lambda b, x, r: conv_transpose(b, x, r, 12, 3, stride=2, groups=2), features=6)
case("conv_transpose_depthwise", lambda b, x, r: conv_transpose(b, x, r, 6, 4, groups=6), features=6)
case("batch_norm_into_conv_transpose", stack(lambda b, x, r: conv_transpose(b, x, r, 8, 3), batch_norm))
case("decoder", networks.decoder)
for _name, _bins, _in, _out, _taps, _bin_taps, _fields in (
    ("valid", 12, 3, 8, 3, 3, {}),
    ("same", 11, 2, 16, 3, 3, {"padding": "same", "bin_padding": "same", "activation": "relu"}),
    ("causal", 9, 5, 33, 3, 2, {"padding": (2, 0), "bin_padding": (0, 1)}),
    ("even_same", 10, 4, 5, 2, 4, {"padding": "same", "bin_padding": "same"}),
    ("strides", 15, 3, 9, 3, 5, {"stride": 2, "bin_stride": 3, "padding": (1, 1), "bin_padding": (2, 2)}),
    ("bin_same_stride", 13, 3, 9, 3, 4, {"bin_stride": 2, "bin_padding": "same"}),
    (
        "dilated",
        14,
        3,
        20,
        3,
        3,
        {"dilation": 4, "bin_dilation": 2, "padding": (8, 0), "bin_padding": (2, 2)},
    ),
    ("beyond", 8, 3, 6, 3, 2, {"stride": 5, "bin_stride": 4, "bin_padding": (3, 5)}),
    ("few_bins", 4, 16, 20, 3, 3, {"padding": (2, 0), "bin_padding": "same", "activation": "tanh"}),
    (
        "few_bins_dilated",
        5,
        3,
        17,
        2,
        2,
        {"stride": 2, "dilation": 3, "bin_dilation": 2, "bin_padding": (0, 2)},
    ),
    ("one_bin", 3, 7, 12, 2, 3, {"bias": False}),
    ("one_channel", 20, 1, 16, 5, 7, {"padding": (4, 0), "bin_padding": (3, 3)}),
    ("one_out", 9, 20, 1, 3, 3, {"padding": (2, 0), "bin_padding": (1, 1)}),
    ("three_out", 4, 2, 3, 3, 3, {"bin_padding": (1, 1), "dilation": 2}),
    ("one_tap", 9, 6, 10, 1, 1, {"activation": "relu"}),
    ("many_taps", 16, 1, 7, 9, 9, {"bin_dilation": 2, "bin_padding": (8, 8), "padding": (8, 0)}),
    ("many_frames", 7, 2, 6, 70, 2, {"padding": (69, 0)}),
    ("depthwise", 9, 20, 20, 3, 3, {"groups": 20, "padding": (2, 0), "bin_padding": (1, 1)}),
    ("depthwise_few_bins", 3, 33, 33, 3, 3, {"groups": 33, "padding": (1, 1), "bin_padding": (1, 1)}),
    ("depthwise_long", 10, 5, 5, 11, 7, {"groups": 5, "padding": (10, 0), "bin_stride": 2}),
    ("multiplier", 8, 6, 12, 3, 2, {"groups": 6, "bin_dilation": 3}),
    ("of_four", 6, 12, 12, 3, 3, {"groups": 3, "padding": (2, 0), "bin_padding": "same"}),
    ("of_two_wide", 8, 34, 24, 2, 3, {"groups": 2, "padding": (1, 0), "bin_padding": (1, 1)}),
    ("of_two_to_three", 8, 32, 6, 2, 3, {"groups": 2, "bin_stride": 2}),
):
    _part = lambda b, x, r, o=_out, t=_taps, n=_bin_taps, f=_fields: conv2d(b, x, r, o, t, n, **f)
    case(f"conv2d_{_name}", image(_bins, _in, _part), features=_bins * _in)
case(
    "conv2d_same_stride",
    image(7, 3, lambda b, x, r: conv2d(b, x, r, 9, 4, 3, stride=3, padding="same", bin_padding="same")),
    features=21,
    streams=False,
)
case(
    "conv2d_norm_pool",
    image(
        20,
        1,
        lambda b, x, r: conv2d(b, x, r, 10, 3, 3, padding="same", bin_padding="same"),
        batch_norm,
        layer(L.Activation, activation="tanh"),
        layer(L.MaxPool1D, size=2, stride=1),
        over_bins(L.MaxPool1D, size=2, stride=2),
        batch_norm,
        lambda b, x, r: conv2d(b, x, r, 12, 2, 3, stride=2),
        over_bins(L.AveragePool1D, size=3, stride=2, padding="same"),
    ),
    features=20,
    bench=True,
)
case(
    "conv2d_gru",
    stack(
        image(
            16,
            2,
            lambda b, x, r: conv2d(b, x, r, 8, 3, 3, padding=(2, 0), bin_padding=(1, 1), activation="relu"),
            over_bins(L.MaxPool1D, size=2, stride=2),
            lambda b, x, r: conv2d(b, x, r, 8, 3, 3, padding=(1, 1), groups=8, bin_stride=2),
        ),
        one(L.GRU, 12),
        to_dense(3),
    ),
    features=32,
)
for _name, _fields in {
    "valid": {},
    "overlapping": {"size": 3, "stride": 1},
    "same": {"padding": "same"},
    "same_three": {"size": 3, "stride": 3, "padding": "same"},
    "padded": {"size": 4, "stride": 2, "padding": (1, 1)},
}.items():
    _streams = _name != "same_three"
    case(f"max_pool_{_name}", layer(L.MaxPool1D, **_fields), features=18, streams=_streams)
    case(f"average_pool_{_name}", layer(L.AveragePool1D, **_fields), features=18, streams=_streams)
case("max_pool_dilated", layer(L.MaxPool1D, size=3, stride=2, dilation=2), features=18)
case("max_pool_dilated_padded", layer(L.MaxPool1D, size=3, stride=1, dilation=2, padding=(2, 2)), features=5)
case("average_pool_counting", layer(L.AveragePool1D, size=4, stride=2, padding=(1, 1), count_padding=True))
case("global_max", stack(one(L.GRU, 6), layer(L.GlobalMaxPool), to_dense(2)))
case("global_average", stack(one(L.GRU, 6), layer(L.GlobalAveragePool), to_dense(2)))
case("last", stack(one(L.LSTM, 9), layer(L.Last), to_dense(1, activation="sigmoid")))
case("final_state", networks.final_state)
case("last_after_stride", stack(lambda b, x, r: conv(b, x, r, 6, 3, stride=2), one(L.GRU, 5), layer(L.Last)))
case("reverse", stack(layer(L.Reverse), one(L.SimpleRNN, 5)), streams=False)
case("start", networks.from_a_start)
case("start_strided", lambda b, x, r: networks.from_a_start(b, x, r, stride=3))
case(
    "flatten",
    stack(lambda b, x, r: conv(b, x, r, 4, 3), layer(L.Flatten), to_dense(6, activation="relu"), to_dense(1)),
    length=12,
)
case("unflatten", stack(layer(L.Flatten), layer(L.Unflatten, length=8), one(L.GRU, 4)), length=12, features=4)
case("select", stack(to_dense(9), layer(L.Select, index=(8, 0, 3, 3))))
case(
    "embedding",
    stack(
        lambda b, x, r: b.add(L.Embedding, "embedding", x, weight=weights(r, 23, 8)),
        one(L.LSTM, 9),
        layer(L.Last),
    ),
    ids=23,
)
case("residual", networks.residual, features=6)
case("joins", networks.joins, features=4)
case("squeeze_excite", networks.squeeze_excite, streams=False)
case("softmax_over_time", networks.softmax_over_time, streams=False)
for _name, _fields in {
    "product": {},
    "scaled": {"scale": 0.3, "queries": 33},
    "heads": {"heads": 2, "scale": 2**-0.5, "queries": 16},
    "one_feature": {"queries": 1},
    "causal": {"causal": True, "scale": 0.5},
    "masked": {"masked": True, "masked_score": -1e9},
    "added": {"masked": True, "key_input": "added", "heads": 2},
    "function": {"score_activation": "sigmoid"},
    "sum": {"additive": True},
    "sum_130": {"additive": True, "queries": 130, "score_activation": "sigmoid", "causal": True},
}.items():
    case(f"attention_{_name}", networks.attention(**_fields), streams=False)
case("statistics", networks.statistics)
case("difference", networks.difference)
case("crop", layer(L.Crop1D, before=2, after=3), features=18)
case("crop_stride", stack(layer(L.Crop1D, before=1, stride=3), one(L.GRU, 5)))
for _name, _fields in {
    "constant": {"before": 3, "after": 2, "value": 0.5},
    "replicate": {"before": 3, "after": 2, "mode": "replicate"},
    "replicate_before": {"before": 2, "mode": "replicate"},
    "reflect": {"before": 3, "after": 2, "mode": "reflect"},
    "reflect_before": {"before": 2, "mode": "reflect"},
    "reflect_after": {"after": 5, "mode": "reflect"},
    "circular": {"before": 3, "after": 2, "mode": "circular"},
    "circular_before": {"before": 4, "mode": "circular"},
}.items():
    _build = stack(layer(L.Pad1D, **_fields), lambda b, x, r: conv(b, x, r, 5, 3))
    case(f"pad_{_name}", _build, features=5, streams=not _name.startswith("circular"))
case("three_delays", networks.three_delays)
case("encoder_decoder", networks.encoder_decoder, streams=False)
case("per_frame", networks.per_frame, features=20)
case("per_frame_bidirectional", networks.per_frame_bidirectional, features=12)
case("last_of_both", networks.last_of_both, streams=False)
case("two_bidirectional", networks.two_bidirectional, streams=False)
case("textbook_ln_rnn", networks.textbook(L.SimpleRNN, norm="gates"), features=1, bench=True)
case("textbook_lstm", networks.textbook(L.LSTM), features=1, bench=True)
case("textbook_gru", networks.textbook(L.GRU), features=1, bench=True)
case(
    "textbook_conv_gru",
    stack(lambda b, x, r: conv(b, x, r, 20, 4, stride=2), networks.textbook(L.GRU)),
    features=1,
    bench=True,
)

for _n in (1, 20, 33):
    case(f"scan_lstm_{_n}", lambda b, x, r, n=_n: scans.lstm(b, x, r, n), features=min(_n, 33))
for _spelling in steps.SPELLINGS[1:]:
    case(f"scan_lstm_{_spelling}", lambda b, x, r, s=_spelling: scans.lstm(b, x, r, 20, spelling=s))
for _blend in steps.BLENDS:
    case(f"scan_gru_{_blend}", lambda b, x, r, k=_blend: scans.gru(b, x, r, 20, True, k))
    case(f"scan_gru_before_{_blend}", lambda b, x, r, k=_blend: scans.gru(b, x, r, 20, False, k))
case("scan_rnn", lambda b, x, r: scans.rnn(b, x, r, 20))
case("scan_rnn_reverse", lambda b, x, r: scans.rnn(b, x, r, 20, reverse=True), streams=False)
case("scan_minimal_gated", scans.minimal_gated)
case("scan_minimal_gated_130", lambda b, x, r: scans.minimal_gated(b, x, r, 130), features=33)
case("scan_stored_start", lambda b, x, r: scans.minimal_gated(b, x, r, initial=weights(r, 20)))
case("scan_two_widths", scans.two_widths)
case("scan_two_widths_reverse", lambda b, x, r: scans.two_widths(b, x, r, reverse=True), streams=False)
case("scan_final_states", scans.final_states)
case("scan_two_sequences", scans.two_sequences)
case("scan_from_an_edge", scans.from_an_edge, streams=False)
case("scan_fixed_steps", scans.decoder_of_fixed_steps)
case(
    "scan_fixed_steps_once",
    lambda b, x, r: scans.decoder_of_fixed_steps(b, x, r, ("encoder:c",)),
    streams=False,
)

for _kind in GATES:
    _word = _kind.kind
    for _output in ("hold", "zero"):
        case(f"masked_{_word}_{_output}", masked_one(_kind, 9, masked_output=_output))
    case(f"masked_{_word}_norm", masked_one(_kind, 20, norm="gates"))
    case(f"masked_{_word}_reverse", masked_one(_kind, 9, reverse=True), streams=False)
case("masked_gru_before", masked_one(L.GRU, 9, reset_after=False))
case("masked_lstm_128", masked_one(L.LSTM, 128), features=33)
case("masked_mean", masks.mean)
case("masked_bidirectional", masks.bidirectional, streams=False)
case("masked_cells", masks.cells)
case("masked_late", masks.late)
case("masked_stride", masks.stride)
case("masked_from_an_edge", masks.from_an_edge, streams=False)
case("masked_per_frame", masks.per_frame, features=12)
case("masked_ids", masks.ids, ids=5)
case("masked_bins", masks.bins, features=6)
for _output in ("hold", "zero"):
    case(f"masked_scan_{_output}", masked(scans.two_widths, masked_output=_output))
    case(
        f"masked_scan_reverse_{_output}",
        masked(scans.two_widths, masked_output=_output, reverse=True),
        streams=False,
    )
case("masked_scan_stored_start", masked(scans.two_widths, initial=np.arange(-5, 6) / 7))
case("masked_scan_lifted", masked(lambda b, x, r, **own: scans.rnn(b, x, r, 20, **own)))
