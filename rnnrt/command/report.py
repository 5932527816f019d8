"""What a command found, and how it says so. Nothing is printed here."""

from __future__ import annotations

import dataclasses

from .. import verification


@dataclasses.dataclass
class Report:
    """What a command found: ``data`` for --json, ``lines`` for people, whether every check held, and
    ``notes`` for stderr.
    """

    data: dict
    lines: list
    ok: bool = True
    notes: tuple = ()


#: Under this key a model's provenance says why its golden sample was not answered by a framework.
WHY = "golden_by_reference_because"


def golden_line(model):
    """Who answered the golden sample, in words."""
    why = model.provenance.get(WHY)
    return f"golden answers by: {answerer(model)}" + (f" ({why})" if why else "")


def answerer(model):
    """Who answered the golden sample, as verification.py tells them apart."""
    return verification.answered_by(model.golden_by, model.graph)


def shapes(arrays):
    """{name: its shape and type} as plain JSON values."""
    return {name: {"shape": list(y.shape), "dtype": str(y.dtype)} for name, y in arrays.items()}
