"""``rnnrt info``: what a network holds."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np

from .. import timing
from ..errors import NotStreamableError
from ..graph import Graph
from ..layers import Input
from ..tables import table
from .card import card
from .models import open_model
from .report import WHY, Report, golden_line

#: Metadata that tell a program how to call the network, which ``_taken`` says in words.
_OF_CALLS = {
    "assumed",
    "cut_outputs",
    "initial_states",
    "lengths_input",
    "lengths_option",
    "lifted",
    "masked",
    "optional_inputs",
    "packed",
    "packing",
    "state_inputs",
    "state_outputs",
}


def info(options):
    model = open_model(options.file, options)
    data = {"file": str(options.file)} | describe(model.graph)
    origin = {key: value for key, value in model.provenance.items() if key not in model.graph.metadata}
    data |= {
        "nbytes": int(model.nbytes),
        "golden_by": model.golden_by,
        "assumptions": list(model.assumptions),
        "streamable": model.streamable,
        "provenance": origin,
    }
    lines = [
        f"{data['file']}",
        *described(data),
        *(f"source {key}: {value}" for key, value in origin.items() if key not in (WHY, "compared")),
    ]
    lines += ["assumptions:", *(f"  {text}" for text in model.assumptions)] if model.assumptions else []
    lines += [golden_line(model), f"packed weights: {data['nbytes'] / 1024:.0f} KiB"]
    if model.streamable:
        data["delay"] = model.delay
        behind = dict(zip(model.clocks, model.delay if len(model.clocks) > 1 else [model.delay]))
        lags = [f"{d} frames behind {' and '.join(names)}" for names, d in behind.items() if d]
        lines.append(f"streams, {', '.join(lags)}" if lags else "streams")
        if options.streaming:
            data["streaming"] = streaming(model, options.rate)
            lines += streamed(data["streaming"])
    else:
        try:
            model.stream()
        except NotStreamableError as error:
            data["not_streamable"] = str(error)
            lines.append(f"does not stream: {error}")
    if options.card:
        lines, measured = card(options.file, model, data)
        data |= measured | {"card": "\n".join(lines)}
    return Report(data, lines)


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


def streaming(model, frame_rate=None) -> dict:
    """What each layer means to a stream of one row, as plain JSON values. ``rate``: its frames for one of the
    input; ``delay`` in frames of the input, and ``receptive_field`` too, None where it is all of them; both
    are None where what the layer answers comes once. ``delay_ms`` is there where a second's frames are known,
    ``frame_rate`` or the model's ``sample_rate``.
    """
    graph = model._run_graph
    frame_rate = frame_rate or graph.metadata.get("sample_rate")
    once = {n: np.zeros(graph.signals[n].features, np.float32) for n in graph.inputs if not graph[n].time}
    stream = model.stream(inputs=once)
    held: dict[str, int] = {}
    for name, array in stream.state.arrays().items():
        layer = name.rpartition("/")[0]
        held[layer] = held.get(layer, 0) + array.nbytes
    reach, delays = timing.reaches(graph), timing.layer_delays(graph)
    rates = timing.reaches(graph, past_whole=True)
    layers = []
    for layer in graph.layers:
        name, timed = layer.name, graph.signals[layer.name].time and layer.name in delays
        seen = reach[name] if timed else None
        layers.append(
            {
                "name": name,
                "kind": layer.kind,
                "delay": delays[name] if timed else None,
                "receptive_field": None if seen is None else math.floor(seen[1] - seen[0]) + 1,
                "rate": float(1 / rates[name][2]) if timed else None,
                "state_bytes": held.pop(name, 0),
            }
        )
    if frame_rate:
        for x in layers:
            x["delay_ms"] = None if x["delay"] is None else x["delay"] / frame_rate * 1000
    state = sum(x["state_bytes"] for x in layers)
    return {"layers": layers, "state_bytes": state + sum(held.values())}


def streamed(data):
    """The same as lines."""
    word = lambda value: "-" if value is None else f"{value:g}" if isinstance(value, float) else value
    columns = {"delay": "delay", "delay_ms": "ms"}
    columns |= {"receptive_field": "sees frames", "rate": "rate", "state_bytes": "state bytes"}
    known = [key for key in columns if key in data["layers"][0]]
    rows = [(x["name"], x["kind"], *(word(x[key]) for key in known)) for x in data["layers"]]
    header = ("layer", "kind", *(columns[key] for key in known))
    return [*table(header, rows), f"state of one stream: {data['state_bytes']:,} bytes"]


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
    lines += _taken(data)
    for key, value in data["metadata"].items():
        if key == "assumptions" or key in _OF_CALLS:  # those are among the model's, these said above
            continue
        if isinstance(value, list):
            lines += [f"{key}:"] + [f"  {v}" for v in value] if value else []
        else:
            plain = isinstance(value, (str, int, float, bool, type(None)))
            lines.append(f"{key}: {value if plain else json.dumps(value)}")
    return lines


def _taken(data):
    """What a call takes beside its inputs, a line each."""
    metadata = data["metadata"]
    names = [metadata[key] for key in ("lengths_input", "lengths_option") if key in metadata]
    masked = metadata.get("masked")
    if metadata.get("packed"):
        needed = ", which a call must give" if "lengths_input" in metadata else ""
        yield (
            "takes lengths= of packed rows" + "".join(f", {name!r} of the source" for name in names) + needed
        )
    if "state_inputs" in metadata:
        yield f"takes initial_state= as forward does: {', '.join(metadata['state_inputs'])}"
    if isinstance(masked, dict):
        own = {x["name"] for x in data["inputs"]}
        yield f"takes mask= ({', '.join(n for n in masked['inputs'] if n not in own)}) or lengths="
    elif masked:
        yield f"takes no mask=: {masked}"


def _axes(item):
    return (
        ""
        if item["axes"] in ("btf", "bf")
        else ", as (" + ", ".join({"b": "batch", "t": "time", "f": "channels"}[a] for a in item["axes"]) + ")"
    )
