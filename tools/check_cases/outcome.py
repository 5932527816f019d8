"""A row, how it ended, and how two answers are compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import rnnrt


class Wrong(Exception):
    """The row did not end as it should; the text says how."""


@dataclass
class Row:
    """``run`` returns what the line says, raises Wrong, or lets rnnrt's own error through.

    ``refusal``: "never" where an answer is due, "may" where a refusal is still allowed, "must" where it is
    the right outcome; ``says``: words of which the refusal holds at least one.
    """

    name: str
    run: Callable[[], str]
    refusal: str = "never"
    says: tuple[str, ...] = ()


def of(row):
    """(kind, text) of a row."""
    try:
        text = row.run()
    except Wrong as error:
        return "WRONG", str(error)
    except rnnrt.RnnrtError as error:
        text = " ".join(str(error).split())
        if row.refusal == "never":
            return "WRONG", f"refused: {text}"
        if row.says and not any(word.lower() in text.lower() for word in row.says):
            return "WRONG", f"refused without a word of {' or '.join(row.says)}: {text}"
        return "refused", text
    except Exception as error:  # noqa: BLE001 - the very thing this looks for
        return "FOREIGN", f"{type(error).__name__}: {' '.join(str(error).split())}"
    return ("WRONG", f"answered: {text}") if row.refusal == "must" else ("right", text)


def compare(found, expected, what="", tolerance=2e-5):
    """The largest difference as text, or Wrong. Errors are relative to the largest answer above 1."""
    found = found if isinstance(found, tuple) else (found,)
    expected = expected if isinstance(expected, (tuple, list)) else (expected,)
    if len(found) != len(expected):
        raise Wrong(f"{what} {len(found)} outputs, expected {len(expected)}")
    worst = 0.0
    for a, b in zip(found, expected):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        if a.shape != b.shape:
            raise Wrong(f"{what} shape {a.shape}, expected {b.shape}")
        error = float(np.max(np.abs(a - b), initial=0.0)) / max(1.0, float(np.max(np.abs(b), initial=0.0)))
        if not error <= tolerance:
            raise Wrong(f"{what} off by {error:.3g}")
        worst = max(worst, error)
    return f"{what} {worst:.1e}".strip()


def need(condition, text):
    if not condition:
        raise Wrong(text)
