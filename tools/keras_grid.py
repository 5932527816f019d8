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
import json

from keras_grid_draw import Draw
from keras_grid_layers import convolutions, fronts, heads, merges, pointwise, pools, shapes, transposed_fronts
from keras_grid_masks import masks
from keras_grid_recurrent import bidirectional, composed, over_cells, recurrent, time_major

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
    masks,
    transposed_fronts,
    heads,
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
        name.startswith("AveragePooling") and options.get("padding") == "same"
        for name, options, _ in description["nodes"]
    )


# ---- the network of a description --------------------------------------------------------------------------

#: What is called with its tensors one by one, not with a list of them.
ONE_BY_ONE = {"MultiHeadAttention"}
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
        given = given if name in ONE_BY_ONE else [given[0] if len(given) == 1 else given]
        known[f"n{k}"] = made(name, options)(*given, **called)
    inputs = [known[f"i{k}"] for k in range(len(description["inputs"]))]
    return keras.Model(inputs, [find(r) for r in description["outputs"]])


def stateful(description):
    return '"stateful": True' in repr(description).replace("'", '"')
