"""The option grid: what rnnrt makes of the networks that tools/record_grid.py recorded.

    python tools/grid.py FOLDER [FOLDER ...] [--torch] [--counts FILE]

Each network is read from both of its files and run: the import's meaning in float64 against the float64
network of Keras, the kernels against it within promise 1, frame by frame and in chunks against the whole in
every bit where it streams. One line for every wrong answer and for every reason of a refusal. Exit 1 where an
answer is wrong, or more than 2 % of the networks are refused.
"""

from __future__ import annotations

import argparse
import collections
import functools
import itertools
import json
import re
import sys
from pathlib import Path

import keras_grid
import keras_grid_masks
import numpy as np

import rnnrt
from rnnrt import reference
from rnnrt.axes import to_canonical, to_source

#: Of all networks, the part that may be refused.
MOST_REFUSED = 0.02
#: Keras's backends, as they are written.
BACKENDS = {"tensorflow": "TensorFlow", "torch": "PyTorch"}
#: Promise 1, and what the meaning of an import in float64 may differ.
TOLERANCE, MEANING = 1e-5, 2e-6


def scaled(found, exact):
    """The largest difference, relative to the largest magnitude where that is above 1; not a number where
    only one of the two is.
    """
    if found.shape != exact.shape:
        return np.inf
    if (np.isnan(found) != np.isnan(exact)).any():
        return np.inf
    with np.errstate(invalid="ignore"):
        off = np.nan_to_num(np.abs(found - exact)).max(initial=0.0)
    return float(off / max(1.0, np.nan_to_num(np.abs(exact)).max(initial=0.0)))


def tupled(made):
    return made if isinstance(made, tuple) else (made,)


def canonical(model, inputs):
    """The arrays of a call by name, axes (batch, time, features)."""
    names = model.graph.inputs
    return {n: to_canonical(x, model.graph[n].axes) for n, x in zip(names, inputs, strict=True)}


def meant(model, inputs):
    """What the import means in float64, each answer in the axes of the source."""
    outputs = {o.name: o for o in model.graph.outputs}
    said, _ = reference.run(model.graph, canonical(model, inputs))
    return [to_source(y, outputs[name].axes) for name, y in said.items()]


def streamed(model, inputs, rng):
    """The whole and the streamed answers of the first row of a network with one input, time first."""
    ((name, x),) = canonical(model, inputs).items()
    one = to_source(x[:1], model.graph[name].axes)
    whole = [to_canonical(y, o.axes)[0] for y, o in zip(tupled(model(one)), model.graph.outputs)]
    stream, parts, at = model.stream(), [], 0
    while at < x.shape[1]:
        n = int(rng.integers(0, 5))
        parts.append(tupled(stream.push(x[0, at : at + n])))
        at += n
    parts.append(tupled(stream.flush()))
    return whole, [np.concatenate(p) for p in zip(*parts)]


def runs(arrays):
    """[(inputs, exact answers, errors of the framework in float32)] of a record."""
    for r in range(len({name[1 : name.index(".")] for name in arrays if name[0] == "x"})):
        part = lambda letter, r=r: [
            arrays[f"{letter}{r}.{k}"] for k in range(sum(n.startswith(f"{letter}{r}.") for n in arrays))
        ]
        yield part("x"), part("y"), part("e")


def answered(model, inputs, state, count):
    """The answers of a call; where the program gives more, they are the final states, which a call gives as
    its State.
    """
    given = {} if state is None else {"initial_state": state}
    found = tupled(model(*inputs, **given))
    if len(found) == count:
        return found
    answer, final = model(*inputs, **given, return_state=True)
    arrays = final.arrays()
    stacked = [[a for name, a in arrays.items() if name.endswith(end)] for end in ("/h", "/c")]
    return tupled(answer) + tuple(np.stack(parts) for parts in stacked if parts)


def judged(model, record, seed=0, states=()):
    """(what is wrong with the answers of ``model``, or None; whether it streamed). ``states``: of each run,
    None where it starts at zero.
    """
    did_stream = False
    for (inputs, exact, errors), state in itertools.zip_longest(record, states):
        found = answered(model, inputs, state, len(exact))
        if len(found) != len(exact):
            return f"{len(found)} answers, not {len(exact)}", did_stream
        if state is None:
            for k, (y, z, made) in enumerate(zip(meant(model, inputs), exact, found)):
                off = scaled(y.reshape(made.shape) if y.size == made.size else y, z)
                # what Keras computes in 32 bits all the same grows with what it is fed back to
                own = max(MEANING, min(float(errors[k]), TOLERANCE))
                if off > (own if z.dtype == np.float64 else TOLERANCE):
                    return f"answer {k}: what the import means is {off:.2g} off", did_stream
        for k, (y, z, error) in enumerate(zip(found, exact, errors)):
            if scaled(y, z) > max(TOLERANCE, 2 * float(error)):
                return (
                    f"answer {k}: {scaled(y, z):.2g} off, the framework itself {float(error):.2g}",
                    did_stream,
                )
        if model.streamable and len(inputs) == 1 and state is None:
            whole, parts = streamed(model, inputs, np.random.default_rng(seed))
            did_stream = True
            for k, (y, z) in enumerate(zip(whole, parts, strict=True)):
                if y.shape != z.shape and not (y.ndim == z.ndim - 1 and len(z) == 1):
                    return f"answer {k}: streamed {z.shape}, whole {y.shape}", did_stream
                if y.tobytes() != z.tobytes():
                    return f"answer {k}: streamed bits differ", did_stream
    return None, did_stream


def outcome(importing, record, seed=0, states=()):
    """("ok" | "wrong" | "refused", why, streamed) of a network that ``importing()`` reads."""
    model = None
    try:
        model = importing()
        wrong, did_stream = judged(model, record, seed, states)
    except rnnrt.RnnrtError as error:
        if model is not None and any(getattr(x, "length", None) for x in model.graph.layers[:1]):
            return "refused", "another number of frames than the example's, which the import is for", False
        return "refused", plain(error), False
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a fault
        return "wrong", f"an error that is not rnnrt's: {type(error).__name__}: {error}"[:200], False
    return ("wrong", wrong, did_stream) if wrong else ("ok", None, did_stream)


def plain(error):
    """A refusal without the names of one network: what, and what to do."""
    kind = re.search(r"\((\w+)\)", getattr(error, "where", None) or "")
    what = f"{kind[1]} {error.what}" if kind and error.what.startswith("is ") else error.what
    what = re.sub(r"the module '[^']*' \((\w+)\)", r"the module \1", what)
    fix = (error.fix or "").partition(" The largest part")[0].partition("The largest part")[0].strip()
    return f"{what}. {fix}" if fix else what


def check(folder, report=print):
    """What became of every recorded network: {number: ("ok" | "wrong" | "refused" | "not built", why,
    streamed)}."""
    folder, made, known = Path(folder), {}, keras_grid.descriptions()
    said = json.loads((folder / "index.json").read_text())
    if said["descriptions"] != keras_grid.fingerprint():
        raise SystemExit(f"{folder}: records of other networks; run tools/record_grid.py again")
    for number, how in said["networks"].items():
        if said["backend"] != "tensorflow" and keras_grid.away_from_tensorflow(known[int(number)]):
            how = "Keras's backends differ, and TensorFlow's answer is taken"
        if how != "made":
            made[int(number)] = ("not built", how, False)
            continue
        with np.load(folder / f"{int(number):04}.npz") as held:
            record = list(runs(dict(held)))
        masked = any(kind != "numbers" for _, kind in known[int(number)]["inputs"])
        if not masked and not all(np.isfinite(y).all() for _, exact, _ in record for y in exact):
            made[int(number)] = ("not built", "its numbers overflow in Keras itself", False)
            continue
        found = []
        for suffix in (".keras", ".h5"):
            path = folder / f"{int(number):04}{suffix}"
            if not path.exists():
                continue  # an .h5 of Keras 3.0
            found.append(outcome(lambda path=path: rnnrt.from_keras(path), record, int(number)))
            if found[-1][0] == "wrong":
                report(f"WRONG {path}: {found[-1][1]}")
        made[int(number)] = min(found, key=lambda f: ("wrong", "refused", "ok").index(f[0]))
    return said, made


def check_torch(first=0, every=1, report=print):
    """As check, of the networks of tools/torch_grid.py in the installed PyTorch: live, and by their specs."""
    import torch
    import torch_grid

    torch.set_num_threads(1)
    live, by_spec = {}, {}
    for description in torch_grid.descriptions()[first::every]:
        number = description["number"]
        try:
            module = torch_grid.built(description)
            record, states = torch_record(module, torch_grid.given(description))
        except Exception as error:  # noqa: BLE001 - whatever PyTorch does not build or run
            live[number] = ("not built", f"{type(error).__name__}: {str(error)[:160]}", False)
            continue
        example = tuple(torch.from_numpy(x) for x in record[0][0])
        example += (torch_grid.state_of(states[0]),) if states[0] is not None else ()
        live[number] = outcome(
            functools.partial(rnnrt.from_torch, module, example=example), record, number, states
        )
        tensors = module.state_dict()
        if tensors and (lines := torch_grid.spec(description)) is not None:  # a spec is of tensors
            by_spec[number] = outcome(
                functools.partial(rnnrt.from_torch, tensors, lines), record, number, states
            )
        for how, made in (("live", live), ("by its spec", by_spec)):
            if made.get(number, ("ok",))[0] == "wrong":
                report(f"WRONG {how}: {made[number][1]}: {json.dumps(description)}")
    return live, by_spec


def torch_record(module, runs_of):
    """(the record of a module at each run, as ``runs`` gives it; the states it starts from)."""
    import copy

    import torch
    import torch_grid

    record, double = [], copy.deepcopy(module).double()
    for x, states in runs_of:
        exact, rounded = [], []
        for which, held, dtype in ((double, exact, torch.float64), (module, rounded, torch.float32)):
            given = torch.from_numpy(x) if x.dtype.kind == "i" else torch.from_numpy(x).to(dtype)
            more = (torch_grid.state_of(states, dtype),) if states is not None else ()
            with torch.no_grad():
                answers = which(given, *more)
            held += [y.numpy() for y in (answers if isinstance(answers, tuple) else (answers,))]
        x = x if x.dtype.kind == "i" else x.astype(np.float32)
        record.append(([x], exact, [scaled(y, z) for y, z in zip(rounded, exact)]))
    as_arrays = lambda s: (
        None if s is None else s[0].astype("f") if len(s) == 1 else tuple(p.astype("f") for p in s)
    )
    return record, [as_arrays(states) for _, states in runs_of]


def counted(made, known):
    """The counts of a source, as the page has them: networks built, streamed, refused by what is said; layers
    that were run behind a mask of every pattern.
    """
    masked = {keras_grid_masks.asked(known[n]) for n, (how, *_) in made.items() if how == "ok"} - {None}
    built = [(how, why, streamed) for how, why, streamed in made.values() if how != "not built"]
    refused = collections.Counter(why for how, why, _ in built if how == "refused")
    return {
        "networks": len(built),
        "streamed": sum(streamed for *_, streamed in built),
        "refused": dict(sorted(refused.items())),
    } | ({"masked": len(masked)} if masked else {})


def tell(title, made, families):
    """Prints what became of the networks of one source; the counts by outcome."""
    counts = collections.Counter(how for how, *_ in made.values())
    print(
        f"{title}: "
        + ", ".join(f"{n} {how}" for how, n in sorted(counts.items()))
        + f", {sum(s for *_, s in made.values())} streamed"
    )
    reasons = collections.defaultdict(list)
    for number, (how, why, _) in made.items():
        if how != "ok":
            reasons[how, re.sub(r"\x1b\[[0-9]*m", "", why).replace("\n", " ")[:200]].append(number)
    for (how, why), numbers in sorted(reasons.items(), key=lambda item: (item[0][0], -len(item[1]))):
        names = sorted({families[n]["family"] for n in numbers})
        print(f"{len(numbers):6}  {how}: {why}  ({', '.join(names[:4])}: {', '.join(map(str, numbers[:4]))})")
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*")
    parser.add_argument("--torch", action="store_true", help="PyTorch's networks too, live")
    parser.add_argument("--every", type=int, default=1, help="of PyTorch's: one in so many")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--counts", help="a file that gets the counts of every source")
    options = parser.parse_args()
    total, found = collections.Counter(), {}
    for folder in options.folders:
        said, made = check(folder)
        name = f"Keras {said['keras']}, {BACKENDS[said['backend']]}"
        total += tell(f"{name}, digest {said['digest'][:16]}", made, keras_grid.descriptions())
        found.setdefault(name, {}).update(made)
    counts = {name: counted(made, keras_grid.descriptions()) for name, made in found.items()}
    if options.torch:
        import torch
        import torch_grid

        for how, made in zip(("live", "by specs"), check_torch(options.first, options.every)):
            name = f"PyTorch {torch.__version__.partition('+')[0]}, {how}"
            total += tell(name, made, torch_grid.descriptions())
            counts[name] = counted(made, torch_grid.descriptions())
    if options.counts:
        Path(options.counts).write_text(json.dumps(counts, indent=1) + "\n")
    built = sum(total.values()) - total["not built"]
    print(
        f"{built} networks: {total['wrong']} wrong, {total['refused']} refused "
        f"({total['refused'] / max(built, 1):.2%})"
    )
    sys.exit(bool(total["wrong"]) or total["refused"] > MOST_REFUSED * built)


if __name__ == "__main__":
    main()
