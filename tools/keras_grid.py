"""The Keras part of the option grid: descriptions of small networks, a product and a seeded draw over layers
and their options, and the network that a description is.

A description is plain data, the same for every version of Keras:

    {"family": "LSTM", "inputs": [[[None, 4], "numbers"]], "nodes": [["LSTM", {"units": 3}, ["i0"]]],
     "outputs": ["n0"]}

``inputs``: shape without batch, and what its numbers are ("numbers", "ids" of which 0 is masked, "frames" of
which those that hold -1 throughout are masked). A node is a layer class, its options and what it is called
with: "i0" an input, "n2" the answer of a node, "n2.1" one of its answers; "state" among the options of a node
stands for what goes into ``initial_state``. An option {"class": ..., "options": ...} is a layer or a cell.
Needs no Keras; tools/grid.py runs the grid.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random

WORDS, WIDTH = 6, 4
ACTIVATIONS = (
    *("linear", "relu", "elu", "selu", "sigmoid", "hard_sigmoid", "tanh", "softplus", "softsign"),
    *("swish", "gelu", "exponential", "mish"),
)
#: Of cells: an exponential fed back overflows.
INSIDE = tuple(a for a in ACTIVATIONS if a != "exponential")
#: From Keras 3 on; the last ones are younger than 3.0.
RECENT = ("relu6", "leaky_relu", "log_softmax", "silu", "hard_silu", "celu", "hard_tanh", "log_sigmoid")
RECENT += ("hard_shrink", "soft_shrink", "tanh_shrink", "glu", "sparse_plus", "sparsemax", "squareplus")
CELLS = ("SimpleRNN", "LSTM", "GRU")
#: Options that a cell does not have.
OF_LAYERS = {
    "return_sequences",
    "return_state",
    "go_backwards",
    "stateful",
    "unroll",
    "zero_output_for_mask",
    "time_major",
}


def layer(name, **options):
    return {"class": name, "options": options}


class Draw(random.Random):
    def some(self, p):
        return self.random() < p

    def few(self, **choices):
        """Some of these options, each with one of its values."""
        return {name: self.choice(values) for name, values in choices.items() if self.some(0.35)}

    def cell_options(self, cell):
        made = {"units": self.choice((1, 3, 5))} | self.few(
            use_bias=(False,),
            activation=INSIDE,
            dropout=(0.3,),
            recurrent_dropout=(0.2,),
            kernel_regularizer=("l2",),
            recurrent_constraint=("max_norm",),
        )
        if cell != "SimpleRNN":
            made |= self.few(recurrent_activation=("sigmoid", "hard_sigmoid", "tanh", "softsign", "relu"))
            made |= self.few(implementation=(1, 2))
        if cell == "LSTM":
            made |= self.few(unit_forget_bias=(True, False))
        if cell == "GRU":
            made |= self.few(reset_after=(True, False))
        return made

    def time_input(self, masked=None, length=None, width=WIDTH):
        """(inputs, nodes, ref) of a sequence, masked in one of three."""
        if masked is None:
            masked = self.some(0.33)
        if not masked:
            return [[[length, width], "numbers"]], [], "i0"
        if self.some(0.5):
            return [[[length, width], "frames"]], [["Masking", {"mask_value": -1.0}, ["i0"]]], "n0"
        return (
            [[[length], "ids"]],
            [["Embedding", {"input_dim": WORDS, "output_dim": width, "mask_zero": True}, ["i0"]]],
            "n0",
        )

    def around(self, family, name, options, masked=None, length=None, timed=True, width=WIDTH):
        """The description of one layer on a sequence; a masked one with a GRU behind it, which asks for the
        mask.
        """
        inputs, nodes, ref = self.time_input(masked, length, width)
        was_masked = inputs[0][1] != "numbers"
        nodes = [*nodes, [name, options, [ref]]]
        outputs = [f"n{len(nodes) - 1}"]
        if timed and was_masked:
            nodes.append(["GRU", {"units": 2, "return_sequences": True}, [outputs[0]]])
            outputs.append(f"n{len(nodes) - 1}")
        return {"family": family, "inputs": inputs, "nodes": nodes, "outputs": outputs}


# ---- recurrent layers --------------------------------------------------------------------------------------


def answers_of(ref, cell, options, both=False, cells=1):
    """What a recurrent layer returns, as refs."""
    count = 1
    if options.get("return_state"):
        count += (2 if cell == "LSTM" else 1) * (2 if both else 1) * cells
    return [ref] if count == 1 else [f"{ref}.{k}" for k in range(count)]


def recurrent(draw, count=5):
    for cell, sequences, backwards, state, masked in itertools.product(
        CELLS, (False, True), (False, True), (False, True), (False, True)
    ):
        for _ in range(count):
            own = draw.cell_options(cell) | {"return_sequences": sequences, "go_backwards": backwards}
            own |= {"return_state": state}
            own |= draw.few(zero_output_for_mask=(True,), stateful=(True,))
            length = None
            if draw.some(0.2):
                own |= {"unroll": True}
                length = 7
            inputs, nodes, ref = draw.time_input(masked, length)
            called = {}
            if draw.some(0.25):  # states from the caller
                states = [f"i{len(inputs) + k}" for k in range(2 if cell == "LSTM" else 1)]
                inputs = inputs + [[[own["units"]], "numbers"] for _ in states]
                called = {"state": states}
            nodes = [*nodes, [cell, own | called, [ref]]]
            ref = f"n{len(nodes) - 1}"
            outputs = answers_of(ref, cell, own)
            if masked and sequences:
                nodes.append(["GRU", {"units": 2}, [outputs[0]]])
                outputs = [*outputs, f"n{len(nodes) - 1}"]
            yield {"family": cell, "inputs": inputs, "nodes": nodes, "outputs": outputs}


def time_major(draw, count=1):
    """An option of Keras 2 alone: (time, batch, features)."""
    for cell in CELLS:
        own = {"units": 3, "return_sequences": True, "time_major": True}
        yield draw.around(cell, cell, own, masked=False, length=3)


def over_cells(draw, count=3):
    for number, sequences, backwards, masked in itertools.product(
        (1, 2, 3), (False, True), (False, True), (False, True)
    ):
        for _ in range(count):
            names = [draw.choice(CELLS) for _ in range(number)]
            cells = [
                layer(f"{c}Cell", **{k: v for k, v in draw.cell_options(c).items() if k != "implementation"})
                for c in names
            ]
            own = {"cell": cells[0] if number == 1 and draw.some(0.7) else cells}
            if number > 1 and draw.some(0.3):
                own = {"cell": layer("StackedRNNCells", cells=cells)}
            own |= {"return_sequences": sequences, "go_backwards": backwards}
            own |= draw.few(zero_output_for_mask=(True,), stateful=(True,), unroll=(False,))
            yield draw.around("RNN", "RNN", own, masked, timed=sequences)


def bidirectional(draw, count=4):
    for cell, mode, sequences, masked in itertools.product(
        CELLS, ("concat", "sum", "mul", "ave", None), (False, True), (False, True)
    ):
        for _ in range(count):
            own = draw.cell_options(cell) | {"return_sequences": sequences}
            own |= draw.few(zero_output_for_mask=(True,))
            state = mode != "sum" and draw.some(0.2)
            own |= {"return_state": True} if state else {}
            inside = layer(cell, **own)
            if draw.some(0.12):
                cells = layer(f"{cell}Cell", units=3)
                inside = layer("RNN", cell=cells, return_sequences=sequences)
                own, state = {"units": 3}, False
            options = {"layer": inside, "merge_mode": mode}
            if draw.some(0.25) and not state and inside["class"] == cell:
                turned = draw.few(go_backwards=(True,))
                own, inside = own | turned, layer(cell, **own, **turned)
                options["layer"] = inside
                other = draw.cell_options(cell) | {"units": own["units"], "return_sequences": sequences}
                other |= {"go_backwards": not own.get("go_backwards", False)}
                options["backward_layer"] = layer(cell, **other)
            inputs, nodes, ref = draw.time_input(masked)
            if draw.some(0.15) and inside["class"] == cell:
                states = [f"i{1 + k}" for k in range(4 if cell == "LSTM" else 2)]
                inputs = inputs + [[[own["units"]], "numbers"] for _ in states]
                options["state"] = states
            nodes = [*nodes, ["Bidirectional", options, [ref]]]
            ref = f"n{len(nodes) - 1}"
            outputs = answers_of(ref, cell, own, both=True)
            if mode is None:
                outputs = [f"{ref}.{k}" for k in range(len(outputs) + 1)]
            if masked and sequences:
                nodes.append(["GRU", {"units": 2}, [outputs[0]]])
                outputs = [*outputs, f"n{len(nodes) - 1}"]
            yield {"family": "Bidirectional", "inputs": inputs, "nodes": nodes, "outputs": outputs}


# ---- convolutions and pools --------------------------------------------------------------------------------


def convolutions(draw, count=4):
    for padding, taps, stride, dilation in itertools.product(
        ("valid", "same", "causal"), (1, 2, 3, 5), (1, 2, 3), (1, 2, 3)
    ):
        if stride > 1 and dilation > 1:
            continue
        for k in range(count if stride == 1 or k_is_short(taps) else 2):
            groups = draw.choice((1, 1, 1, 2, 4))
            own = {"filters": groups * draw.choice((1, 2)), "kernel_size": taps, "padding": padding}
            own |= {"strides": stride} if stride > 1 or draw.some(0.5) else {}
            own |= {"dilation_rate": dilation} if dilation > 1 or draw.some(0.5) else {}
            own |= {"groups": groups} if groups > 1 else {}
            own |= draw.few(
                use_bias=(False,), activation=(*ACTIVATIONS, "softmax"), kernel_regularizer=("l1",)
            )
            yield draw.around("Conv1D", "Conv1D", own, masked=k == 3 and stride == 1)
    for padding, taps, stride in itertools.product(("valid", "same"), (2, 3), (1, 2)):
        own = {"filters": 3, "kernel_size": taps, "strides": stride, "padding": padding}
        own |= {"data_format": "channels_first"}
        yield draw.around("Conv1D", "Conv1D", own, masked=False, length=12, width=16)
    for name in ("SeparableConv1D", "DepthwiseConv1D"):
        for padding, taps, stride, dilation, k in itertools.product(
            ("valid", "same", "causal"), (1, 2, 3, 4), (1, 2, 3), (1, 2), range(2)
        ):
            if stride > 1 and dilation > 1 or (name == "DepthwiseConv1D" and padding == "causal"):
                continue
            own = {"kernel_size": taps, "padding": padding, "strides": stride, "dilation_rate": dilation}
            own |= {"filters": 3} if name == "SeparableConv1D" else {}
            own |= draw.few(use_bias=(False,), activation=ACTIVATIONS, depth_multiplier=(1, 2, 3))
            yield draw.around(name, name, own, masked=k == 1 and stride == 1)
    for padding, taps, stride, k in itertools.product(("valid", "same"), (1, 2, 3, 4), (1, 2, 3), range(4)):
        own = {"filters": draw.choice((1, 3)), "kernel_size": taps, "padding": padding, "strides": stride}
        own |= draw.few(use_bias=(False,), activation=ACTIVATIONS)
        if stride > 1 and k == 3:
            own["output_padding"] = draw.choice(range(stride))
        if stride == 1 and k == 2:
            own["dilation_rate"] = 2
        yield draw.around("Conv1DTranspose", "Conv1DTranspose", own, masked=k == 1 and stride == 1)


def k_is_short(taps):
    return taps in (2, 3)


def pools(draw, count=1):
    for name, size, stride, padding in itertools.product(
        ("MaxPooling1D", "AveragePooling1D"), (1, 2, 3, 5), (None, 1, 2, 3), ("valid", "same")
    ):
        own = {"pool_size": size, "strides": stride, "padding": padding}
        yield draw.around(name, name, own, masked=stride == 1)
    for name, keep, masked in itertools.product(
        ("GlobalMaxPooling1D", "GlobalAveragePooling1D"), (False, True), (False, True)
    ):
        yield draw.around(name, name, {"keepdims": keep}, masked, timed=False)
        yield draw.around(name, name, {"keepdims": keep}, masked, length=9, timed=False)
    for name, size in itertools.product(("AdaptiveAveragePooling1D", "AdaptiveMaxPooling1D"), (1, 2, 3)):
        yield draw.around(name, name, {"output_size": size}, False, length=12)
    for sides in (0, 1, (2, 1), (0, 3), (3, 0)):
        for masked in (False, True):
            yield draw.around("ZeroPadding1D", "ZeroPadding1D", {"padding": sides}, masked)
            yield draw.around("Cropping1D", "Cropping1D", {"cropping": sides}, masked)
    for size, masked in itertools.product((1, 2, 3), (False, True)):
        yield draw.around("UpSampling1D", "UpSampling1D", {"size": size}, masked)


# ---- without memory ----------------------------------------------------------------------------------------


def pointwise(draw, count=2):
    for bias, activation, masked in itertools.product(
        (True, False), (None, *ACTIVATIONS, "softmax"), (False, True)
    ):
        own = {"units": draw.choice((1, 3)), "use_bias": bias, "activation": activation}
        yield draw.around("Dense", "Dense", own, masked)
    for word, masked in itertools.product((*ACTIVATIONS, *RECENT, "softmax"), (False, True)):
        yield draw.around("Activation", "Activation", {"activation": word}, masked)
    for word in RECENT:
        yield draw.around("Dense", "Dense", {"units": 4, "activation": word}, False)
        yield draw.around("Conv1D", "Conv1D", {"filters": 4, "kernel_size": 2, "activation": word}, False)
        yield draw.around("LSTM", "LSTM", {"units": 4, "activation": word, "return_sequences": True}, False)
    for top, slope, floor in itertools.product((None, 0.5, 6.0), (0.0, 0.1), (0.0, 0.3)):
        own = {"max_value": top, "negative_slope": slope, "threshold": floor}
        yield draw.around("ReLU", "ReLU", own)
    for slope in (0.0, 0.05, 0.3):
        yield draw.around("LeakyReLU", "LeakyReLU", {"negative_slope": slope})
        yield draw.around("ELU", "ELU", {"alpha": slope + 0.5})
    for axes in ([1], None):
        for masked in (False, True):
            yield draw.around("PReLU", "PReLU", {"shared_axes": axes}, masked, length=9)
    for axis in (-1, 1, 2):
        yield draw.around("Softmax", "Softmax", {"axis": axis}, False)
        yield draw.around("Softmax", "Softmax", {"axis": axis}, False, length=9)
    for scale, center, epsilon, masked in itertools.product(
        (True, False), (True, False), (None, 0.1), (False, True)
    ):
        own = {"scale": scale, "center": center} | ({"epsilon": epsilon} if epsilon else {})
        yield draw.around("BatchNormalization", "BatchNormalization", own, masked)
        yield draw.around("LayerNormalization", "LayerNormalization", own, masked)
        for groups in (1, 2, 4, -1):
            yield draw.around("GroupNormalization", "GroupNormalization", own | {"groups": groups}, masked)
    for axis, length in itertools.product((-1, 1, 2, [1, 2]), (None, 9)):
        if axis in (-1, 2) or length:  # gamma over an open length is not built
            yield draw.around("LayerNormalization", "LayerNormalization", {"axis": axis}, False, length)
        yield draw.around("UnitNormalization", "UnitNormalization", {"axis": axis}, False, length)
        if not isinstance(axis, list):
            yield draw.around("BatchNormalization", "BatchNormalization", {"axis": axis}, False, length)
    for masked in (False, True):
        yield draw.around("UnitNormalization", "UnitNormalization", {}, masked)
        yield draw.around("LayerNormalization", "LayerNormalization", {"rms_scaling": True}, masked)
        for epsilon in (1e-6, 0.1):
            yield draw.around("RMSNormalization", "RMSNormalization", {"epsilon": epsilon}, masked)
        for turned in (False, True):
            own = {"mean": [0.5, -1.0, 0.25, 2.0], "variance": [1.0, 0.25, 4.0, 0.5]}
            own |= {"invert": True} if turned else {}
            yield draw.around("Normalization", "Normalization", own, masked)
        for name in ("Dropout", "SpatialDropout1D", "GaussianNoise", "GaussianDropout", "AlphaDropout"):
            yield draw.around(name, name, {{"GaussianNoise": "stddev"}.get(name, "rate"): 0.3}, masked)
        yield draw.around("ActivityRegularization", "ActivityRegularization", {"l1": 0.1}, masked)
        yield draw.around("Identity", "Identity", {}, masked)
        yield draw.around("Rescaling", "Rescaling", {"scale": 0.5, "offset": -0.25}, masked)
        yield draw.around("Rescaling", "Rescaling", {"scale": 2.0}, masked)
    for zero, behind in itertools.product(
        (False, True), ("LSTM", "Conv1D", "GlobalAveragePooling1D", "Flatten")
    ):
        own = {"LSTM": {"units": 3}, "Conv1D": {"filters": 3, "kernel_size": 3}}.get(behind, {})
        embedding = ["Embedding", {"input_dim": WORDS, "output_dim": 3, "mask_zero": zero}, ["i0"]]
        yield {
            "family": "Embedding",
            "inputs": [[[9], "ids"]],
            "nodes": [embedding, [behind, own, ["n0"]]],
            "outputs": ["n0", "n1"],
        }
    for value in (0.0, -1.0, 12.5):
        yield {
            "family": "Masking",
            "inputs": [[[None, WIDTH], "frames"]],
            "nodes": [["Masking", {"mask_value": value}, ["i0"]], ["LSTM", {"units": 3}, ["n0"]]],
            "outputs": ["n0", "n1"],
        }


# ---- shapes, merges ----------------------------------------------------------------------------------------


def shapes(draw, count=1):
    for name, own in (
        ("Flatten", {}),
        ("Reshape", {"target_shape": [6, 8]}),
        ("Reshape", {"target_shape": [-1, 2]}),
        ("Reshape", {"target_shape": [12, 2, 2]}),
        ("Reshape", {"target_shape": [48]}),
        ("Permute", {"dims": [2, 1]}),
        ("Permute", {"dims": [1, 2]}),
    ):
        for masked in (False, True):
            yield draw.around(name, name, own, masked, length=12, timed=False)
    for times in (1, 3):
        for cell in CELLS:
            inputs, nodes, ref = draw.time_input()
            nodes = [*nodes, [cell, {"units": 3}, [ref]]]
            nodes.append(["RepeatVector", {"n": times}, [f"n{len(nodes) - 1}"]])
            nodes.append([cell, {"units": 2, "return_sequences": True}, [f"n{len(nodes) - 1}"]])
            outputs = [f"n{len(nodes) - 2}", f"n{len(nodes) - 1}"]
            yield {"family": "RepeatVector", "inputs": inputs, "nodes": nodes, "outputs": outputs}
    insides = [
        layer("Dense", units=3, activation="tanh"),
        layer("Activation", activation="softmax"),
        layer("BatchNormalization"),
        layer("LayerNormalization"),
        layer("Dropout", rate=0.2),
        layer("Reshape", target_shape=[2, 2]),
        layer("RepeatVector", n=2),
    ]
    for inside, masked in itertools.product(insides, (False, True)):
        flat = inside["class"] not in ("Reshape", "RepeatVector")
        yield draw.around("TimeDistributed", "TimeDistributed", {"layer": inside}, masked and flat)
    deeper = [
        layer("Conv1D", filters=3, kernel_size=2, padding="same", activation="relu"),
        layer("Conv1D", filters=2, kernel_size=3, strides=2),
        layer("LSTM", units=3),
        layer("GRU", units=2, return_sequences=True, go_backwards=True),
        layer("Bidirectional", layer=layer("GRU", units=2)),
        layer("MaxPooling1D", pool_size=2),
        layer("AveragePooling1D", pool_size=2, padding="same"),
        layer("GlobalAveragePooling1D"),
        layer("GlobalMaxPooling1D"),
        layer("Flatten"),
        layer("Dense", units=2),
        layer("LayerNormalization"),
        layer("BatchNormalization"),
        layer("Permute", dims=[2, 1]),
        layer("Cropping1D", cropping=[1, 2]),
        layer("ZeroPadding1D", padding=1),
        layer("UpSampling1D", size=2),
        layer("Conv1DTranspose", filters=2, kernel_size=2, strides=2),
        layer("SeparableConv1D", filters=2, kernel_size=2),
        layer("DepthwiseConv1D", kernel_size=2),
    ]
    for inside, length in itertools.product(deeper, (None, 5)):
        node = ["TimeDistributed", {"layer": inside}, ["i0"]]
        yield {
            "family": "TimeDistributed",
            "inputs": [[[length, 6, 3], "numbers"]],
            "nodes": [node],
            "outputs": ["n0"],
        }


def merges(draw, count=1):
    for name, parts, masked in itertools.product(
        ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"), (2, 3), (0, 1, 2)
    ):
        if name == "Subtract" and parts == 3:
            continue
        for length in (None, 9):
            kinds = ["frames" if k < masked else "numbers" for k in range(parts)]
            nodes, refs = [], []
            for k, kind in enumerate(kinds):
                refs.append(f"i{k}")
                if kind == "frames":
                    nodes.append(["Masking", {"mask_value": -1.0}, [f"i{k}"]])
                    refs[-1] = f"n{len(nodes) - 1}"
            own = draw.few(axis=(-1, 2)) if name == "Concatenate" else {}
            nodes.append([name, own, refs])
            nodes.append(["GRU", {"units": 2, "return_sequences": True}, [f"n{len(nodes) - 1}"]])
            yield {
                "family": name,
                "inputs": [[[length, WIDTH], kind] for kind in kinds],
                "nodes": nodes,
                "outputs": [f"n{len(nodes) - 2}", f"n{len(nodes) - 1}"],
            }
    # broadcasting: one feature, one frame, one vector
    for name, other in itertools.product(
        ("Add", "Multiply", "Subtract", "Maximum", "Average"), ([None, 1], [1, WIDTH], [1, 1])
    ):
        for turned in (False, True):
            if other[0] is None or not turned or name != "Subtract":
                refs = ["i1", "i0"] if turned else ["i0", "i1"]
                yield {
                    "family": name,
                    "inputs": [
                        [[9, WIDTH], "numbers"],
                        [[9 if other[0] is None else 1, other[1]], "numbers"],
                    ],
                    "nodes": [[name, {}, refs]],
                    "outputs": ["n0"],
                }
    for axis in (1, 2, -1, -2):
        yield {
            "family": "Concatenate",
            "inputs": [[[6, WIDTH], "numbers"], [[6, WIDTH], "numbers"]],
            "nodes": [["Concatenate", {"axis": axis}, ["i0", "i1"]]],
            "outputs": ["n0"],
        }
    for axes, normalize in itertools.product((1, 2, [2, 2], [1, 1], -1), (False, True)):
        yield {
            "family": "Dot",
            "inputs": [[[6, WIDTH], "numbers"], [[6, WIDTH], "numbers"]],
            "nodes": [["Dot", {"axes": axes, "normalize": normalize}, ["i0", "i1"]]],
            "outputs": ["n0"],
        }
    for name, scale, masked in itertools.product(
        ("Attention", "AdditiveAttention"), (False, True), (False, True)
    ):
        for length, mode in itertools.product((None, 7), ("dot", "concat")):
            if name == "AdditiveAttention" and mode == "concat":
                continue
            nodes, refs = [], ["i0", "i1"]
            if masked:
                nodes = [["Masking", {"mask_value": -1.0}, [f"i{k}"]] for k in range(2)]
                refs = ["n0", "n1"]
            own = {"use_scale": scale} | ({"score_mode": mode} if name == "Attention" else {})
            own |= draw.few(dropout=(0.2,))
            nodes.append([name, own, refs])
            yield {
                "family": name,
                "inputs": [[[length, WIDTH], "frames" if masked else "numbers"] for _ in range(2)],
                "nodes": nodes,
                "outputs": [f"n{len(nodes) - 1}"],
            }


# ---- 2-D fronts --------------------------------------------------------------------------------------------


def fronts(draw, count=1):
    """A 2-D layer over (time, bins, channels), then frames, then a GRU."""
    bins, channels = 8, 2
    made = []
    for padding, taps, strides in itertools.product(
        ("valid", "same"), ((1, 1), (3, 3), (2, 3), (3, 1)), ((1, 1), (1, 2), (2, 2), (2, 1))
    ):
        own = {"kernel_size": list(taps), "padding": padding, "strides": list(strides)}
        made.append(["Conv2D", own | {"filters": 3} | draw.few(use_bias=(False,), activation=ACTIVATIONS)])
        if strides[0] == strides[1]:
            made.append(["DepthwiseConv2D", own | draw.few(depth_multiplier=(2,), activation=ACTIVATIONS)])
            made.append(
                ["SeparableConv2D", own | {"filters": 2} | draw.few(depth_multiplier=(2,), use_bias=(False,))]
            )
    for dilation in ([2, 1], [1, 2], [2, 2]):
        made.append(
            ["Conv2D", {"filters": 2, "kernel_size": [3, 3], "dilation_rate": dilation, "padding": "same"}]
        )
        made.append(["DepthwiseConv2D", {"kernel_size": [2, 2], "dilation_rate": dilation}])
    made.append(["Conv2D", {"filters": 4, "kernel_size": [3, 2], "groups": 2}])
    for name, size, stride, padding in itertools.product(
        ("MaxPooling2D", "AveragePooling2D"),
        ((2, 2), (1, 2), (3, 2)),
        (None, (1, 2), (2, 1)),
        ("valid", "same"),
    ):
        made.append([name, {"pool_size": list(size), "strides": stride and list(stride), "padding": padding}])
    made += [[n, {"padding": [[2, 1], [0, 3]]}] for n in ("ZeroPadding2D",)]
    made += [["Cropping2D", {"cropping": [[1, 0], [2, 1]]}], ["UpSampling2D", {"size": [1, 2]}]]
    made += [
        ["UpSampling2D", {"size": [2, 1]}],
        ["SpatialDropout2D", {"rate": 0.2}],
        ["BatchNormalization", {}],
    ]
    made += [["LayerNormalization", {}], ["Activation", {"activation": "relu"}], ["LeakyReLU", {}]]
    made += [["PReLU", {"shared_axes": [1, 2]}], ["Dense", {"units": 3}]]
    for (name, own), length in itertools.product(made, (None, 12)):
        end = ["TimeDistributed", {"layer": layer("Flatten")}, ["n1"]]
        yield {
            "family": name,
            "inputs": [[[length, bins, channels], "numbers"]],
            "nodes": [
                [name, own, ["i0"]],
                ["BatchNormalization", {}, ["n0"]],
                end,
                ["GRU", {"units": 2, "return_sequences": True}, ["n2"]],
            ],
            "outputs": ["n0", "n3"],
        }
    for name, keep in itertools.product(("GlobalAveragePooling2D", "GlobalMaxPooling2D"), (False, True)):
        yield {
            "family": name,
            "inputs": [[[12, bins, channels], "numbers"]],
            "nodes": [
                ["Conv2D", {"filters": 2, "kernel_size": 3}, ["i0"]],
                [name, {"keepdims": keep}, ["n0"]],
            ],
            "outputs": ["n1"],
        }


# ---- composed networks -------------------------------------------------------------------------------------


def composed(draw, count=300):
    """Two to five layers on one another, with residuals and branches; some of them masked."""
    for _ in range(count):
        inputs, nodes, ref = draw.time_input(length=draw.choice((None, 12)))
        was_masked, pool = inputs[0][1] != "numbers", [(ref, WIDTH)]

        def add(name, options, refs, width, nodes=nodes, pool=pool):
            nodes.append([name, options, refs])
            pool.append((f"n{len(nodes) - 1}", width))

        for _ in range(draw.randint(2, 5)):
            ref, width = draw.choice(pool[-2:])
            n, kind = draw.choice((2, 4)), draw.randrange(12)
            cell = draw.choice(CELLS)
            own = {k: v for k, v in draw.cell_options(cell).items() if k != "units"} | {"units": n}
            if kind in (0, 1):
                add(cell, own | {"return_sequences": True} | draw.few(go_backwards=(True,)), [ref], n)
            elif kind == 2:
                add("Bidirectional", {"layer": layer(cell, **own, return_sequences=True)}, [ref], 2 * n)
            elif kind in (3, 4):
                own = {
                    "filters": n,
                    "kernel_size": draw.choice((1, 2, 3)),
                    "padding": draw.choice(("same", "causal")),
                }
                own |= draw.few(dilation_rate=(2,), activation=ACTIVATIONS)
                add("Conv1D", own, [ref], n)
            elif kind == 5:
                add(draw.choice(("BatchNormalization", "LayerNormalization")), {}, [ref], width)
            elif kind == 6:
                add("Dense", {"units": n, "activation": draw.choice(ACTIVATIONS)}, [ref], n)
            elif kind == 7:
                add("TimeDistributed", {"layer": layer("Dense", units=n)}, [ref], n)
            elif kind == 8:
                add(draw.choice(("Dropout", "SpatialDropout1D")), {"rate": 0.2}, [ref], width)
            elif kind == 9 and not was_masked:
                add("SeparableConv1D", {"filters": n, "kernel_size": 3, "padding": "same"}, [ref], n)
            else:
                same = [r for r, w in pool if w == width]
                if len(same) > 1 and draw.some(0.7):
                    add(
                        draw.choice(("Add", "Multiply", "Average", "Maximum")),
                        {},
                        [ref, draw.choice(same)],
                        width,
                    )
                elif len(pool) > 1:
                    other, more = draw.choice(pool)
                    if other != ref:
                        add("Concatenate", {}, [ref, other], width + more)
        ref, width = pool[-1]
        end = draw.randrange(5)
        if end == 0:
            add("GlobalAveragePooling1D", {}, [ref], width)
        elif end == 1:
            add(draw.choice(CELLS), {"units": 3}, [ref], 3)
        elif end == 2:
            add("Bidirectional", {"layer": layer("GRU", units=2)}, [ref], 4)
        elif end == 3:
            add("GlobalMaxPooling1D", {}, [ref], width)
        if end < 4:
            add(
                "Dense",
                {"units": 2, "activation": draw.choice(("softmax", "sigmoid", "linear"))},
                [pool[-1][0]],
                2,
            )
        yield {"family": "composed", "inputs": inputs, "nodes": nodes, "outputs": [pool[-1][0]]}


FAMILIES = (
    recurrent,
    over_cells,
    bidirectional,
    convolutions,
    pools,
    pointwise,
    shapes,
    merges,
    fronts,
    composed,
    time_major,
)


def descriptions():
    """Every network of the grid, in an order that never depends on anything."""
    made = []
    for family in FAMILIES:
        made += family(Draw(f"keras {family.__name__}"))
    return [d | {"number": k} for k, d in enumerate(made)]


def fingerprint():
    """Of all descriptions: records and their judge must have the same."""
    return hashlib.sha256(json.dumps(descriptions()).encode()).hexdigest()


def away_from_tensorflow(description):
    """Where Keras's PyTorch backend answers otherwise than TensorFlow, whose answer is taken: averages over
    "same" padding of one side repeat the frame at the edge there.
    """
    return any(
        name.startswith("AveragePooling") and options["padding"] == "same"
        for name, options, _ in description["nodes"]
    )


# ---- the network of a description --------------------------------------------------------------------------

#: What Keras 3 has no such option for, and what Keras 2 calls otherwise.
GONE = {"implementation", "time_major"}
RENAMED = {("LeakyReLU", "negative_slope"): "alpha"}


def built(description, keras, batch=None):
    """The Keras network of a description; ``batch``: fixed, where something is stateful."""
    L, recent = keras.layers, not keras.__version__.startswith("2.")

    def value(x):
        if isinstance(x, dict) and "class" in x:
            return made(x["class"], x["options"])
        return [value(y) for y in x] if isinstance(x, list) else x

    def made(name, options):
        options = {k: value(v) for k, v in options.items() if k != "state" and not (recent and k in GONE)}
        if not recent:
            options = {RENAMED.get((name, k), k): v for k, v in options.items()}
        return getattr(L, name)(**options)

    known = {}
    for k, (shape, _) in enumerate(description["inputs"]):
        x = keras.Input(batch_shape=(batch, *shape), name=f"i{k}")
        known[f"i{k}"] = x
    find = lambda ref: known[ref.partition(".")[0]][int(ref.partition(".")[2])] if "." in ref else known[ref]
    for k, (name, options, refs) in enumerate(description["nodes"]):
        given = [find(r) for r in refs]
        called = {"initial_state": [find(r) for r in options["state"]]} if "state" in options else {}
        if called and len(called["initial_state"]) == 1:
            called["initial_state"] = called["initial_state"][0]
        known[f"n{k}"] = made(name, options)(given[0] if len(given) == 1 else given, **called)
    inputs = [known[f"i{k}"] for k in range(len(description["inputs"]))]
    return keras.Model(inputs, [find(r) for r in description["outputs"]])


def stateful(description):
    return '"stateful": True' in repr(description).replace("'", '"')
