"""The recurrent layers of the option grid, and networks of several layers."""

from __future__ import annotations

import itertools

from keras_grid_draw import ACTIVATIONS, CELLS, WIDTH, layer


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
