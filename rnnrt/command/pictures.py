"""Pictures that a command draws with matplotlib."""

from __future__ import annotations

from pathlib import Path

from ..errors import require
from ..format import atomic_write
from .usage import UsageError


def check_picture(path, purpose):
    """Whether a picture can be written there: asked before the work, not after it."""
    formats = require("matplotlib.backend_bases", "report", purpose)
    formats = formats.FigureCanvasBase.get_supported_filetypes()
    if Path(path).suffix.removeprefix(".") not in formats:
        raise UsageError(
            "is not a kind of picture",
            where=path,
            expected=f"a name that ends in one of {', '.join(formats)}",
        )
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        raise UsageError(f"cannot be written: {folder} is not a folder", where=path)


def write_picture(path, figure):
    """Write a Figure, whole or not at all."""
    with atomic_write.replacing(path) as file:
        figure.savefig(file, dpi=100, format=Path(path).suffix.removeprefix("."))
