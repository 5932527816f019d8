"""From a checkpoint to one state dict: the wrapping chosen and taken off, bookkeeping dropped, weights put
together from their parts (parametrised.py).
"""

from __future__ import annotations

import re

import numpy as np

from ...errors import ModelFileError, UnsupportedModelError
from ..containers.pickle import Opaque, Refused, TensorRecord
from .parametrised import whole

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
#: Last parts of names that no inference reads: BatchNorm's counter, AveragedModel's, and those a profiler
#: leaves.
COUNTERS = ("num_batches_tracked", "n_averaged", "total_ops", "total_params")
#: Parts of the names of quantised weights: those of torch.ao, of bitsandbytes, of GPTQ and AWQ.
_QUANTISED = re.compile(
    r"_packed_params|_all_weight_values|(^|\.)(zero_point|SCB|absmax|quant_map|q(weight|zeros))$"
)
#: Parts of the keys of what a trainer keeps beside its model.
_TRAINING = re.compile(
    r"optim|sched|scaler|rng|callback|loop|hyper|config|args|loss|criterion|history", re.IGNORECASE
)


def is_script(value) -> bool:
    """Whether a value of a pickle is a module of TorchScript, whose class is in the archive's own code."""
    return isinstance(value, Opaque) and value.name.startswith("__torch__.")


def tensors_of(module) -> dict:
    """{"rnn.weight_ih_l0": tensor as it is stored} of a module of TorchScript, each object under the first
    name that leads to it.
    """
    found, waiting, seen = {}, [("", module)], set()
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, (TensorRecord, Refused)):
            found[path] = value
        elif is_script(value) and id(value) not in seen:
            seen.add(id(value))
            start = f"{path}." if path else ""
            own = [(start + name, v) for name, v in value.state.items() if isinstance(name, str)]
            waiting += reversed(own)
    return found


def unwrap(checkpoint, prefix: str = "", wanted=()) -> dict[str, np.ndarray]:
    """{name: float32 array} of the one state dict in a Checkpoint of ``files.read_tensors``, in its own
    order.

    ``prefix`` chooses where there are several ("ema", "net.encoder") and is taken off the names. Without it,
    the usual wrappings of trainers are taken off where they leave no choice. ``wanted``: the modules a spec
    names: dicts under their names are one state dict a layer, and names that differ only by a wrapper's part
    ("model.", "module.", "_orig_mod.") are those of the spec. Raises UnsupportedModelError naming the heads
    to choose from, what is not weights (optimizer state, whole modules, quantised parameters), ModelFileError
    where ``prefix`` fits nothing.
    """
    wanted = [name for name in wanted if name]
    tree, rest = _descend(checkpoint, prefix, () if prefix else wanted)
    leaves = {n: v for n, v in tree.items() if isinstance(n, str) and _is_leaf(checkpoint, n, v)}
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
    leaves = _stripped({n: v for n, v in leaves.items() if n.rpartition(".")[2] not in COUNTERS})
    arrays = {name: checkpoint.array(leaf, name) for name, leaf in leaves.items()}
    arrays = whole(arrays, checkpoint.where)
    _refuse_several(arrays, wanted, checkpoint.where)
    return _as_wanted(arrays, wanted)


def _is_leaf(checkpoint, name, value):
    """Whether a value of a state dict is a tensor, or holds one that would be missed: an object."""
    if _QUANTISED.search(name):
        raise UnsupportedModelError(
            "the tensor belongs to a quantised module",
            where=f"{checkpoint.where}, tensor {name!r}",
            fix="Save the float model's state_dict().",
        )
    if checkpoint.is_tensor(value):
        return True
    return isinstance(value, Opaque) and not _is_training(name) and _holds_tensors(checkpoint, value)


def _refuse_several(tensors, wanted, where):
    """Refuse a state dict with several models that all have the modules of the spec, as an average of the
    weights has beside them.
    """
    modules = {name.rpartition(".")[0] for name in tensors}
    if not wanted or modules & set(wanted):
        return
    heads = dict.fromkeys(name.split(".")[0] for name in tensors if "." in name)
    fitting = [h for h in heads if modules >= {f"{h}.{name}" for name in wanted}]
    if len(fitting) > 1:
        raise UnsupportedModelError(
            "the checkpoint holds several models that have these modules",
            where=where,
            found=", ".join(repr(h[:40]) for h in fitting[:8]),
            fix=f"Choose one: prefix={next((h for h in fitting if 'ema' in h), fitting[0])[:40]!r}.",
        )


def _descend(checkpoint, prefix, wanted=()):
    """(the dict that holds the tensors, what is left of the prefix)."""
    tree, rest, where, path = checkpoint.tree, prefix.rstrip("."), checkpoint.where, []
    for _ in range(8):
        if isinstance(tree, Opaque):
            raise _inside(tree, path, where)
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
        objects = [
            k
            for k, v in tree.items()
            if isinstance(k, str) and isinstance(v, Opaque) and _holds_tensors(checkpoint, v)
        ]
        chosen = next(
            (
                k
                for k in sorted([*heads, *objects], key=len, reverse=True)
                if rest == k or rest.startswith(k + ".")
            ),
            None,
        )
        if chosen is not None:
            tree, rest, path = tree[chosen], rest[len(chosen) + 1 :], [*path, chosen]
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
            tree, path = tree[models[0]], [*path, models[0]]
            continue
        objects = sorted(
            (k for k in objects if not _TRAINING.search(k)),
            key=lambda k: (not tree[k].is_module, k not in WRAPPERS),
        )
        if not models and not own and objects:
            raise _inside(tree[objects[0]], [*path, objects[0]], where)
        lists = [
            k for k, v in tree.items() if isinstance(v, (list, tuple)) and v and checkpoint.is_tensor(v[0])
        ]
        if not models and not own and lists:
            raise UnsupportedModelError(
                "the tensors stand in a list, without names",
                where=where,
                found=", ".join(str(k)[:40] for k in lists[:8]),
                fix="Put them into the model (of an average of weights: ema.copy_to(model.parameters())) and "
                "save model.state_dict().",
            )
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
    """Whether a tensor is somewhere in nested dicts and objects; a file may share and nest them without end,
    so each is looked at once. What stands in lists counts in objects alone.
    """
    seen, waiting = set(), [(tree, isinstance(tree, Opaque))]
    while waiting:
        branch, inside = waiting.pop()
        if id(branch) in seen:
            continue
        seen.add(id(branch))
        if checkpoint.is_tensor(branch):
            return True
        if isinstance(branch, Opaque):
            waiting += [(v, True) for v in branch.parts]
        elif isinstance(branch, dict):
            waiting += [(v, inside) for v in branch.values()]
        elif inside and isinstance(branch, (list, tuple)):
            waiting += [(v, True) for v in branch]
    return False


def _inside(found, path, where):
    """What is raised where the tensors are those of an object: a whole module, or something else."""
    if not found.is_module:
        return UnsupportedModelError(
            f"the tensors lie in an object of {found}, which rnnrt never imports or runs",
            where=where,
            expected="a dict of names and tensors",
            fix="Save model.state_dict().",
        )
    file = where if where.endswith((".pt", ".pth", ".ckpt", ".bin", ".pkl")) else "model.pt"
    file = re.split(r"[/\\]", file)[-1]
    keys = "".join(f"[{key!r}]" for key in path)
    return UnsupportedModelError(
        f"a whole module was pickled, an object of {found}, which rnnrt never imports or runs",
        where=where,
        expected="a state dict: names and tensors",
        fix="Where its class can be imported, two lines save what is needed:\n"
        f"    model = torch.load({file!r}, map_location='cpu', weights_only=False){keys}\n"
        f"    torch.save(model.state_dict(), {file.rpartition('.')[0] + '_state.pt'!r})\n"
        "Or give the module itself there: rnnrt.from_torch(model).",
    )


def _stripped(leaves):
    while True:
        common = next(
            (p for p in PREFIXES if leaves and all(n.startswith(p) and n != p for n in leaves)), None
        )
        if common is None:
            return leaves
        leaves = {n.removeprefix(common): v for n, v in leaves.items()}
