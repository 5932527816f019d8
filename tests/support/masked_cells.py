"""Recurrent layers whose frames are masked, what they are given, and how answers are compared."""

import numpy as np
import steps
from case_layers import GATES, recurrent

from rnnrt import layers as L

CELLS = [*GATES, L.Scan]


def generator(seed=0):
    return np.random.default_rng(seed)


def frames(batch=4, time=70, features=3, seed=1):
    return generator(seed).standard_normal((batch, time, features)).astype(np.float32)


def mask_of(batch=4, time=70, seed=2):
    """Rows that are all real, that begin late, that are ragged, and that end early."""
    mask = generator(seed).random((batch, time)) < 0.6
    mask[0], mask[1, :5], mask[1, 5], mask[3, 9:] = True, False, True, False
    return mask.astype(np.float32)


def cell(b, x, kind, units=6, name=None, r=None, **fields):
    """A recurrent layer of ``kind``; as a Scan, a cell that is none of the others."""
    r = r or generator()
    if kind is not L.Scan:
        return recurrent(b, x, r, kind, units, name=name, **fields)
    step = steps.two_widths(r, b.signal(x).width)
    return b.add(L.Scan, name or "scan", x, graph=step, states=("slow", "was", "fast"), **fields)


def network(kind, mask="m", **fields):
    """x (3 features) and, with ``mask``, a mask that is an input; all outputs of one recurrent layer."""
    b = L.GraphBuilder()
    x = b.input("x", (3,))
    if mask:
        fields["mask"] = b.input(mask, ())
    y = cell(b, x, kind, **fields)
    for output in ("", *b.layers[-1].extra_outputs):
        b.output(output or "y", f"{y}:{output}" if output else y)
    return b.graph()


def same_bits(a, b):
    return a.shape == b.shape and a.tobytes() == b.tobytes()


def same_answers(a, b):
    return a.keys() == b.keys() and all(same_bits(a[name], b[name]) for name in a)
