"""The operator table: what a foreign program's words mean, and that a source of its own words needs no more
than a vocabulary.
"""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rnnrt
from rnnrt import reference
from rnnrt.errors import RnnrtError, ShapeError, UnsupportedModelError
from rnnrt.importers.axes.layouts import (
    Impossible,
    Layout,
    LayoutMismatch,
    layouts_of,
    open_layouts,
    search,
)
from rnnrt.importers.axes.values import AxesError, Constant, Network
from rnnrt.importers.operators import OPERATORS
from rnnrt.importers.operators.table import (
    Word,
    call,
    harmless,
    in_place,
    only,
    optional,
    rest,
    takes,
    vocabulary,
)

# ---- a source with words of its own ------------------------------------------------------------------------


def split_pads(pads, **arguments):
    """This source writes [before, after] and counts strides in lists."""
    return arguments | {"padding": tuple(pads), "stride": arguments["stride"][0]}


def cells_of_iofc(x, weight, recurrent, bias):
    """This source keeps an LSTM's gates as i o f c, one bias for both products."""
    order = lambda array: np.concatenate([np.split(array, 4)[k] for k in (0, 2, 3, 1)])
    fields = {"weight": weight.array, "recurrent_weight": recurrent.array, "bias": bias.array}
    cell = {name: order(array) for name, array in fields.items()}
    return {"x": x, "cells": ((cell,),), "batch_first": True}


WORDS = vocabulary(
    {
        "Convolve": Word(
            "conv1d",
            takes("x"),
            takes("weight"),
            optional("bias"),
            takes("strides", "stride", (1,)),
            takes("pads", "pads", (0, 0)),
            only("border", "zeros"),
            prepare=split_pads,
        ),
        "Rectify": Word("relu", takes("x")),
        "Turn": Word("permute", takes("x"), takes("perm", "order")),
        "Times Product": Word("matmul", takes("x", "a"), takes("y", "b")),
        "Plus": Word("add", takes("x", "a"), takes("y", "b"), *harmless("label")),
        "Memory": Word(
            "lstm", takes("x"), takes("weight"), takes("recurrent"), takes("bias"), prepare=cells_of_iofc
        ),
        "Mean": Word("reduce_mean", takes("x"), takes("axes"), takes("keep_axes", "keep", True)),
        "First": Word("item", takes("x"), index=0),
        "Drop": Word("squeeze", takes("x"), takes("axes")),
        "Beside": Word("concat", rest("parts", "tensors"), takes("axis")),
    }
)


def arrays():
    draw = np.random.default_rng(7)
    shapes = {"kernel": (4, 3, 3), "shift": (4,), "project": (4, 5), "more": (5,)}
    shapes |= {"weight": (8, 5), "recurrent": (8, 2), "bias": (8,)}
    return {name: draw.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def program():
    """(name, word, arguments by position, arguments by name): x (batch, features, time) to two outputs."""
    return [
        ("conv", "Convolve", ["x", "kernel", "shift"], {"pads": [1, 0], "border": "zeros"}),
        ("bent", "Rectify", ["conv"], {}),
        ("frames", "Turn", ["bent"], {"perm": [0, 2, 1]}),
        ("product", "Product", ["frames", "project"], {}),
        ("moved", "Plus", ["product", "more"], {"label": "a note"}),
        ("memory", "Memory", ["moved", "weight", "recurrent", "bias"], {}),
        ("sequence", "First", ["memory"], {}),
        ("both", "Beside", [["sequence", "moved"]], {"axis": 2}),
        ("mean", "Mean", ["both"], {"axes": [1]}),
        ("flat", "Drop", ["mean"], {"axes": [1]}),
    ]


def lowered(layout=None):
    """The Graph of the program above, its input laid out as ``layout``, or as it says itself."""
    layout = layout or Layout("bft", 3)
    net = Network()
    values = {name: Constant(name, array) for name, array in arrays().items()}
    values["x"] = net.input("x", layout.axes, layout.size, ids=layout.ids, length=layout.length)
    look = lambda name: list(map(look, name)) if isinstance(name, list) else values[name]
    for place, (name, word, positional, named) in enumerate(program()):
        net.name = name
        try:
            values[name] = call(net, WORDS, word, *map(look, positional), **named)
        except RnnrtError as error:
            raise LayoutMismatch(place, net.placed, ["x"], error.at(name)) from error
    net.output("both", values["both"])
    net.output("flat", values["flat"])
    return net.graph({"source": "a source of its own words"})


def worked_out(x):
    """The same in NumPy, one frame after the other."""
    sigmoid = lambda z: 1 / (1 + np.exp(-z))
    own = {name: array.astype(np.float64) for name, array in arrays().items()}
    frames, h, c, answers = x.shape[2] - 1, np.zeros((len(x), 2)), np.zeros((len(x), 2)), []
    padded = np.concatenate([np.zeros_like(x[:, :, :1]), x], axis=2)
    for t in range(frames):
        conv = np.einsum("bft,oft->bo", padded[:, :, t : t + 3], own["kernel"]) + own["shift"]
        moved = np.maximum(conv, 0) @ own["project"] + own["more"]
        gates = moved @ own["weight"].T + h @ own["recurrent"].T + own["bias"]
        i, o, f, g = np.split(gates, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        answers.append(np.concatenate([h, moved], axis=1))
    return np.stack(answers, axis=1)


def test_a_vocabulary_is_all_that_a_new_source_needs():
    x = np.random.default_rng(1).standard_normal((2, 3, 9))
    outputs, _ = reference.run(lowered(), {"x": x.transpose(0, 2, 1)})
    np.testing.assert_allclose(outputs["both"], worked_out(x), atol=1e-12)
    np.testing.assert_allclose(outputs["flat"], worked_out(x).mean(axis=1), atol=1e-12)
    answered = rnnrt.from_graph(lowered()).run({"x": x.astype(np.float32)})
    np.testing.assert_allclose(answered["both"], worked_out(x), atol=1e-5)


def test_axes_that_a_program_does_not_state_are_found():
    fitting, _ = search({"x": open_layouts([3, 4, 8])}, lambda layouts: lowered(layouts["x"]))
    assert [layouts["x"] for layouts, _ in fitting] == [Layout("bft", 3)]
    (found,) = [graph for _, graph in fitting]
    assert [layer.name for layer in found.layers] == [layer.name for layer in lowered().layers]
    fitting, _ = search({"x": layouts_of((2, 3, 9), ids=False, fixed=False)}, lambda x: lowered(x["x"]))
    assert [layouts["x"] for layouts, _ in fitting] == [Layout("bft", 3)]


def test_the_reading_that_came_furthest_says_why_none_fits():
    def read(layouts):
        layout = layouts["x"]
        place, error = {"btf": (4, ShapeError("four")), "bft": (4, UnsupportedModelError("five"))}.get(
            layout.axes, (7, AxesError("seven"))
        )
        raise LayoutMismatch(place, layout.axes in ("btf", "bft"), ["x"], error)

    fitting, error = search({"x": layouts_of((2, 3, 9), ids=False, fixed=False)}, read)
    assert not fitting and error.what == "five"
    assert layouts_of((2, 3, 4, 5, 6), ids=False, fixed=False) == []
    pictures = {x.axes: x.size for x in layouts_of((2, 3, 4, 5), ids=False, fixed=False)}
    assert pictures == {"bftf": (3, 5), "bfft": (3, 4), "btff": (4, 5)}
    assert layouts_of((2, 9), ids=True, fixed=True) == [
        Layout("bt", None, True, 9),
        Layout("tb", None, True, 2),
    ]


def test_what_one_search_found_impossible_another_does_not_read_again():
    seen, impossible = [], Impossible()

    def read(layouts):
        seen.append(layouts)
        if layouts["h"].axes != "tb":
            raise LayoutMismatch(1, 0, ["h"], AxesError("h is " + layouts["h"].axes))
        if layouts["x"].axes != "bft" or layouts["x"].length is None:
            raise LayoutMismatch(2, 0, ["x"], AxesError("x is " + layouts["x"].axes))

    own = {n: layouts_of(shape, ids=False, fixed=False) for n, shape in (("x", (2, 3, 9)), ("h", (2, 3)))}
    fitting, error = search(own, read, impossible=impossible)
    assert not fitting and error.what == "x is btf" and len(seen) == 5  # two of h, then three of x
    longer = own | {"x": [x._replace(length=9) for x in own["x"]]}
    (found,) = search(longer, read, impossible=impossible)[0]
    assert found[0] == {"x": Layout("bft", 3, False, 9), "h": Layout("tb", None)}
    assert len(seen) == 8  # no other layout of h
    assert search(own, read, impossible=impossible)[1] is error and len(seen) == 8


def test_operators_need_no_framework():
    code = (
        "import sys\n"
        "for name in ('torch', 'keras', 'tensorflow', 'onnx'): sys.modules[name] = None\n"
        "import test_operators\n"
        "print(len(test_operators.lowered().layers))"
    )
    here = Path(__file__).parent
    folders = [str(Path(rnnrt.__file__).parent.parent), str(here), str(here / "support")]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == str(len(lowered().layers)), done.stderr


def test_operators_have_the_names_of_no_framework():
    folder = Path(inspect.getfile(Word)).parent
    texts = [p.read_text() for part in (folder, folder.parent / "axes") for p in sorted(part.glob("*.py"))]
    assert len(texts) >= 9
    assert not re.findall(r"(?i)torch|\baten\b|onnx|keras", "".join(texts))
    assert {"matmul", "add", "transpose", "reshape", "concat", "conv1d", "lstm"} <= set(OPERATORS)
    for name, operator in OPERATORS.items():
        assert name == name.lower() and (operator.lower.__doc__ or name in rnnrt.layers.FUNCTIONS), name


# ---- arguments ---------------------------------------------------------------------------------------------

FACTS = vocabulary(
    {
        "scale": Word(
            "leaky_relu",
            takes("x"),
            takes("by|factor", "slope", 0.5),
            only("kind", "plain", None),
            in_place(),
        ),
        "swap": Word("permute", takes("x"), rest("dims", "order"), *harmless("hint")),
        "last": Word("select", takes("x"), index=-1, axis=1),
        "scale_": Word("leaky_relu", takes("x"), slope=0.5).in_place(),
    }
)


def network():
    net = Network()
    net.name = "call"
    return net, net.input("x", "btf", 3)


@pytest.mark.parametrize(
    "word, positional, named, match",
    [
        (
            "scale",
            (),
            {"stretch": 2},
            "scale has an argument that is not known: stretch; expected x, by, kind",
        ),
        ("scale", (0.1, "plain", False, 7), {}, "scale has an argument that is not known: number 5.*found 7"),
        ("scale", (), {"kind": "odd"}, "scale with kind=odd is not supported; expected kind=plain or None"),
        ("scale", ("narrow",), {}, "scale is not supported with these arguments; found .*slope=narrow"),
        ("last", (), {"index": 0}, "last has an argument that is not known: index"),
        ("swap", (0, 1), {}, "must name every axis once"),
    ],
)
def test_an_argument_is_used_or_refused_by_name(word, positional, named, match):
    net, x = network()
    with pytest.raises(UnsupportedModelError, match=match):
        call(net, FACTS, word, x, *positional, **named)
    assert [layer.name for layer in net.builder.layers] == ["x"]


def test_a_missing_argument_is_named():
    with pytest.raises(UnsupportedModelError, match="scale is called without its argument x"):
        call(network()[0], FACTS, "scale", by=0.1)


def test_arguments_by_place_and_by_any_of_their_names():
    for positional, named, slope in (
        ((), {}, 0.5),
        ((0.1,), {}, 0.1),
        ((), {"by": 0.2}, 0.2),
        ((), {"factor": 0.3, "kind": None}, 0.3),
    ):
        net, x = network()
        call(net, FACTS, "scale", x, *positional, **named)
        assert net.builder.layers[-1].activation.parameters == (slope,)
    net, x = network()
    for turned in (call(net, FACTS, "swap", x, *d, hint="any") for d in ((0, 2, 1), ([0, 2, 1],))):
        assert turned.axes == ("b", "f", "t")
    assert call(net, FACTS, "swap", x, dims=(2, 0, 1)).axes == ("f", "b", "t")
    assert call(net, FACTS, "last", x).axes == ("b", "f")


@pytest.mark.parametrize("word, options", [("scale", {"inplace": True}), ("scale_", {})])
def test_what_was_overwritten_is_not_read_again(word, options):
    net, x = network()
    y = call(net, FACTS, word, x, **options)
    assert call(net, FACTS, "last", y).axes == ("b", "f")
    with pytest.raises(UnsupportedModelError, match=f"{word} has changed in place"):
        call(net, FACTS, "last", x)


def test_an_operator_reads_only_what_it_takes():
    net = Network()
    ids = net.input("ids", "bt", None, ids=True)
    with pytest.raises(AxesError, match="can only be embedded"):
        call(net, FACTS, "scale", ids)
    net, x = network()
    words = vocabulary({"pad": Word("pad", takes("x"), widths=(1, 1))})
    padded = call(net, words, "pad", call(net, FACTS, "swap", x, 0, 2, 1))
    call(net, FACTS, "scale", padded)  # zeros that no convolution takes up are frames like any other
    assert [layer.kind for layer in net.builder.layers][-2:] == ["pad", "activation"]
