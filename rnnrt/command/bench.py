"""``rnnrt bench``: steps, chunks and whole calls, alone or beside another framework."""

from __future__ import annotations

import numpy as np

from ..errors import VerificationError
from ..tables import table
from . import measure
from .frameworks import opener
from .models import open_model
from .progress import progress
from .report import Report

LATENCY = ("min", "p50", "p99", "p999", "max")


def benchmark(options):
    if options.against:
        return against(options)
    model = open_model(options.model, options, num_threads=options.threads)
    graph = model.graph
    rate = options.rate or model.metadata.get("sample_rate")
    inputs = measure.whole_input(graph, options.batch, options.time)
    frames = max((graph[n].length or options.time for n in graph.inputs if graph[n].time), default=1)
    whole = f"whole, {options.batch} x {frames}"
    values = list(inputs.values())
    calls = measure.stream_calls(model, options.chunk) | {whole: lambda: model(*values)}
    steps = {"step": 1, f"chunk of {options.chunk}": options.chunk, whole: frames * options.batch}
    with progress("bench") as report:
        found = measure.measure(calls, options.seconds, report)
    clock = round(measure.clock_cost(), 3)
    data = {"model": options.model, "unit": "microseconds", "clock": clock, "rows": []}
    rows = []
    for name, latency in found.items():
        row = {"call": name, "steps": steps[name]} | latency.as_dict()
        if rate:
            row["x_real_time"] = round(steps[name] / rate / (latency.mean * 1e-6), 1)
        data["rows"].append(row)
        rows.append(
            [name, *(f"{row[k]:.2f}" for k in LATENCY), row["calls"]] + ([row["x_real_time"]] if rate else [])
        )
    header = ["µs per call", "min", "p50", "p99", "p99.9", "max", "calls"] + (["x real time"] if rate else [])
    lines = table(header, rows) + [f"(each with {data['clock']:.2f} µs of the clock's own)"]
    lines += noise(found)
    if "step" not in calls and len(calls) == 1:
        lines.append("this model does not stream; rnnrt info says why")
    return Report(data, lines)


def noise(found):
    """Lines that say which figures the machine made: {call: Latency}."""
    return [
        f"noisy machine: {name} was interrupted {x.switches} times in {x.calls} calls by other processes; "
        f"its tail is theirs"
        for name, x in found.items()
        if x.noisy
    ]


def against(options):
    """The same file, input, process and thread; the contenders take turns of 20 ms."""
    open_framework = opener(options.against, options.source or options.model)
    model = open_model(options.model, options)
    others = open_framework()
    values = list(measure.whole_input(model.graph, options.batch, options.time).values())
    answers = model(*values)
    answers = list(answers) if isinstance(answers, tuple) else [answers]
    errors = {}
    for label, call in others.items():
        wanted = call(values)
        if [y.shape for y in wanted] != [y.shape for y in answers]:
            raise VerificationError(
                f"{label} answers in another shape",
                where=options.model,
                expected=str([y.shape for y in wanted]),
                found=str([y.shape for y in answers]),
            )
        errors[label] = max(float(np.abs(a - b).max()) for a, b in zip(wanted, answers))
    calls = {"rnnrt": lambda: model(*values)} | {
        label: lambda call=call: call(values) for label, call in others.items()
    }
    with progress(f"bench against {options.against}") as report:
        found = measure.measure(calls, options.seconds, report)
    own = found["rnnrt"].p50
    data = {
        "model": options.model,
        "unit": "microseconds",
        "shapes": [list(x.shape) for x in values],
        "rows": [],
    }
    for name, latency in found.items():
        row = {
            "call": name,
            "p50": round(latency.p50, 3),
            "p99": round(latency.p99, 3),
            "calls": latency.calls,
        }
        data["rows"].append(
            row
            | (
                {}
                if name == "rnnrt"
                else {"max_error": errors[name], "speed_up": round(latency.p50 / own, 2)}
            )
        )
    rows = [
        [
            r["call"],
            f"{r['p50']:.1f}",
            f"{r['p99']:.1f}",
            f"{r['max_error']:.1e}" if "max_error" in r else "-",
            f"{r['speed_up']:.1f}" if "speed_up" in r else "-",
        ]
        for r in data["rows"]
    ]
    shapes = ", ".join(str(tuple(s)) for s in data["shapes"])
    return Report(
        data,
        [
            f"{options.model}, input {shapes}, one thread each",
            *table(["µs per call", "p50", "p99", "max error", "speed-up of rnnrt"], rows),
            *noise(found),
        ],
    )
