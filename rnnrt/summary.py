"""What ``Model.summary`` answers: a text that a notebook shows as a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .graph import Graph

_STYLE = """<style>
.rnnrt-summary { overflow-x: auto }
.rnnrt-summary table { border-collapse: collapse; font-variant-numeric: tabular-nums }
.rnnrt-summary th, .rnnrt-summary td { text-align: left; padding: .15em .8em .15em 0; white-space: nowrap }
.rnnrt-summary th:last-child, .rnnrt-summary td:last-child { text-align: right; padding-right: 0 }
.rnnrt-summary tr:last-child td { border-top: 1px solid rgba(128, 128, 128, .5) }
</style>"""


class Summary(str):
    """A table of the layers and what was assumed about them, as text; ``rows`` of it, (layer, kind, output,
    parameters) each, the sum last; ``assumptions``, a sentence each.
    """

    rows: tuple[tuple[str, str, str, str], ...]
    assumptions: tuple[str, ...]

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        from html import escape  # it costs every import of rnnrt more than this file

        head, *rows = self.rows
        line = lambda cells, tag: "<tr>" + "".join(f"<{tag}>{escape(c)}</{tag}>" for c in cells) + "</tr>"
        body = "\n".join([line(head, "th"), *(line(row, "td") for row in rows)])
        said = "".join(f"<li>{escape(text)}</li>" for text in self.assumptions)
        said = f"<p>Assumed:</p><ul>{said}</ul>" if said else ""
        return f'{_STYLE}\n<div class="rnnrt-summary"><table>\n{body}\n</table>{said}</div>'


def summary_of(graph: Graph, assumptions: Iterable[str]) -> Summary:
    """The Summary of a graph."""
    rows = [("layer", "kind", "output", "parameters")]
    rows += [
        (x.name, type(x).__name__, str(graph.signals[x.name]), f"{x.parameters:,}" if x.parameters else "")
        for x in graph.layers
    ]
    rows.append(("", "", "in all", f"{graph.parameters:,}"))
    wide = [max(len(r[k]) for r in rows) for k in range(4)]
    lines = [
        "  ".join(c.rjust(w) if k == 3 else c.ljust(w) for k, (c, w) in enumerate(zip(r, wide))).rstrip()
        for r in rows
    ]
    assumptions = tuple(assumptions)
    made = Summary("\n".join(lines + [f"assumed: {text}" for text in assumptions]))
    made.rows, made.assumptions = tuple(rows), assumptions
    return made
