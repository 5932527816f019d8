"""What is said of a refused network: all that is not supported in it, and the call that imports the largest
part around it.
"""

from __future__ import annotations

from ...errors import RnnrtError
from .cut import Cut
from .unsupported import KNOWN

#: Refused layers behind which a part of the network is looked for that would import.
_MOST_PARTS = 100
#: Layers walked in all to find them: a try walks every layer, and a stranger's file may hold thousands.
_MOST_WALKED = 50_000


def advise(error, wiring, importer):
    """Adds to a refusal what else is unsupported, and the call that imports the largest part before or behind
    the layer.
    """
    unknown = [
        c.layer
        for c in wiring.calls
        if not c.layer.operation and not c.layer.custom and c.layer.class_name not in KNOWN | {"InputLayer"}
    ]
    hints = [error.fix] if error.fix else []
    if len(unknown) > 1:
        hints.append(
            f"Not supported in this model: {', '.join(f'{x.name!r} ({x.class_name})' for x in unknown)}."
        )
    part = max(_parts(wiring, importer), default=None, key=lambda found: found[0])
    if part:
        hints.append(" ".join([f"The largest part that can be imported: {part[1]}.", *part[2]]))
    error.fix = " ".join(hints) or None


def _parts(wiring, importer):
    """(number of layers, the options that cut them out, what must be known of that) of parts before, between
    and behind the layers that are refused. Each has been imported."""
    start, order = [], [c.layer.name for c in wiring.calls if c.layer.class_name != "InputLayer"]
    for _ in range(min(_MOST_PARTS, 1 + _MOST_WALKED // len(wiring.calls))):
        own, ends = importer(), None
        try:
            own.graph(wiring, Cut(wiring, start))
        except RnnrtError:
            ends = own.done[-1:]
        if ends:
            stopped = own.at
            own = importer()
            try:
                own.graph(wiring, Cut(wiring, start, ends))
            except RnnrtError:
                own.done = []
        if own.done:
            options = [f"{name}={names!r}" for name, names in (("inputs", start), ("outputs", ends)) if names]
            said = [line for line in own.assumptions if "mask" in line]
            yield len(own.done), ", ".join(options), said
        if ends is None and own.done:
            return
        later = order[order.index(start[0]) + 1 :] if start else order
        if ends and stopped in later:
            later = later[later.index(stopped) :]
        if not later:
            return
        start = later[:1]
