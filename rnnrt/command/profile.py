"""``rnnrt profile``: where the time goes, layer by layer."""

from __future__ import annotations

from ..format import atomic_write
from ..pages import page
from ..profile_page import fragment
from .files import check_destination, read_inputs, split_input
from .models import files_read, open_model
from .report import Report


def profile(options):
    model = open_model(options.model, options)
    graph = model.graph
    if options.html:
        read = (options.model, *files_read(options), *(split_input(graph, x)[1] for x in options.input))
        check_destination(options.html, read, ".html", options.force)
    inputs, _ = read_inputs(graph, options.input)
    given = [inputs[name] for name in graph.inputs]
    found = model.profile(*given, steps=options.steps, seconds=options.seconds)
    data, lines = {"model": str(options.model)} | found.as_dict(), found.lines()
    if options.html:
        text = page(f"rnnrt profile {options.model}", fragment(found))
        atomic_write.write(options.html, [text.encode("utf-8", "replace")])
        data["html"] = options.html
        lines.append(f"drawn: {options.html}")
    return Report(data, lines)
