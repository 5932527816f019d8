"""Windows, and the sizes that transforms share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import DTypeError, ShapeError
from .framing import check_padding
from .front import whole_number

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

#: name -> the terms of its sum of cosines
_COSINES = {"hann": (0.5, 0.5), "hamming": (0.54, 0.46), "blackman": (0.42, 0.5, 0.08), "ones": (1.0,)}


def window(name: str, length: int) -> NDArray[np.float64]:
    """A window by its name, (length,), in float64: "hann", "hamming", "blackman", "ones", or "sqrt_hann", the
    square root of a Hann window. They are periodic, as of ``torch.hann_window`` and librosa; a symmetric
    window of n is one of n - 1 with its first value repeated.
    """
    whole_number(length, "the length of a window", 1)
    root = name == "sqrt_hann"
    terms = _COSINES.get("hann" if root else name)
    if terms is None:
        raise ShapeError(
            f"there is no window {name!r}",
            expected=", ".join([*_COSINES, "sqrt_hann"]),
            fix="Give its values as an array.",
        )
    angles = 2 * np.pi * np.arange(length) / length
    made = np.zeros(length)
    for k, term in enumerate(terms):
        made += (-1) ** k * term * np.cos(k * angles)
    return np.sqrt(np.maximum(made, 0)) if root else made


def window_of(given: str | ArrayLike, win_length: int, n_fft: int) -> NDArray[np.float64]:
    """The window of a frame, (n_fft,): one of ``win_length`` with zeros at both ends."""
    if isinstance(given, str):
        made = window(given, win_length)
    else:
        made = np.asarray(given)
        if made.dtype.kind not in "fiu":
            raise DTypeError("a window must be real numbers", found=str(made.dtype))
        made = made.astype(np.float64)
        if made.shape != (win_length,) or not np.isfinite(made).all():
            raise ShapeError(
                "the window does not fit",
                expected=f"{win_length} finite values",
                found=f"shape {made.shape}",
            )
    left = (n_fft - win_length) // 2
    return np.pad(made, (left, n_fft - win_length - left))


def check_sizes(n_fft: int, hop_length: int, win_length: int | None, padding: object) -> None:
    """ShapeError where the sizes of a transform do not fit together."""
    whole_number(n_fft, "n_fft", 2)
    whole_number(hop_length, "hop_length", 1)
    if win_length is not None:
        whole_number(win_length, "win_length", 1)
        if win_length > n_fft:
            raise ShapeError("win_length is more than n_fft", found=f"{win_length} and {n_fft}")
    check_padding(padding)
