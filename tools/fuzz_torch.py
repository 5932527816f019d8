"""Random PyTorch forwards, imported and compared with torch: no answer may differ, and few may be refused.

    python tools/fuzz_torch.py --count 2000 --seed 0
    python tools/fuzz_torch.py --count 500 --exported
    python tools/fuzz_torch.py --count 500 --traced

Each forward is a random program over one or two sequences: recurrent layers (packed or not, with states from
the caller or from other layers), convolutions, norms, pools, residuals, Sequential parts, reductions over
time, several outputs. Every import is run at several batches and lengths, with rows of different lengths and
states where forward takes them. ``--exported``: through a torch.export archive (.pt2), with the sizes of an
example or left open; ``--traced``: through TorchScript of torch.jit.trace, frozen or not, against the answers
of torch.jit.load; forwards that PyTorch does not take count apart. Prints the refusals by reason; ends with
1 where an answer differed or an error was not rnnrt's own, or where more than --refused percent were refused.
"""

import argparse
import collections
import contextlib
import io
import logging
import random
import re
import sys
import tempfile
import time
import warnings

import numpy as np
import torch
from torch_forwards import Writer

import rnnrt

TOLERANCE = 2e-5  # of float32 answers from each other, scaled; a wrong reading is off by far more


def plain(tree):
    """Tensors as arrays, in their tuples."""
    return tuple(map(plain, tree)) if isinstance(tree, tuple) else None if tree is None else tree.numpy()


def exported(module, example, seed):
    """The content of a .pt2 file of a module, None where torch.export does not take it."""
    inputs = tuple(example)
    left_open = seed % 2
    sizes = torch.utils._pytree.tree_map(lambda x: {k: torch.export.Dim.AUTO for k in range(x.ndim)}, inputs)
    logging.disable()
    held = io.BytesIO()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            program = torch.export.export(module, inputs, dynamic_shapes=sizes if left_open else None)
            torch.export.save(program, held)
    except Exception:  # noqa: BLE001 - whatever it does not take
        return None
    finally:
        logging.disable(logging.NOTSET)
    return held.getvalue()


def traced(module, example, seed):
    """The content of a TorchScript file of a module, None where it cannot be traced. A frozen one says
    nothing of sizes.
    """
    held = io.BytesIO()
    logging.disable()
    try:
        made = torch.jit.trace(module, example, strict=False, check_trace=False)
        torch.jit.save(torch.jit.freeze(made) if seed % 3 == 0 else made, held)
    except Exception:  # noqa: BLE001 - whatever it does not take
        return None
    finally:
        logging.disable(logging.NOTSET)
    return held.getvalue()


WAYS = {"exported": (exported, ".pt2", rnnrt.from_pt2), "traced": (traced, ".pt", rnnrt.from_torchscript)}


def one(seed, way=None):
    """("ok" | "refused" | "wrong" | "foreign" | "not exported", details) of the forward that ``seed``
    makes. ``way``: "exported" or "traced", through a file.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        writer = Writer(seed)
        module, generator = writer.module().eval(), torch.Generator().manual_seed(seed)
        packs, state = writer.takes
        example = None
        if random.Random(seed).random() < 0.5 or way:
            frames = own = writer.enough(15)
            parts = [*writer.inputs(3, frames, generator)]
            parts += [writer.lengths(3, frames, generator)] if packs else []
            parts += [writer.state(3, generator)] if state else []
            example = tuple(parts)
        before = {k: v.clone() for k, v in module.state_dict().items()}
        content = WAYS[way][0](module, example, seed) if way else b""
        if content is None:
            return "not exported", None, writer.words()
        try:
            if way:
                with tempfile.NamedTemporaryFile(suffix=WAYS[way][1]) as file:
                    file.write(content)
                    file.flush()
                    sizes = {n: tuple(part.shape) for n, part in zip("xz", writer.inputs(3, own, generator))}
                    said = {"shapes": sizes} if way == "traced" and seed % 6 == 0 else {}
                    model = WAYS[way][2](file.name, **said)
                if way == "traced":  # what is in the file, not what its module does
                    module = torch.jit.load(io.BytesIO(content))
            else:
                model = rnnrt.from_torch(module, example=example)
        except rnnrt.RnnrtError as error:
            return "refused", error, writer.words()
        except Exception as error:  # noqa: BLE001 - what is looked for
            return "foreign", f"{type(error).__name__}: {error}", writer.words()
        if way is None and any(not torch.equal(v, before[k]) for k, v in module.state_dict().items()):
            return "wrong", "importing changed the module", writer.words()
        fixed = {model.graph.signals[n].length for n in model.graph.inputs} - {None}
        for batch, more, with_state in ((3, 9, True), (1, 24, True), (4, 2, False), (2, 13, True)):
            frames = own if fixed else writer.enough(more)
            x = writer.inputs(batch, frames, generator)
            given, options = list(x), {}
            if packs:
                n = writer.lengths(batch, frames, generator)
                given.append(n)
                options["lengths"] = n.numpy()
            if state and (with_state or not writer.optional or way == "traced"):
                s = writer.state(batch, generator)
                given.append(s)
                options["initial_state"] = plain(s)
            with torch.no_grad():
                wanted = module(*given)
            wanted = list(wanted.values()) if isinstance(wanted, dict) else wanted
            wanted = [wanted] if isinstance(wanted, torch.Tensor) else list(wanted)
            try:
                made = model(*(part.numpy() for part in x), **options)
            except rnnrt.RnnrtError as error:
                return (
                    "wrong",
                    f"imported, then refused at batch {batch}, {frames} frames: {error}",
                    writer.words(),
                )
            except Exception as error:  # noqa: BLE001 - what is looked for
                return "foreign", f"{type(error).__name__}: {error}", writer.words()
            made = made if isinstance(made, tuple) else (made,)
            for y, w in zip(made, wanted, strict=True):
                w = w.numpy()
                if y.shape != w.shape:
                    return "wrong", f"shape {y.shape}, torch {w.shape}", writer.words()
                off = np.abs(y - w).max(initial=0.0) / max(1.0, np.abs(w).max(initial=0.0))
                if not off <= TOLERANCE:
                    return (
                        "wrong",
                        f"off by {off:.2g} at batch {batch}, {frames} frames, {sorted(options)}",
                        writer.words(),
                    )
    return "ok", model.provenance.get("assumptions"), writer.words()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the first forward; the others follow")
    parser.add_argument("--exported", action="store_true", help="through torch.export archives")
    parser.add_argument("--traced", action="store_true", help="through TorchScript")
    parser.add_argument("--refused", type=float, default=10.0, help="percent that may be refused")
    options = parser.parse_args()
    torch.set_num_threads(1)
    way = "exported" if options.exported else "traced" if options.traced else None
    counts, reasons, noted, begun = (
        collections.Counter(),
        collections.Counter(),
        collections.Counter(),
        time.time(),
    )
    for seed in range(options.seed, options.seed + options.count):
        kind, details, words = one(seed, way)
        counts[kind] += 1
        if kind == "refused":
            reasons[re.sub(r"'[^']*'|\d+", "_", details.what)] += 1
        elif kind not in ("ok", "not exported"):
            print(f"seed {seed}, {kind}: {details}\n    {words}", flush=True)
        elif details:
            noted[re.sub(r"'[^']*'|\d+", "_", "; ".join(details))[:120]] += 1
    refused = 100 * counts["refused"] / options.count
    print(
        f"{options.count} forwards from seed {options.seed} in {time.time() - begun:.0f} s: {counts['ok']} "
        f"equal to torch,"
        f" {counts['wrong']} wrong, {counts['foreign']} foreign errors, {counts['refused']} refused "
        f"({refused:.1f} %)" + f", {counts['not exported']} not {way}" * bool(way)
    )
    for reason, n in reasons.most_common():
        print(f"{n:6}  refused: {reason}")
    for note, n in noted.most_common():
        print(f"{n:6}  assumed: {note}")
    return 1 if counts["wrong"] or counts["foreign"] or refused > options.refused else 0


if __name__ == "__main__":
    sys.exit(main())
