"""Damaged files: how they are damaged, and what became of them.

What reads a stranger's file ends in a network or in one of rnnrt's own errors, soon; and where the framework
reads the same file too, it answers alike.
"""

import argparse
import collections
import copy
import multiprocessing
import resource
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import rnnrt

MOST_MEMORY = 1 << 30  # that a run may take beyond what it began with, in bytes

#: What may stand anywhere in JSON.
VALUES = (None, True, False, 0, 1, -1, 2, 3, 1.5, 1e300, -1e-300, 1 << 24, 1 << 40)
VALUES += ("", "x", [], {}, [[]], [1], {"a": 1})


def bytes_changed(content, draw):
    """A copy with some bytes changed, cut out, said twice or put in."""
    data = bytearray(content)
    for _ in range(draw.randrange(1, 5)):
        at = draw.randrange(len(data))
        match draw.randrange(12):
            case 0 | 1 | 2 | 3:
                data[at] ^= 1 << draw.randrange(8)
            case 4 | 5:
                data[at] = draw.randrange(256)
            case 6 | 7:  # where numbers and offsets stand
                data[at & ~3 : (at & ~3) + 4] = draw.randrange(-50, 60).to_bytes(4, "little", signed=True)
            case 8:
                data[at : at + 1] = bytes([255] * draw.randrange(1, 11))
            case 9:
                del data[at : at + draw.randrange(1, 9)]
            case 10:
                data[at:at] = data[at : at + draw.randrange(1, 40)]
            case 11:
                data[at:at] = bytes(draw.randrange(1, 9))
        if not data:
            return bytes(content[:1])
    return bytes(data)


def value_changed(tree, draw, values=VALUES, keep=()):
    """Change one value somewhere in lists and dictionaries: another one, none, twice, or a stranger."""
    while True:
        keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
        if not keys:
            return
        key = draw.choice(keys)
        if isinstance(tree[key], (dict, list)) and tree[key] and draw.random() < 0.85:
            tree = tree[key]
            continue
        break
    if key in keep:
        return
    match draw.randrange(6):
        case 0 | 1 | 2:
            tree[key] = copy.deepcopy(draw.choice(values))
        case 3:
            del tree[key]
        case 4:
            tree[key] = copy.deepcopy(tree[draw.choice(keys)])
        case 5 if isinstance(tree, dict):
            tree["new"] = 1
        case 5:
            tree *= draw.choice((2, 3))


class Tally:
    """What became of files: ``ends`` {"read" or the error: how often}, ``faults`` (in words), ``slowest``
    (seconds of the processor).

    ``seconds`` is what one file may take to be read.
    """

    def __init__(self, seconds):
        self.seconds, self.slowest = seconds, 0.0
        self.ends, self.faults = collections.Counter(), []

    def take(self, read, differs=None):
        """Call ``read()``, and with what it makes ``differs(made)``, which says what is wrong with it or
        None. Returns the fault, None where there is none.
        """
        began, fault, made = time.process_time(), None, None
        try:
            made = read()
            end = "read"
        except rnnrt.RnnrtError as error:
            if len(str(error)) > 2000 or "\x1b" in str(error):
                fault = f"a message of {len(str(error))} characters, or with terminal codes: {error!r:.300}"
            end = f"{type(error).__name__}: {error.what[:70]}"
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            fault = f"{type(error).__name__}: {error!s:.300} {traceback.extract_tb(error.__traceback__)[-3:]}"
            end = "another error"
        took = time.process_time() - began
        self.slowest, self.ends[end] = max(self.slowest, took), self.ends[end] + 1
        if took > self.seconds:
            fault = f"slow: {took:.1f} s ({end})"
        if end == "read" and differs is not None and fault is None:
            try:
                fault = differs(made)
            except rnnrt.RnnrtError as error:
                self.ends[f"run: {type(error).__name__}: {error.what[:70]}"] += 1
        if fault:
            self.faults.append(fault)
        return fault

    def report(self, most=60):
        """Print the ends by number."""
        for end, count in self.ends.most_common(most):
            print(f"{count:8} {end}")
        print(f"slowest {self.slowest:.2f} s, {len(self.faults)} faults")


class Apart:
    """A function in a process of its own, which a mutant may end. None where it raises, dies, or takes more
    than ``seconds``.
    """

    def __init__(self, function, seconds=20.0):
        self.function, self.seconds, self.process = function, seconds, None

    def __call__(self, *given):
        if self.process is None or not self.process.is_alive():
            context = multiprocessing.get_context("spawn")
            self.pipe, other = context.Pipe()
            self.process = context.Process(target=_answering, args=(self.function, other), daemon=True)
            self.process.start()
            other.close()
        try:
            self.pipe.send(given)
            if self.pipe.poll(self.seconds):
                return self.pipe.recv()
        except (EOFError, OSError):
            pass
        self.process.kill()
        self.process.join()
        return None


def _answering(function, pipe):
    while True:
        given = pipe.recv()
        try:
            made = function(*given)
        except Exception:  # noqa: BLE001 - whatever it refuses
            made = None
        pipe.send(made)


def options(description, seconds=20.0, files="*"):
    """A parser of the options that every run over mutants has."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    if files:
        parser.add_argument("files", nargs=files)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=seconds, help="that one file may take to be read")
    parser.add_argument("--keep", help="a folder for mutants that failed")
    return parser


def memory():
    """The most memory that this process has taken, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def run(chosen, mutant, read, differs=None, suffix=""):
    """The exit code of a run over ``chosen.count`` mutants: 1 where one of them had a fault, or where all of
    them took more than MOST_MEMORY.

    ``mutant(k)`` makes the content of one, {path in it: content} of a folder; ``read(path)`` imports it,
    ``differs(path, made)`` compares.
    """
    warnings.simplefilter("ignore")
    tally, before = Tally(chosen.seconds), memory()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"mutant{suffix}"
        for k in range(chosen.count):
            content = mutant(k)
            _write(path, content)
            fault = tally.take(lambda: read(path), differs and (lambda made: differs(path, made)))
            if fault:
                print(f"mutant {k}: {fault}", flush=True)
                if chosen.keep:
                    _write(Path(chosen.keep) / f"failed{chosen.seed}_{k}{suffix}", content)
    tally.report()
    more = memory() - before
    print(f"{chosen.count:,} mutants, memory {more >> 20} MiB beyond {before >> 20}")
    return 1 if tally.faults or more > MOST_MEMORY else 0


def _write(path, content):
    if isinstance(content, dict):
        for name, part in content.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(part)
    else:
        path.unlink(missing_ok=True)  # some file systems flush a file that is written over
        path.write_bytes(content)
