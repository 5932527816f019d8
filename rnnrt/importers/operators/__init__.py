"""One function an operator, for the programs of every framework: see table.py."""

from . import (  # noqa: F401 (each fills the table)
    activations,
    arithmetic,
    bins,
    comparisons,
    copies,
    fronts,
    layers,
    moves,
    norms,
    parts,
    places,
    recurrence,
    reductions,
    row_masks,
    stilled,
    transposed,
    windows,
)
from .table import OPERATORS

__all__ = ["OPERATORS"]
