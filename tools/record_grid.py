"""Builds and runs the networks of tools/keras_grid.py in the Keras that is installed.

    python tools/record_grid.py FOLDER [--every 1] [--first 0] [--only NUMBER ...] [--masks]

FOLDER gets NUMBER.keras, NUMBER.h5 and NUMBER.npz of each: in the .npz, for run r, ``x<r>.<k>`` went in and
``y<r>.<k>`` came out of the same network with float64 weights, and ``e<r>.<k>`` is the float32 network's own
error. index.json says of every number how it went, and by ``digest`` what was built and given: it is the same
wherever the same version of Keras builds the same grid. Needs Keras 2.15 (TensorFlow) or 3, with any backend.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import warnings
from pathlib import Path

import numpy as np

#: (rows, frames) of the runs of networks without masks.
RUNS = ((3, 16), (1, 21))
#: Frames of those with: each row is real throughout, a prefix, left-padded, with holes, all masked, with one
#: frame masked and with one real.
MASKED = 14


def patterns(frames):
    """Which frames are real, a row each; of any number of frames."""
    t = np.arange(frames)
    holes = (t * 7 + t * t) % 5 > 1
    return np.stack(
        [t >= 0, t < frames * 5 // 9, t >= frames // 3, holes, t < 0, t != frames // 3, t == frames // 2]
    )


def numbers(rng, kind, rows, shape, turn):
    """What goes into an input: numbers; ids, 0 where masked; frames, throughout -1 where masked."""
    x = np.round(rng.normal(size=(rows, *shape)) * 64) / 64
    if kind == "numbers":
        return x
    real = np.roll(patterns(shape[0]), 2 * turn, axis=0)
    if kind == "ids":
        return np.where(real, rng.integers(1, 6, real.shape), 0).astype(float)
    x[::2, :, 0] = -1.0  # real frames may hold the value too, but not throughout
    x[~real] = -1.0
    return x


def given(description, fixed=False):
    """[the arrays of each run] of a description."""
    rng, made = np.random.default_rng(description["number"]), []
    masked = any(kind != "numbers" for _, kind in description["inputs"])
    for rows, frames in ((7, MASKED),) if masked else RUNS[:1] if fixed else RUNS:
        made.append(
            [
                numbers(rng, kind, rows, [n or frames for n in shape], turn)
                for turn, (shape, kind) in enumerate(description["inputs"])
            ]
        )
    return made


def weigh(model, number, digest=None):
    """Random weights of few digits, the same for the same network whatever its type."""
    rng = np.random.default_rng([number, 1])
    for v in model.weights:
        name = getattr(v, "path", v.name)
        if "float" not in str(v.dtype) or "state" in v.name:
            continue  # a generator's seed; what a stateful layer holds
        spread = 0.3 if "recurrent" in name else 0.5
        value = np.round(rng.normal(size=v.shape) * spread * 64) / 64
        value = np.abs(value) + 0.5 if "variance" in name else value
        v.assign(value)
        if digest:
            digest.update(value.tobytes())


def answers(model, inputs, dtype):
    inputs = [x.astype(dtype) for x in inputs]
    made = model(inputs[0] if len(inputs) == 1 else inputs, training=False)
    made = made if isinstance(made, (list, tuple)) else [made]
    return [np.asarray(y.detach() if hasattr(y, "detach") else y) for y in made]


def scaled(found, exact):
    """The largest difference, relative to the largest magnitude where that is above 1."""
    with np.errstate(invalid="ignore"):
        off = np.nan_to_num(np.abs(found - exact)).max(initial=0.0)
    return float(off / max(1.0, np.nan_to_num(np.abs(exact)).max(initial=0.0)))


def both(description, keras, built, digest=None):
    """(the float32 network, the arrays of its record)."""
    from keras_grid import stateful

    batch = RUNS[0][0] if stateful(description) else None
    if batch and any(kind != "numbers" for _, kind in description["inputs"]):
        batch = 7
    nets = {}
    for dtype in ("float64", "float32"):
        keras.backend.set_floatx(dtype)
        if hasattr(keras, "config"):
            keras.config.set_dtype_policy(dtype)
        nets[dtype] = built(description, keras, batch)
        weigh(nets[dtype], description["number"], digest if dtype == "float32" else None)
    arrays = {}
    for r, inputs in enumerate(given(description, bool(batch))):
        exact, rounded = (answers(nets[d], inputs, d) for d in ("float64", "float32"))
        assert all(
            y.dtype == np.float32 for y in rounded
        )  # of exact ones too some: not all of Keras keeps 64
        for k, x in enumerate(inputs):
            arrays[f"x{r}.{k}"] = x.astype(np.float32)
            if digest:
                digest.update(arrays[f"x{r}.{k}"].tobytes())
        for k, (y, z) in enumerate(zip(exact, rounded)):
            arrays[f"y{r}.{k}"], arrays[f"e{r}.{k}"] = y, np.float64(scaled(z, y))
    return nets["float32"], arrays


def options_of(description):
    return [item for _, options, _ in description["nodes"] for item in options.items()]


def said(model, option):
    """Whether a layer's config has the option; what it has not, Keras forgets when it saves."""
    return any(option in layer.get_config() for layer in model.layers)


def record(folder, first=0, every=1, only=(), masks=False):
    import keras
    from keras_grid import built, descriptions, fingerprint

    folder, index, digest = Path(folder), {}, hashlib.sha256()
    folder.mkdir(parents=True, exist_ok=True)
    for description in descriptions():
        number = description["number"]
        family = description["family"] == "masks"
        drawn = family if masks else number % every == first and not family
        if number not in only if only else not drawn:
            continue
        digest.update(json.dumps(description).encode())
        try:
            keras.backend.clear_session()
            model, arrays = both(description, keras, built, digest)
            lost = [k for k, o in options_of(description) if k == "output_padding" and not said(model, k)]
            if lost:
                raise ValueError(f"{lost[0]} is not written to a file by this Keras")
            model.save(folder / f"{number:04}.keras")
            np.savez(folder / f"{number:04}.npz", **arrays)
            index[number] = "made"
            if keras.__version__ > "3.1" or keras.__version__ < "3":  # 3.0 names what is in cells twice
                model.save(folder / f"{number:04}.h5")
        except Exception as error:  # noqa: BLE001 - whatever this Keras does not build
            index[number] = f"{type(error).__name__}: {str(error).strip()[:160]}"
    backend = keras.backend.backend() if hasattr(keras.backend, "backend") else "tensorflow"
    told = {"keras": keras.__version__, "backend": backend, "digest": digest.hexdigest()}
    told |= {"descriptions": fingerprint(), "networks": index}
    (folder / "index.json").write_text(json.dumps(told))
    made = sum(how == "made" for how in index.values())
    print(f"Keras {told['keras']}, {backend}: {made} of {len(index)} built; digest {told['digest'][:16]}")


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--only", type=int, nargs="*", default=(), help="these numbers alone")
    parser.add_argument("--masks", action="store_true", help="the family of masked layers alone")
    options = parser.parse_args()
    record(options.folder, options.first, options.every, options.only, options.masks)
