"""A Profile as HTML: a bar for every layer, which is solid as far as the core's limit goes."""

from __future__ import annotations

from html import escape

from .pages import BAR, SOLID
from .profiling import NOISY, LayerProfile, Profile, amount

_STYLE = f"""<style>
.rnnrt-profile {{ font-variant-numeric: tabular-nums }}
.rnnrt-profile ol {{ list-style: none; margin: 1em 0; padding: 0 }}
.rnnrt-profile li {{ margin: 0 0 .8em }}
.rnnrt-profile .line {{ display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 1em }}
.rnnrt-profile .name {{ overflow-wrap: anywhere }}
.rnnrt-profile .bar {{ height: .8em; margin: .1em 0; background: rgba(128, 128, 128, .15) }}
.rnnrt-profile .bar div {{ height: 100%; background: {BAR}; min-width: 1px }}
.rnnrt-profile .bar div div {{ background: {SOLID}; min-width: 0 }}
.rnnrt-profile small {{ opacity: .8 }}
</style>"""


def fragment(profile: Profile) -> str:
    """What a notebook shows, and a page holds."""
    took = f"{profile.seconds * 1e6:.2f} µs a {'step' if profile.steps else 'call'}"
    intro = (
        f"{escape(profile.what)}: <b>{took}</b>, the median of {profile.calls}. A bar is as long as the "
        "layer's share of the time; its solid part is the time that this core could do it in."
    )
    noise = f"<p><small>{escape(NOISY)}.</small></p>" if profile.noisy else ""
    notes = (
        f"{escape(str(profile.core))}. A multiply-add is two FLOPs; others: other operations on single "
        "numbers, a function of a number counted as one."
    )
    between = "between layers: checks, the way in and out, frames handed on"
    return "\n".join(
        [
            _STYLE,
            '<div class="rnnrt-profile">',
            f"<p>{intro}</p>",
            "<ol>",
            *(_layer(profile, x) for x in profile.layers),
            _row(between, profile.between, profile.share(profile.between), 0, ""),
            "</ol>",
            f"<p><small>{notes}</small></p>{noise}",
            "</div>",
        ]
    )


def _layer(profile: Profile, x: LayerProfile) -> str:
    runs = f"{x.runs:g} run" + ("" if x.runs == 1 else "s")
    facts = f"{runs}, {amount(x.bytes)} bytes, {amount(x.flops)} FLOPs, {amount(x.others)} others"
    if x.limit:
        facts += f"; {x.of_limit:.0%} of the limit, set by {x.bound}"
    name = f"<b>{escape(x.name)}</b> {escape(x.kind)}"
    return _row(name, x.seconds, profile.share(x.seconds), x.of_limit, facts)


def _row(name: str, seconds: float, share: float, of_limit: float, facts: str) -> str:
    """``name`` is HTML, ``facts`` are text."""
    solid = f'<div style="width: {min(of_limit, 1):.1%}"></div>'
    return (
        f'<li><div class="line"><span class="name">{name}</span>'
        f"<span>{seconds * 1e6:.2f} µs, {share:.1%}</span></div>"
        f'<div class="bar"><div style="width: {share:.2%}">{solid}</div></div>'
        f"<small>{escape(facts)}</small></li>"
    )
