"""Initial states in the form a PyTorch program takes them, and the same by name.

A form, in a graph's metadata as "initial_states", is a list of [path, names]: the items to take of what the
caller gives, one after the other (a number, or [start, stop, step]), and the states that the tensor found
there stacks, e.g. [[0], ["lstm.l0/h"]].
"""

from __future__ import annotations

import numpy as np

from .errors import StateError


def entry(path, names):
    """One entry of a form; slices of ``path`` as lists, for JSON."""
    return [[[p.start, p.stop, p.step] if isinstance(p, slice) else p for p in path], list(names)]


def of_stack(layers, kinds):
    """The form of one RNN's own argument: ``layers`` in h_0's order, ``kinds`` its states, "h" or "hc"."""
    names = [[f"{layer}/{kind}" for layer in layers] for kind in kinds]
    return [entry((k,) if len(kinds) > 1 else (), own) for k, own in enumerate(names)]


def by_name(form, given, batched) -> dict:
    """{state: (batch, size) array} of what a caller gave, or (size,) where the call is not ``batched``; None
    stands for zeros.

    Raises StateError where the given states have another form.
    """
    made, whole = {}, [[k] for k in range(len(form))]
    if isinstance(given, (tuple, list)) and [path for path, _ in form] == whole and len(given) > len(form):
        raise StateError(
            "the initial state has another form than forward takes",
            where="initial_state",
            expected=f"{len(form)} tensors",
            found=str(len(given)),
        )
    for path, names in form:
        stack, where = given, "initial_state" + "".join(f"[{_shown(p)}]" for p in path)
        try:
            for item in path:
                stack = stack if stack is None else stack[slice(*item) if isinstance(item, list) else item]
            if stack is None:
                continue
            stack = np.asarray(stack.detach().cpu() if hasattr(stack, "detach") else stack)
        except (TypeError, LookupError, ValueError) as error:
            raise StateError(
                "the initial state has another form than forward takes", where=where, found=str(error)
            ) from error
        rank = 1 + batched
        stack = stack[None] if len(names) == 1 and stack.ndim == rank else stack
        if stack.ndim != rank + 1 or len(stack) != len(names):
            raise StateError(
                "the initial state has another form than forward takes",
                where=where,
                expected=f"({len(names)}, {'batch, ' * batched}units): {', '.join(names)}",
                found=str(stack.shape),
            )
        made |= dict(zip(names, stack))
    return made


def _shown(item):
    return ":".join("" if n is None else str(n) for n in item[:2]) if isinstance(item, list) else item
