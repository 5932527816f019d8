"""``rnnrt explain``: what the recurrent layers do at every step, in figures and as a picture."""

from __future__ import annotations

import numpy as np

from .. import plot
from ..tables import table
from .files import check_destination, read_inputs, split_input
from .models import files_read, open_model
from .pictures import check_picture, write_picture
from .report import Report

#: A gate this near 0 is shut, and this near 1 is open.
NEAR = 0.05


def explain(options):
    if options.plot:
        check_picture(options.plot, "rnnrt explain --plot")
    model = open_model(options.model, options)
    graph = model.graph
    if options.plot:
        read = (options.model, *files_read(options), *(split_input(graph, x)[1] for x in options.input))
        check_destination(options.plot, read, "picture", options.force)
    inputs, _ = read_inputs(graph, options.input)
    given = [inputs[name] for name in graph.inputs]
    traced = model.trace(*given)
    layers = {name: {word: described(word, a) for word, a in found.items()} for name, found in traced.items()}
    data = {"model": str(options.model), "receptive_field": model.receptive_field, "layers": layers}
    rows = [
        (name, plot.WORDS.get(word, word), *map(number, (x["min"], x["mean"], x["max"])), *shares(x))
        for name, found in layers.items()
        for word, x in found.items()
    ]
    lines = table(("layer", "what", "min", "mean", "max", "shut", "open"), rows)
    seen = model.receptive_field
    lines.append(
        f"an answer sees {'all frames so far, or all there are' if seen is None else f'{seen} frames'}"
    )
    if options.plot:
        write_picture(options.plot, plot.gates(model, *given))
        data["plot"] = options.plot
        lines.append(f"drawn: {options.plot}")
    return Report(data, lines)


def described(word, a):
    """What an array of a trace comes to, as plain values; of a gate the shares that are near 0 and near 1."""
    real = a[~np.isnan(a)].astype(np.float64)
    if not real.size:
        return {"min": None, "mean": None, "max": None}
    made = {"min": float(real.min()), "mean": float(real.mean()), "max": float(real.max())}
    if word in plot.OPEN_OR_SHUT:
        made |= {"shut": float((real < NEAR).mean()), "open": float((real > 1 - NEAR).mean())}
    return made


def number(x):
    return "-" if x is None else f"{x:.3g}"


def shares(x):
    return [f"{x[k]:.0%}" if k in x else "" for k in ("shut", "open")]
