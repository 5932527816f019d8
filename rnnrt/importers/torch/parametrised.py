"""Weights that a state dict holds in parts: weight norm, spectral norm and pruning, worked out as the module
does it in evaluation mode. Old names (torch.nn.utils: ``weight_g``, ``weight_orig``) and new ones
(torch.nn.utils.parametrize: ``parametrizations.weight.original``)."""

from __future__ import annotations

import re

import numpy as np

from ...errors import ModelFileError, UnsupportedModelError

_NEW = re.compile(r"(?P<owner>(?:.*\.)?)parametrizations\.(?P<name>\w+)\.(?P<part>.+)")
#: How far the two sides of W v = sigma u may be from one direction, between steps of training; and how far
#: those of a wrong axis are at least.
_ALIKE, _UNLIKE = 0.97, 0.9


def whole(tensors: dict, where) -> dict:
    """``tensors`` with every weight in one piece, in the place of the first of its parts.

    Raises ModelFileError where a part is missing or does not fit, UnsupportedModelError for other
    parametrisations.
    """
    groups = _groups(tensors)
    of_part = {part: name for name, parts in groups.items() for part in parts.values()}
    made = {}
    for name, array in tensors.items():
        if name not in of_part:
            made[name] = array
        elif of_part[name] not in made:
            target = of_part[name]
            parts = {role: tensors[part] for role, part in groups[target].items()}
            made[target] = _whole(parts, f"{where}, tensor {name!r}").astype(np.float32)
    return made


def _groups(tensors):
    """{name of a weight: {role of a part: its name}}."""
    groups = {}
    for name in tensors:
        new = _NEW.fullmatch(name)
        if new:
            groups.setdefault(new["owner"] + new["name"], {})["new " + new["part"]] = name
            continue
        stem, _, role = name.rpartition("_")
        last = stem.rpartition(".")[2]
        if role in ("g", "v") and "weight" in last and not (role == "v" and f"{stem}_orig" in tensors):
            groups.setdefault(stem, {})[role] = name
        elif role == "orig" and {f"{stem}_u", f"{stem}_v", f"{stem}_mask"} & set(tensors):
            parts = {r: f"{stem}_{r}" for r in ("orig", "u", "v", "mask")}
            groups.setdefault(stem, {}).update({r: n for r, n in parts.items() if n in tensors})
    return groups


def _whole(parts, where):
    roles = set(parts)
    if roles <= {"g", "v"} or roles <= {"new original0", "new original1"}:
        if len(roles) < 2:
            halves = ("weight_g", "weight_v") if roles <= {"g", "v"} else ("original0", "original1")
            raise ModelFileError(
                "half of a weight-normalised tensor is missing", where=where, expected=" and ".join(halves)
            )
        return _weight_norm(*(parts[role] for role in sorted(roles)), where)
    if roles == {"orig", "mask"}:
        _same_shape(parts["orig"], parts["mask"], where)
        return parts["orig"] * parts["mask"]
    if roles == {"orig", "u", "v"}:
        return _spectral_norm(parts["orig"], parts["u"], parts["v"], where)
    if roles == {"new original", "new 0._u", "new 0._v"}:
        return _spectral_norm(parts["new original"], parts["new 0._u"], parts["new 0._v"], where)
    if roles <= {"orig", "u", "v"}:
        raise ModelFileError(
            "a part of a spectrally normalised tensor is missing",
            where=where,
            expected="weight_orig, weight_u and weight_v",
            found=", ".join(f"weight_{role}" for role in sorted(roles)),
        )
    raise UnsupportedModelError(
        "the parametrization is not supported",
        where=where,
        expected="weight norm, spectral norm or pruning",
        found=", ".join(sorted(role.removeprefix("new ") for role in roles)),
        fix="Remove it first: torch.nn.utils.parametrize.remove_parametrizations(module, name).",
    )


def _same_shape(a, b, where):
    if a.shape != b.shape:
        raise ModelFileError(
            "the parts of a tensor do not fit", where=where, expected=str(a.shape), found=str(b.shape)
        )


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
    return v * (g / norm)


def _spectral_norm(weight, u, v, where):
    """torch.nn.utils.spectral_norm: the weight divided by sigma = u W v, W the weight as a matrix whose rows
    are its outputs. Those are its axis 0, of a transposed convolution its axis 1: where both would fit, u
    itself tells, which training made W v / sigma.
    """
    weight, u, v = (a.astype(np.float64) for a in (weight, u, v))
    axes = (0, 1) if weight.ndim > 2 else (0,)
    if weight.ndim > 1 and u.ndim == v.ndim == 1:
        axes = [k for k in axes if u.size == weight.shape[k] and u.size * v.size == weight.size]
    else:
        axes = []
    if not axes:
        raise ModelFileError(
            "the parts of a spectrally normalised tensor do not fit",
            where=where,
            found=f"weight {weight.shape}, u {u.shape}, v {v.shape}",
        )
    products = [np.moveaxis(weight, k, 0).reshape(u.size, v.size) @ v for k in axes]
    if len(axes) == 2:
        alike = [abs(u @ p) / max(np.linalg.norm(u) * np.linalg.norm(p), 1e-30) for p in products]
        if max(alike) < _ALIKE or min(alike) > _UNLIKE:
            raise UnsupportedModelError(
                "spectral norm of a weight that may be a convolution's or a transposed one's: which axis its "
                "outputs are cannot be told",
                where=where,
                found=f"weight {weight.shape}",
                fix="Remove it first: torch.nn.utils.remove_spectral_norm, or "
                "parametrize.remove_parametrizations.",
            )
        products = [products[alike.index(max(alike))]]
    sigma = u @ products[0]
    if not sigma:
        raise ModelFileError("a spectrally normalised tensor has the norm zero", where=where)
    return weight / sigma
