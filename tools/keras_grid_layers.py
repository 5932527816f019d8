"""The layers of the option grid that are not recurrent."""

from __future__ import annotations

import itertools

from keras_grid_draw import ACTIVATIONS, CELLS, RECENT, WIDTH, WORDS, layer

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


def heads(draw):
    """Attention of several heads, of one input to another and of one to itself."""
    options = itertools.product((1, 2, 3), (None, 5), (True, False), (None, 6), (None, 7))
    for number, value, bias, size, length in options:
        own = {"num_heads": number, "key_dim": 4, "use_bias": bias} | draw.few(dropout=(0.2,))
        own |= ({"value_dim": value} if value else {}) | ({"output_shape": size} if size else {})
        for refs in (["i0", "i1"], ["i0", "i0"], ["i0", "i1", "i2"]):
            used = len(set(refs))
            yield {
                "family": "MultiHeadAttention",
                "inputs": [[[length, WIDTH + (k and 2)], "numbers"] for k in range(used)],
                "nodes": [["MultiHeadAttention", own, refs]],
                "outputs": ["n0"],
            }


# ---- 2-D fronts --------------------------------------------------------------------------------------------


def _before_frames(name, own, shape):
    """A 2-D layer, frames, then a GRU."""
    return {
        "family": name,
        "inputs": [[shape, "numbers"]],
        "nodes": [
            [name, own, ["i0"]],
            ["BatchNormalization", {}, ["n0"]],
            ["TimeDistributed", {"layer": layer("Flatten")}, ["n1"]],
            ["GRU", {"units": 2, "return_sequences": True}, ["n2"]],
        ],
        "outputs": ["n0", "n3"],
    }


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
        yield _before_frames(name, own, [length, bins, channels])
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


def transposed_fronts(draw, count=1):
    """Conv2DTranspose over (time, bins, channels), as in ``fronts``."""
    made = []
    for padding, taps, stride in itertools.product(
        ("valid", "same"), ((1, 1), (3, 3), (2, 3), (4, 2), (3, 4)), (1, 2, 3)
    ):
        own = {"kernel_size": list(taps), "padding": padding, "strides": [1, stride], "filters": 3}
        made.append(own | draw.few(use_bias=(False,), activation=ACTIVATIONS))
    made += [{"filters": 2, "kernel_size": [3, 2], "dilation_rate": n} for n in ([2, 1], [1, 2], [2, 2])]
    for own, length in itertools.product(made, (None, 12)):
        yield _before_frames("Conv2DTranspose", own, [length, 8, 2])
