"""One function an operator, for the programs of every framework: see table.py."""

from . import activations, arithmetic, layers, moves, parts, recurrence  # noqa: F401 (each fills the table)
from .table import OPERATORS

__all__ = ["OPERATORS"]
