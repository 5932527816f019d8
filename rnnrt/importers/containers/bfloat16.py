"""bfloat16, which NumPy does not have: the upper half of a float32."""

from __future__ import annotations

import numpy as np


def widened(bits):
    """The float32 numbers whose upper halves are ``bits`` (uint16)."""
    return (bits.astype(np.uint32, order="C") << 16).view(np.float32)
