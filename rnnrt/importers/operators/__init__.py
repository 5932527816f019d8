"""One function an operator, for the programs of every framework: see table.py."""

from . import (  # noqa: F401 (each fills the table)
    activations,
    arithmetic,
    attention,
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
from .table import OPERATORS, RETRIES

RETRIES.append(attention.scores_of_two)  # the last: what is read as numbers of a frame may go anywhere

__all__ = ["OPERATORS"]
