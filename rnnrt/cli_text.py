"""What the command shows people: tables, a bar of progress, and what a network holds."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys

from .graph import Graph
from .layers import Input


def table(header, rows):
    """Lines of aligned columns: text to the left, numbers to the right."""
    cells = [[str(c) for c in row] for row in [header, *rows]]
    widths = [max(len(row[k]) for row in cells) for k in range(len(header))]
    right = [
        all(
            isinstance(row[k], (int, float)) or str(row[k])[:1].isdigit() or row[k] in ("", "-")
            for row in rows
        )
        for k in range(len(header))
    ]
    return [
        "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right)).rstrip()
        for row in cells
    ]


@contextlib.contextmanager
def progress(label):
    """Yields progress(fraction): a bar on stderr (rich where it is installed, plain where not), silent unless
    that is a terminal.
    """
    if not sys.stderr.isatty():
        yield lambda fraction: None
        return
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:
        yield lambda fraction: print(
            f"\r{label} {fraction:4.0%}", end="" if fraction < 1 else "\r\033[K", file=sys.stderr, flush=True
        )
        return
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=1.0)
        yield lambda fraction: bar.update(task, completed=fraction)


def describe(graph: Graph) -> dict:
    """What a graph holds, as plain JSON values."""
    layers = []
    for layer in graph.layers:
        if isinstance(layer, Input):
            continue
        options = {}
        for item in dataclasses.fields(layer):
            value = getattr(layer, item.name)
            if item.name not in ("name", "inputs", "graph", *layer.arrays) and value != item.default:
                options[item.name] = value if isinstance(value, (bool, int, float, str)) else str(value)
        signal = graph.signals[layer.name]
        layers.append(
            {
                "name": layer.name,
                "kind": layer.kind,
                "inputs": list(layer.inputs),
                "output": str(signal),
                "parameters": int(layer.parameters),
                "options": options,
            }
        )
    return {
        "inputs": [
            {"name": n, "shape": str(graph.signals[n]), "axes": graph[n].axes, "ids": graph[n].ids}
            for n in graph.inputs
        ],
        "outputs": [
            {"name": o.name, "shape": str(graph.signals[o.value]), "axes": o.axes, "value": o.value}
            for o in graph.outputs
        ],
        "parameters": int(graph.parameters),
        "layers": layers,
        "metadata": graph.metadata,
    }


def described(data):
    rows = []
    for x in data["layers"]:
        options = ", ".join(f"{k}={v}" for k, v in x["options"].items())
        rows.append((x["name"], x["kind"], x["output"], x["parameters"], ", ".join(x["inputs"]), options))
    lines = table(("layer", "kind", "output", "parameters", "reads", "options"), rows)
    lines += ["", f"{data['parameters']} parameters"]
    for word in ("inputs", "outputs"):
        lines += [
            f"{word[:-1]} {x['name']}: {x['shape']}" + (", ids" if x.get("ids") else "") + _axes(x)
            for x in data[word]
        ]
    for key, value in data["metadata"].items():
        if key == "assumptions":  # among those of the model
            continue
        if isinstance(value, list):
            lines += [f"{key}:"] + [f"  {v}" for v in value] if value else []
        else:
            plain = isinstance(value, (str, int, float, bool, type(None)))
            lines.append(f"{key}: {value if plain else json.dumps(value)}")
    return lines


def _axes(item):
    return (
        ""
        if item["axes"] in ("btf", "bf")
        else ", as (" + ", ".join({"b": "batch", "t": "time", "f": "channels"}[a] for a in item["axes"]) + ")"
    )
