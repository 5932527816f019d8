"""What tools/bench_peers.py found, as the README's table and as a page that stands alone."""

from __future__ import annotations

from html import escape

from bench_rivals import PEERS

from rnnrt.pages import BAR, SOLID, page

STYLE = f"""<style>
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100% }}
th, td {{ padding: .2em .5em; text-align: right; vertical-align: top;
          border-bottom: 1px solid rgba(128, 128, 128, .25) }}
th:first-child, td:first-child {{ text-align: left }}
td small {{ opacity: .8; display: block }}
.table {{ overflow-x: auto }}
.bar {{ position: relative; background: rgba(128, 128, 128, .15); height: .7em; min-width: 6em }}
.bar div {{ height: 100%; background: {BAR} }}
.bar div div {{ background: {SOLID} }}
.short {{ font-weight: bold }}
</style>"""
MOST = 4.0  # times faster that fill a bar


def figure(value):
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _columns(results):
    return [p for p in PEERS if any(p in r.peers for r in results)]


def markdown(results, costs):
    """Medians of single calls in microseconds, and the ratio of the best times to the fastest peer."""
    columns = _columns(results)
    lines = [
        f"| network | call | rnnrt | of limit | {' | '.join(columns)} | times faster |",
        f"|---|---|{'---:|' * (len(columns) + 3)}",
    ]
    for r in results:
        for call, ours in r.ours.items():
            times = [figure(r.fastest(p)[1].p50) if p in r.peers else "" for p in columns]
            share, ratio = r.of_limit(call), r.ratio(call)
            ends = [f"{share:.0%}" if share else "", *times, figure(ratio) if ratio else ""]
            lines.append(f"| {r.name} | `{call}` | {figure(ours.p50)} | {' | '.join(ends)} |")
    return "\n".join(lines + [""] + [f"{c.name}: {c.figure:.3g} {c.unit}." for c in costs])


def html(about, core, results, costs):
    columns = _columns(results)
    versions = ", ".join(f"{k} {v}" for k, v in about.items() if k not in ("limits",))
    notes = (
        "Microseconds of single calls: best, then median and 99th percentile; of a peer its fastest form. "
        f"A full bar is {MOST:g} times as fast as the fastest peer; its solid part is as fast as that. "
        "Limit: the share of what this core could do at best."
    )
    head = "".join(f"<th>{escape(c)}</th>" for c in ["rnnrt", "limit", *columns])
    rows = [_row(r, call, columns) for r in results for call in r.ours]
    others = "".join(
        f"<li>{escape(f'{c.name}: {c.figure:.3g} {c.unit}, at most {c.limit:g}: {c.verdict}')}</li>"
        for c in costs
    )
    return page(
        "rnnrt beside its peers",
        f"{STYLE}<p>{escape(versions)}</p><p>{escape(str(core))}</p><p>{escape(notes)}</p>"
        f'<div class="table"><table><tr><th>network</th><th>times faster</th>{head}</tr>{"".join(rows)}'
        f"</table></div><ul>{others}</ul>",
    )


def _row(result, call, columns):
    ratio, share = result.ratio(call), result.of_limit(call)
    cells = [_times(result.ours[call]), f"{share:.0%}" if share else ""]
    for peer in columns:
        if peer in result.peers:
            form, timing = result.fastest(peer)
            cells.append(_times(timing, form))
        else:
            cells.append("")
    bar, verdict = "", result.verdict(call)
    if ratio:
        full, solid = min(ratio / MOST, 1) * 100, min(1 / ratio, 1) * 100
        asked = "" if result.floor is None else f"; asked {result.floor:g}: {escape(verdict)}"
        bar = (
            f'<div class="bar"><div style="width: {full:.1f}%"><div style="width: {solid:.1f}%"></div></div>'
            f"</div>{ratio:.2f} <small>{escape(result.rival)}{asked}</small>"
        )
    name = f"{escape(result.name)} <small><code>{escape(call)}</code></small>"
    short = ' class="short"' if verdict.startswith("FALL") else ""
    return f"<tr{short}><td>{name}</td><td>{bar}</td>{''.join(f'<td>{c}</td>' for c in cells)}</tr>"


def _times(timing, form=""):
    said = f"{form} " if form else ""
    return f"{figure(timing.best)} <small>{escape(said)}{figure(timing.p50)}, {figure(timing.p99)}</small>"
