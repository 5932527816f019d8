"""Pictures of what a network does, drawn with matplotlib (``pip install 'rnnrt[report]'``). Each function
returns a matplotlib Figure: a notebook shows it, ``figure.savefig(path)`` writes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import timing
from .errors import ShapeError, require

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .model import Model

#: What the arrays of a trace are, in the order they are drawn.
WORDS = {
    "i": "input gate i",
    "f": "forget gate f",
    "g": "candidate g",
    "o": "output gate o",
    "z": "update gate z",
    "r": "reset gate r",
    "n": "candidate n",
    "c": "cell c",
    "h": "state h",
}
#: Of these the range of colours is from 0 to 1; of the others it lies around 0.
OPEN_OR_SHUT = "ifozr"


def gates(model: Model[Any], x: ArrayLike | None, *more: ArrayLike | None, row: int = 0) -> Any:
    """The gates, the memory cell and the state of every recurrent layer over time, for row ``row`` of a
    batch: a column a layer, a line a unit, colours as ``Model.trace`` says. Raises what ``trace`` raises,
    MissingExtraError without matplotlib.
    """
    figure_of = _figure("rnnrt.plot.gates")
    traced = {name: _of_row(found, row) for name, found in model.trace(x, *more).items()}
    high = max(len(found) for found in traced.values())
    figure = figure_of(figsize=(1.5 + 5 * len(traced), 0.8 + 1.7 * high), layout="constrained")
    places = figure.subplots(high, len(traced), squeeze=False)
    for column, (name, found) in zip(places.T, traced.items()):
        words = sorted(found, key=lambda w: [*WORDS].index(w) if w in WORDS else len(WORDS))
        for place, word in zip(column, words):
            _heat(figure, place, word, found[word])
        for place in column[len(words) :]:
            place.set_axis_off()
        column[0].set_title(f"{name}\n{column[0].get_title()}", fontsize=10)
        column[len(words) - 1].set_xlabel("time step")
    return figure


def receptive_field(model: Model[Any]) -> Any:
    """For every layer that the engine runs the input frames behind one frame of its output: a bar from the
    first to the last, counted from the frame that it stands at; an arrow where it is all frames before, or
    all there are.
    """
    figure_of = _figure("rnnrt.plot.receptive_field")
    graph = model._run_graph
    reach = timing.reaches(graph)
    layers = [x for x in graph.layers if graph.signals[x.name].time]
    figure = figure_of(figsize=(8, 0.9 + 0.32 * len(layers)), layout="constrained")
    place = figure.subplots()
    known = [reach[x.name] for x in layers if reach[x.name] is not None]
    left = min([-1.0, *(float(first) for first, _, _ in known)]) * 1.15
    right = max([0.0, *(float(last) for _, last, _ in known)])
    for k, layer in enumerate(layers):
        if reach[layer.name] is None:
            place.barh(k, right - left + 1, left=left - 0.5, color="C0", alpha=0.3)
            place.text(left, k, "← all of them", va="center", fontsize=8)
            continue
        first, last = (float(n) for n in reach[layer.name][:2])
        place.barh(k, last - first + 1, left=first - 0.5, color="C0")
    place.axvline(0, color="0.5", linewidth=0.8)
    place.set_yticks(range(len(layers)), [x.name for x in layers])
    place.invert_yaxis()
    place.set_xlim(left - 0.5, right + 0.5)
    place.set_xlabel("input frames seen, from the frame it stands at (0)")
    return figure


def _figure(purpose):
    """The class of figures, which draws without a display and belongs to no window."""
    return require("matplotlib.figure", "report", purpose).Figure


def _of_row(found, row):
    """{name: (time, units)}."""
    made = {}
    for name, a in found.items():
        if a.ndim > 2 and not -len(a) <= row < len(a):
            raise ShapeError(f"there is no row {row}", expected=f"0 to {len(a) - 1}")
        a = a[row] if a.ndim > 2 else a
        made[name] = a.reshape(len(a), -1)
    return made


def _heat(figure, place, word, a):
    shut = word in OPEN_OR_SHUT
    finite = np.abs(a[np.isfinite(a)])
    most = float(finite.max()) if finite.size else 1.0
    most = max(1.0, most) if word in "gn" else most or 1.0
    colours = (
        {"cmap": "viridis", "vmin": 0, "vmax": 1}
        if shut
        else {"cmap": "coolwarm", "vmin": -most, "vmax": most}
    )
    drawn = place.imshow(a.T, aspect="auto", interpolation="nearest", origin="lower", **colours)
    figure.colorbar(drawn, ax=place, pad=0.01)
    place.set_title(WORDS.get(word, word), fontsize=9)
    place.set_ylabel("unit")
