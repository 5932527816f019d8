"""A copy of a live module to trace and to run: importing changes nothing of the module it was given."""

from __future__ import annotations

import copy

import torch

from ...errors import UnsupportedModelError


def evaluated(module):
    """The module in evaluation mode, as a copy that shares no tensor with it: a ``train()`` that merges
    weights in place merges the copy's. Raises UnsupportedModelError where the module cannot be copied."""
    try:
        return copy.deepcopy(module, _results(module)).eval()
    except Exception as error:  # whatever what a user keeps on a module raises when it is copied
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UnsupportedModelError(
            f"the module cannot be copied, and it is not traced itself: {lines[0]}",
            fix="Take what is neither a layer nor a tensor off the module, or give its state_dict() with a "
            "spec.",
        ) from error


def _results(module):
    """{id: a copy without its history} of tensors that a forward made and the module keeps, which PyTorch
    does not copy: deepcopy's memo.
    """
    memo, seen, waiting = {}, set(), [vars(part) for part in module.modules()]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, torch.Tensor):
            if not value.is_leaf:
                memo[id(value)] = value.detach().clone()
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, (list, tuple, set, frozenset)):
            waiting += value
        elif (
            hasattr(value, "__dict__")
            and not isinstance(value, (type, torch.nn.Module))
            and not callable(value)
        ):
            waiting.append(vars(value))
    return memo
