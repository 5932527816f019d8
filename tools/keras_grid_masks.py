"""Every layer on masked sequences: the part of the option grid that is recorded whole in every version.

Each network has a row for every pattern of tools/record_grid.py: real throughout, a prefix, left-padded, with
holes, all masked, one frame masked, one real.
"""

from __future__ import annotations

#: Frames where they are fixed, and features.
LENGTH, WIDTH = 10, 4
RATE = {"rate": 0.3}
#: Layers that answer every frame -> their options.
TIMED = {
    "Activation": {"activation": "tanh"},
    "ActivityRegularization": {"l1": 0.1},
    "AdaptiveAveragePooling1D": {"output_size": 3},
    "AdaptiveMaxPooling1D": {"output_size": 3},
    "AlphaDropout": RATE,
    "AveragePooling1D": {"pool_size": 2},
    "BatchNormalization": {},
    "Bidirectional": {
        "layer": {"class": "LSTM", "options": {"units": 2, "return_sequences": True}},
        "merge_mode": "concat",
    },
    "Conv1D": {"filters": 3, "kernel_size": 3, "padding": "same"},
    "Conv1DTranspose": {"filters": 3, "kernel_size": 2},
    "Cropping1D": {"cropping": 1},
    "Dense": {"units": 3},
    "DepthwiseConv1D": {"kernel_size": 2},
    "Dropout": RATE,
    "ELU": {},
    "GRU": {"units": 3, "return_sequences": True},
    "GaussianDropout": RATE,
    "GaussianNoise": {"stddev": 0.3},
    "GroupNormalization": {"groups": 2},
    "Identity": {},
    "LSTM": {"units": 3, "return_sequences": True},
    "LayerNormalization": {},
    "LeakyReLU": {},
    "Masking": {"mask_value": 0.5},
    "MaxPooling1D": {"pool_size": 2},
    "Normalization": {"mean": [0.5, -1.0, 0.25, 2.0], "variance": [1.0, 0.25, 4.0, 0.5]},
    "PReLU": {"shared_axes": [1]},
    "Permute": {"dims": [2, 1]},
    "RMSNormalization": {},
    "RNN": {"cell": {"class": "GRUCell", "options": {"units": 3}}, "return_sequences": True},
    "ReLU": {},
    "Rescaling": {"scale": 0.5, "offset": 0.25},
    "Reshape": {"target_shape": [20, 2]},
    "SeparableConv1D": {"filters": 3, "kernel_size": 2},
    "SimpleRNN": {"units": 3, "return_sequences": True},
    "Softmax": {},
    "SpatialDropout1D": RATE,
    "TimeDistributed": {"layer": {"class": "Dense", "options": {"units": 3}}},
    "UnitNormalization": {},
    "UpSampling1D": {"size": 2},
    "ZeroPadding1D": {"padding": 1},
}
#: Those that answer once.
ONCE = {
    "Bidirectional": {"layer": {"class": "GRU", "options": {"units": 2}}, "merge_mode": "sum"},
    "Flatten": {},
    "GRU": {"units": 3, "go_backwards": True},
    "GlobalAveragePooling1D": {},
    "GlobalMaxPooling1D": {},
    "LSTM": {"units": 3},
    "SimpleRNN": {"units": 3},
}
#: Those that join two.
JOINS = {name: {} for name in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate")}
JOINS |= {"Attention": {"use_scale": True}, "AdditiveAttention": {}}
FIXED = ("AdaptiveAveragePooling1D", "AdaptiveMaxPooling1D", "Permute", "Reshape", "Flatten")
FIXED += ("Attention", "AdditiveAttention")


def masked(kind, length, place=0):
    """(input, node) of a sequence whose frames are masked, by their values or by their ids."""
    if kind == "frames":
        return [[length, WIDTH], "frames"], ["Masking", {"mask_value": -1.0}, [f"i{place}"]]
    words = {"input_dim": 6, "output_dim": WIDTH, "mask_zero": True}
    return [[length], "ids"], ["Embedding", words, [f"i{place}"]]


def asked(description):
    """The layer that a network of this family puts behind a mask; None of another network."""
    return description["nodes"][len(description["inputs"])][0] if description["family"] == "masks" else None


def masks(draw):
    for kind, (timed, layers) in ((k, t) for k in ("frames", "ids") for t in ((1, TIMED), (0, ONCE))):
        for name, options in layers.items():
            length = LENGTH if kind == "ids" or name in FIXED else None
            source, node = masked(kind, length)
            nodes = [node, [name, options, ["n0"]]]
            nodes += [["GRU", {"units": 2, "return_sequences": True}, ["n1"]]] * timed
            outputs = ["n1", "n2"][: 1 + timed]
            yield {"family": "masks", "inputs": [source], "nodes": nodes, "outputs": outputs}
    for name, options in JOINS.items():
        for kinds in (("frames", "ids"), ("frames", "frames")):
            length = LENGTH if kinds[1] == "ids" or name in FIXED else None
            inputs, nodes = zip(*(masked(kind, length, place) for place, kind in enumerate(kinds)))
            nodes = [*nodes, [name, options, ["n0", "n1"]]]
            nodes.append(["GRU", {"units": 2, "return_sequences": True}, ["n2"]])
            yield {"family": "masks", "inputs": list(inputs), "nodes": nodes, "outputs": ["n2", "n3"]}
