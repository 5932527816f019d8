"""Tables in text."""

from __future__ import annotations


def table(header, rows):
    """Lines of aligned columns: text to the left, numbers to the right."""
    cells = [[str(c) for c in row] for row in [header, *rows]]
    widths = [max(len(row[k]) for row in cells) for k in range(len(header))]
    right = [
        all(
            isinstance(row[k], (int, float)) or str(row[k])[:1].isdigit() or row[k] in ("", "-")
            for row in rows
        )
        for k in range(len(header))
    ]
    return [
        "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right)).rstrip()
        for row in cells
    ]
