"""Very many steps of one stream, from C and through Python: nothing grows, nothing drifts.

    python tools/soak.py                               10^8 steps in C and 10^6 in Python, some minutes
    python tools/soak.py --steps 200000 --python 20000
    python tools/soak.py --model voice.rnnrt           of that network in place of an LSTM of 20 units

Frames of noise and silent ones by turns. In C (tools/soak.c, on the library of the package) the allocator may
not be called; through Python steps, pushes, clones and states as bytes are mixed. In both the process may not
grow, and a stream that goes on from the state half-way has the same answers and ends in the same state, bit
by bit. Times of single steps are printed beside it. Exit code 1 where something does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import zlib
from array import array
from pathlib import Path
from time import perf_counter_ns

import numpy as np

import rnnrt

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))
from case_layers import one
from cases import Case

from rnnrt import layers as L

TABLE, TURN, PAGE = 1021, 4096, os.sysconf("SC_PAGE_SIZE")
#: Pages that a process may grow by once it is warm: what the interpreter takes for itself.
GROWTH = 64
#: Objects that Python may hold more of at the end: names, counts and states of this program.
LEFT = 100
WRAPPED = [f"-Wl,--wrap={name}" for name in ("malloc", "calloc", "realloc", "aligned_alloc")]


def pages():
    """Pages of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1])


def in_c(path, steps, *plant):
    """What tools/soak.c says of ``steps`` steps of the .rnnrt file at ``path``."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "soak"
        words = [os.environ.get("CC", "cc"), "-std=gnu11", "-O2", f"-I{rnnrt.get_include()}"]
        words += [ROOT / "tools" / "soak.c", rnnrt.get_library(), *WRAPPED, "-lm", "-pthread", "-o", program]
        subprocess.run(words, check=True)
        done = subprocess.run(
            [program, path, str(steps), *plant], stdout=subprocess.PIPE, text=True, check=False
        )
    said = json.loads(done.stdout)
    return said | {"held": done.returncode == 0}


class Steps:
    """Steps of a model through Python, each timed."""

    def __init__(self, model):
        (shape,) = model.inputs.values()
        self.model, self.width = model, shape[-1]
        self.noise = np.random.default_rng(0).uniform(-1, 1, (TABLE, self.width)).astype(np.float32)
        self.silence = np.zeros(self.width, np.float32)
        self.y = model.stream().step(self.noise[0])

    def frame(self, t):
        return self.silence if t // TURN % 2 else self.noise[t % TABLE]

    def run(self, stream, first, last, spent=None):
        """Frames ``first`` to ``last`` - 1; the CRC-32 of the answers. Now and then the stream is pushed
        and cloned, and its state written and read."""
        total, t, y = 0, first, self.y
        while t < last:
            x = self.frame(t)
            if t % 1000 == 999:
                state = rnnrt.State.from_bytes(stream.state.to_bytes())
                stream = stream.clone()
                stream.state = state
            if t % 10 == 9:
                total = zlib.crc32(stream.push(x[None]), total)
            elif t % 10 == 8:
                total = zlib.crc32(stream.step(x), total)
            else:
                start = perf_counter_ns()
                stream.step(x, out=y)
                if spent is not None:
                    spent[t] = perf_counter_ns() - start
                total = zlib.crc32(y, total)
            t += 1
        return total, stream


def through_python(model, steps, leak=None):
    """The same of ``model`` through Python. ``leak``: called after every tenth part."""
    work, half = Steps(model), steps // 2
    spent = array("q", bytes(8 * steps))
    work.run(model.stream(), 0, min(steps, 5000), spent)
    stream, parts = model.stream(), 10
    before, blocks = pages(), sys.getallocatedblocks()
    for k in range(parts):
        if k == parts // 2:
            halfway, total = stream.state.to_bytes(), 0
        crc, stream = work.run(stream, steps * k // parts, steps * (k + 1) // parts, spent)
        total = crc if k < parts // 2 else zlib.crc32(crc.to_bytes(4, "little"), total)
        if leak:
            leak()
    grown, blocks, end = pages() - before, sys.getallocatedblocks() - blocks, stream.state.to_bytes()
    again, other = 0, model.stream()
    other.state = rnnrt.State.from_bytes(halfway)
    for k in range(parts // 2, parts):
        crc, other = work.run(other, max(half, steps * k // parts), steps * (k + 1) // parts)
        again = zlib.crc32(crc.to_bytes(4, "little"), again)
    same = again == total and other.state.to_bytes() == end
    ns = np.array(spent, np.int64)
    ns = ns[ns > 0]
    quantiles = np.percentile(ns, [50, 99, 99.99])
    return {
        "steps": steps,
        "pages grown": grown,
        "objects left": blocks,
        "replay same": same,
        **{f"p{name} ns": float(q) for name, q in zip(("50", "99", "99.99"), quantiles)},
        "longest ns": int(ns.max()),
        "held": same and grown <= GROWTH and blocks <= LEFT,
    }


def told(where, said):
    ratio = said["p99.99 ns"] / max(said["p50 ns"], 1)
    kib = said["pages grown"] * PAGE // 1024
    calls = "".join(f", {said[what]} {what}" for what in ("allocations", "objects left") if what in said)
    bits = "has the same bits" if said["replay same"] else "DIFFERS"
    times = ", ".join(f"{name} {said[f'{name} ns']:,.0f}" for name in ("p50", "p99", "p99.99", "longest"))
    lines = [
        f"{where}: {said['steps']:,} steps, grown by {kib} KiB{calls}; a replay of the second half {bits}"
    ]
    lines.append(f"  {times} ns; p99.99 / p50 = {ratio:.1f}")
    if "silence p50 ns" in said:
        kinds = [f"{k} {said[f'{k} p50 ns']:.0f} and {said[f'{k} p99 ns']:.0f}" for k in ("noise", "silence")]
        lines.append(f"  p50 and p99 of {', of '.join(kinds)} ns")
    return "\n".join(lines if said["held"] else [*lines, "  DOES NOT HOLD"])


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=10**8, help="in C (default %(default)s)")
    parser.add_argument("--python", type=int, default=10**6, help="through Python (default %(default)s)")
    parser.add_argument("--model", help="a .rnnrt file with one input and one output")
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        path = options.model or str(Path(folder) / "lstm_20.rnnrt")
        if not options.model:
            rnnrt.Model(Case("lstm_20", one(L.LSTM, 20), features=20).graph()).save(path)
        said = [("in C", in_c(path, options.steps))]
        print(told(*said[-1]), flush=True)
        said.append(("through Python", through_python(rnnrt.load(path), options.python)))
        print(told(*said[-1]), flush=True)
    return int(not all(s["held"] for _, s in said))


if __name__ == "__main__":
    sys.exit(main())
