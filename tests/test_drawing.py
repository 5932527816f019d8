"""What a notebook shows of a model: its summary as a table, its graph as a picture that stands alone."""

from itertools import pairwise
from xml.etree import ElementTree

import pytest
from cases import CASES
from small_models import built, model_of, network, two_inputs_two_outputs

import rnnrt
from rnnrt import drawing
from rnnrt import layers as L

#: Chains of one layer look alike.
SHAPES = [c for k, c in enumerate(CASES) if len(c.graph().layers) > 3 or k % 8 == 0]
SVG = "{http://www.w3.org/2000/svg}"


def picture(model):
    """The picture in what a notebook shows, as XML."""
    text = model._repr_html_()
    assert text.count("xmlns") == text.count("http") == 1  # the name of SVG, which nobody fetches
    assert not [word for word in ("<script", "src=", "href", "@import", "url(") if word in text]
    return ElementTree.fromstring(text[text.index("<svg") : text.index("</svg>") + 6])


def boxes(svg):
    """{first line of its tooltip: (left, top, right, bottom, tooltip)}."""
    found = {}
    for group in svg.iter(f"{SVG}g"):
        title, rect = group.find(f"{SVG}title").text, group.find(f"{SVG}rect")
        x, y, wide, high = (float(rect.get(k)) for k in ("x", "y", "width", "height"))
        found.setdefault(title.split("\n")[0], []).append((x, y, x + wide, y + high, title))
    return found


@pytest.mark.parametrize("case", SHAPES, ids=lambda c: c.name)
def test_every_layer_has_a_box_below_what_it_reads_and_beside_the_others(case):
    model = rnnrt.from_graph(case.graph())
    svg, graph = picture(model), model.graph
    found = boxes(svg)
    for x in graph.layers:
        title = found[x.name][0][4]
        assert str(graph.signals[x.name]) in title and (f"{x.parameters:,} parameter" in title) == (
            x.parameters > 0
        )
        for reference in x.reads:
            assert found[L.base.layer_of(reference)][0][3] < found[x.name][0][1]
    every = [box for same in found.values() for box in same]
    assert len(every) == len(graph.layers) + len(graph.outputs)
    for (_, top, right, *_), (left, other, *_) in pairwise(sorted(every, key=lambda b: (b[1], b[0]))):
        assert top != other or left > right
    width, height = (float(svg.get(k)) for k in ("width", "height"))
    assert all(b[0] >= 0 and b[1] >= 0 and b[2] <= width and b[3] <= height for b in every)
    paths = list(svg.iter(f"{SVG}path"))
    assert len(paths) == sum(len(x.reads) for x in graph.layers) + len(graph.outputs)
    masks = sum(len(x.reads) - len(x.inputs) for x in graph.layers)
    assert sum(p.get("stroke-dasharray") is not None for p in paths) == masks


def test_an_edge_passes_beside_the_boxes_of_the_ranks_between():
    """x goes to the sum at once, too: beside a, b and c."""

    def make(b):
        x = b.input("x", (3,))
        y = x
        for name in "abc":
            y = b.add(L.Activation, name, y, activation="tanh")
        return b.add(L.Add, "sum", y, x)

    svg = picture(network(make))
    found = boxes(svg)
    (around,) = (p for p in svg.iter(f"{SVG}path") if p.get("d").count("V") == 3)
    words = around.get("d").split()
    beside = [float(words[k - 2]) for k, word in enumerate(words) if word.startswith("V")]
    for x, name in zip(beside, "abc"):
        left, _, right, *_ = found[name][0]
        assert x < left or x > right


def test_a_picture_says_what_streams_and_what_an_answer_sees():
    causal = built(
        lambda b, x, r: b.add(L.Conv1D, "conv", x, weight=r.normal(size=(2, 3, 3)), padding=(1, 1))
    )
    text = causal._repr_html_()
    assert "2 layers, 18 parameters, streams, 1 frame late" in text
    assert "an answer sees 3 frames" in text and "18 parameters, 1 frame late" in text
    assert "does not stream" in model_of("lstm_reverse")._repr_html_()
    second = two_inputs_two_outputs()
    assert ">h</text>" in second._repr_html_()  # what of the layer the output shows


def test_names_are_text_and_are_cut_where_a_box_ends():
    def make(b):
        return b.add(L.Activation, "</text><script>" + "long" * 20, b.input("a&b", (3,)), activation="tanh")

    model = network(make)
    found, text = boxes(picture(model)), model._repr_html_()
    assert "</text><script>" + "long" * 20 in found and "a&b" in found
    assert "…</text>" in text and "a&amp;b" in model.summary()._repr_html_() and "<script" not in text


def test_a_model_of_very_many_layers_is_a_table(monkeypatch):
    monkeypatch.setattr(drawing, "MOST", 1)
    text = model_of("lstm_5")._repr_html_()
    assert "<svg" not in text and "<td>LSTM</td>" in text


def test_a_summary_is_a_text_that_a_notebook_shows_as_a_table():
    b = L.GraphBuilder()
    b.output("y", b.add(L.Dense, "fc", b.input("x", (300,)), weight=[[1.0] * 300] * 4))
    model = rnnrt.Model(b.graph(metadata={"assumptions": ["a < b"]}))
    made = model.summary()
    lines = [
        "layer  kind   output              parameters",
        "x      Input  (batch, time, 300)",
        "fc     Dense  (batch, time, 4)         1,200",
        "              in all                   1,200",
        "assumed: a < b",
    ]
    assert isinstance(made, str) and str(made) == repr(made) == made == "\n".join(lines)
    assert made.rows[2] == ("fc", "Dense", "(batch, time, 4)", "1,200") and made.assumptions == ("a < b",)
    text = made._repr_html_()
    assert text.count("<tr>") == 4 and "<td>1,200</td>" in text and "<li>a &lt; b</li>" in text
