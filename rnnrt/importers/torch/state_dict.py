"""From a checkpoint to one state dict: the wrapping chosen and taken off, bookkeeping dropped, weight norm
multiplied out.
"""

from __future__ import annotations

import re

import numpy as np

from ...errors import ModelFileError, UnsupportedModelError

#: Keys that trainers put a state dict under.
WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "module",
    "ema",
    "weights",
)
#: Prefixes that DataParallel, Lightning, torch.compile and DeepSpeed put before every name.
PREFIXES = ("module.", "model.", "_orig_mod.", "_forward_module.")
#: Last parts of names that no inference reads: BatchNorm's counter, and the counters a profiler leaves.
COUNTERS = ("num_batches_tracked", "total_ops", "total_params")
#: Parts of the keys of what a trainer keeps beside its model.
_TRAINING = re.compile(
    r"optim|sched|scaler|rng|callback|loop|hyper|config|args|loss|criterion|history", re.IGNORECASE
)


def unwrap(checkpoint, prefix: str = "", wanted=()) -> dict[str, np.ndarray]:
    """{name: float32 array} of the one state dict in a Checkpoint of ``files.read_tensors``, in its own
    order.

    ``prefix`` chooses where there are several ("ema", "net.encoder") and is taken off the names. Without it,
    the usual wrappings of trainers are taken off where they leave no choice. ``wanted``: the modules a spec
    names: dicts under their names are one state dict a layer, and names that differ only by a wrapper's part
    ("model.", "module.", "_orig_mod.") are those of the spec. Raises UnsupportedModelError naming the heads
    to choose from, what is not weights (optimizer state, packed or spectrally normalised parameters),
    ModelFileError where ``prefix`` fits nothing.
    """
    wanted = [name for name in wanted if name]
    tree, rest = _descend(checkpoint, prefix, () if prefix else wanted)
    leaves = {n: v for n, v in tree.items() if isinstance(n, str) and checkpoint.is_tensor(v)}
    if rest:
        chosen = {n.removeprefix(rest + "."): v for n, v in leaves.items() if n.startswith(rest + ".")}
        chosen = chosen or {
            n.removeprefix(rest + "."): v for n, v in _stripped(leaves).items() if n.startswith(rest + ".")
        }
        if not chosen:
            heads = sorted({n.split(".")[0] for n in leaves}) or sorted(str(n)[:60] for n in tree)
            raise ModelFileError(
                f"no tensor's name begins with {prefix!r}",
                where=checkpoint.where,
                expected=", ".join(heads[:20]),
            )
        leaves = chosen
    leaves = {n: v for n, v in _stripped(leaves).items() if n.rpartition(".")[2] not in COUNTERS}
    for name in leaves:
        _refuse_packed(name, leaves, checkpoint.where)
    arrays = {name: checkpoint.array(leaf, name) for name, leaf in leaves.items()}
    return _as_wanted(_without_weight_norm(arrays, checkpoint.where), wanted)


def _descend(checkpoint, prefix, wanted=()):
    """(the dict that holds the tensors, what is left of the prefix)."""
    tree, rest, where = checkpoint.tree, prefix.rstrip("."), checkpoint.where
    for _ in range(8):
        if not isinstance(tree, dict):
            raise UnsupportedModelError(
                "this is not a state dict",
                where=where,
                expected="a dict of names and tensors",
                found=type(tree).__name__,
                fix="Save model.state_dict().",
            )
        heads = [
            k
            for k, v in tree.items()
            if isinstance(k, str) and isinstance(v, dict) and _holds_tensors(checkpoint, v)
        ]
        chosen = next(
            (k for k in sorted(heads, key=len, reverse=True) if rest == k or rest.startswith(k + ".")), None
        )
        if chosen is not None:
            tree, rest = tree[chosen], rest[len(chosen) + 1 :]
            continue
        named = [k for k in heads if any(w == k or w.startswith(k + ".") for w in wanted)]
        if named and chosen is None:
            return _flat(
                checkpoint, {k: v for k, v in tree.items() if k in named or not _is_training(k)}
            ), rest
        models = [k for k in heads if not _TRAINING.search(k)]
        own = [
            k
            for k, v in tree.items()
            if checkpoint.is_tensor(v) and not (isinstance(k, str) and _TRAINING.search(k) and models)
        ]
        if own and not models:
            return tree, rest
        if not own and len(models) == 1:
            tree = tree[models[0]]
            continue
        if not models:
            what = "the checkpoint holds optimizer state only" if heads else "holds no tensors"
            raise UnsupportedModelError(
                what,
                where=where,
                found=", ".join(str(k)[:40] for k in list(tree)[:8]) or "nothing",
                fix="Save model.state_dict().",
            )
        names = sorted(models, key=lambda k: (k not in WRAPPERS, k))
        found = ", ".join(repr(k[:40]) for k in names[:8]) + (" and tensors beside them" if own else "")
        raise UnsupportedModelError(
            "the checkpoint holds several models",
            where=where,
            found=found,
            fix=f"Choose one: prefix={names[0][:40]!r}.",
        )
    raise UnsupportedModelError(
        "the checkpoint is nested too deeply", where=where, fix="Save model.state_dict() itself."
    )


def _is_training(key):
    return not isinstance(key, str) or bool(_TRAINING.search(key))


def _flat(checkpoint, tree, start="", depth=0):
    """{dotted name: tensor} of dicts in dicts."""
    if depth > 16:
        raise UnsupportedModelError(
            "the mapping is nested too deeply", where=checkpoint.where, fix="Give one state dict a layer."
        )
    arrays = {}
    for key, value in tree.items():
        if isinstance(key, str) and isinstance(value, dict):
            arrays |= _flat(checkpoint, value, f"{start}{key}.", depth + 1)
        elif isinstance(key, str) and checkpoint.is_tensor(value):
            arrays[start + key] = value
    return arrays


def _as_wanted(tensors, wanted):
    """Tensors under the names that a spec gives their modules, where only parts that wrappers add are
    between.
    """
    own = lambda module: tuple(part for part in module.split(".") if f"{part}." not in PREFIXES)
    modules = dict.fromkeys(name.rpartition(".")[0] for name in tensors)
    renamed = {}
    for name in dict.fromkeys(wanted):
        same = [m for m in modules if own(m) == own(name)]
        if name not in modules and len(same) == 1 and own(name):
            renamed[same[0]] = name
    named = {}
    for name, array in tensors.items():
        module, _, last = name.rpartition(".")
        named[f"{renamed[module]}.{last}" if module in renamed else name] = array
    return named


def _holds_tensors(checkpoint, tree):
    """Whether a tensor is somewhere in nested dicts; a file may share and nest them without end, so each is
    looked at once.
    """
    seen, waiting = set(), [tree]
    while waiting:
        branch = waiting.pop()
        if id(branch) in seen:
            continue
        seen.add(id(branch))
        if any(checkpoint.is_tensor(v) for v in branch.values()):
            return True
        waiting += [v for v in branch.values() if isinstance(v, dict)]
    return False


def _stripped(leaves):
    while True:
        common = next(
            (p for p in PREFIXES if leaves and all(n.startswith(p) and n != p for n in leaves)), None
        )
        if common is None:
            return leaves
        leaves = {n.removeprefix(common): v for n, v in leaves.items()}


def _refuse_packed(name, names, where):
    last = name.rpartition(".")[2]
    stem = name.removesuffix("_orig")
    if "_packed_params" in name or "_all_weight_values" in name or last == "zero_point":
        raise UnsupportedModelError(
            "the tensor belongs to a quantised module",
            where=f"{where}, tensor {name!r}",
            fix="Save the float model's state_dict().",
        )
    new = name.removesuffix("original") + "0._u" if name.endswith(".original") else name
    if stem != name and f"{stem}_u" in names or new in names and new.endswith(".0._u"):
        raise UnsupportedModelError(
            "spectral norm is not supported",
            where=f"{where}, tensor {name!r}",
            fix="Remove it first: torch.nn.utils.remove_spectral_norm, or "
            "parametrize.remove_parametrizations.",
        )
    if stem != name and f"{stem}_mask" in names:
        raise UnsupportedModelError(
            "the tensor is being pruned",
            where=f"{where}, tensor {name!r}",
            fix="Make it permanent first: torch.nn.utils.prune.remove.",
        )
    if "parametrizations." in name and not re.search(r"parametrizations\.\w+\.original[01]$", name):
        raise UnsupportedModelError(
            "the parametrization is not supported",
            where=f"{where}, tensor {name!r}",
            fix="Remove it first: torch.nn.utils.parametrize.remove_parametrizations.",
        )


# ---- weight norm -------------------------------------------------------------------------------------------


def _without_weight_norm(tensors, where):
    """w = g v / |v| in place of its two parts: ``x_g``, ``x_v`` (old) and ``parametrizations.x.original0``,
    ``original1`` (new).
    """
    whole_arrays = {}
    for name, array in tensors.items():
        old = re.fullmatch(r"(.*weight\w*)_([gv])", name)
        new = re.fullmatch(r"(.*?)parametrizations\.(\w+)\.original([01])", name)
        if new:
            whole, pair = new[1] + new[2], [name[:-1] + part for part in "01"]
        elif old:
            whole, pair = old[1], [f"{old[1]}_g", f"{old[1]}_v"]
        else:
            whole_arrays[name] = array
            continue
        if not all(part in tensors for part in pair):
            raise ModelFileError(
                "half of a weight-normalised tensor is missing",
                where=f"{where}, tensor {name!r}",
                expected=" and ".join(pair),
            )
        if whole not in whole_arrays:
            whole_arrays[whole] = _weight_norm(
                tensors[pair[0]], tensors[pair[1]], f"{where}, tensor {whole!r}"
            )
    return whole_arrays


def _weight_norm(g, v, where):
    """torch.nn.utils.weight_norm: the norm runs over every axis but the one g has (dim=None: over all of
    them).
    """
    g, v = g.astype(np.float64), v.astype(np.float64)
    if g.ndim not in (0, v.ndim) or any(n not in (1, m) for n, m in zip(g.shape, v.shape)):
        raise ModelFileError(
            "the parts of a weight-normalised tensor do not fit",
            where=where,
            found=f"g {g.shape}, v {v.shape}",
        )
    axes = tuple(k for k in range(v.ndim) if g.ndim == 0 or g.shape[k] == 1)
    norm = np.sqrt(np.sum(v * v, axis=axes, keepdims=g.ndim > 0))
    if not np.all(norm > 0):
        raise ModelFileError("a weight-normalised tensor has a direction of length zero", where=where)
    return (v * (g / norm)).astype(np.float32)
