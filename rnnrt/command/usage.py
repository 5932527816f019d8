"""What is wrong with what was asked for."""

from __future__ import annotations

from ..errors import RnnrtError


class UsageError(RnnrtError):
    """What was asked for on the command line cannot be done as asked."""
