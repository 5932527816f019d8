"""Changed files of torch.save, read to their tensors: only rnnrt's own errors.

    python tools/fuzz_pickle.py --count 2000 --seed 0 [FILE.pt ...]

Each mutant is one of the files (by default the zip and the legacy file of tests/data/torch, and some of the
TorchScript files) with bytes changed, or (three of four) with something else in its pickle: instructions left
out, said twice, in another place or from another pickle, other numbers, other names. Nothing is compared: a
tensor of a changed pickle is what the pickle says. Prints the errors by kind; ends with 1 where an error was
not rnnrt's own, or a file took longer than --seconds.
"""

import io
import itertools
import pickletools
import random
import sys
import zipfile
from functools import cache
from pathlib import Path

import mutants

from rnnrt.importers.torch.files import read_tensors, unwrap

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path.insert(0, str(TESTS / "support"))
from script_records import recorded

#: Instructions of their own that no seed need have.
STRANGERS = [b"cos\nsystem\n", b"(X\x01\x00\x00\x00xtR", b"h\x07", b"\x8a\x09" + b"\xff" * 9, b"K\xff"]
STRANGERS += [
    b"J\xff\xff\xff\xff",
    b"G" + b"\x7f" * 8,
    b"\x82\x01",
    *(bytes([c]) for c in b"]})(02bQRusea.N"),
]
STRANGERS += [bytes([c]) for c in (0x81, 0x85, 0x88, 0x92, 0x93, 0x94)]


def pickled(content):
    """(the pickle in a file, f(another pickle) -> the file with it)."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return content, lambda data: data
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        members = {n: source.read(n) for n in source.namelist()}
    name = next(n for n in members if n.endswith("/data.pkl"))

    def file(data):
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w") as copy:
            for member, own in members.items():
                copy.writestr(zipfile.ZipInfo(member), data if member == name else own)
        return held.getvalue()

    return members[name], file


@cache
def parsed(content):
    """([instruction] of the pickles in a file, f(pickle) -> the file with it); after the last one of a legacy
    file stand its numbers, one more item.
    """
    data, file = pickled(content)
    starts, end = [], 0
    for _ in range(5):  # a legacy file has as many
        try:
            starts += [end + at for _, _, at in pickletools.genops(data[end:])]
        except ValueError:
            break
        end = starts[-1] + 1
    cuts = [*starts, end, len(data)]
    return [data[a:b] for a, b in itertools.pairwise(cuts)], file


def instructions_changed(content, draw, others):
    parts, file = parsed(content)
    parts = list(parts)
    for _ in range(draw.randrange(1, 4)):
        at = draw.randrange(len(parts))
        match draw.randrange(8):
            case 0:
                del parts[at]
            case 1:
                parts.insert(draw.randrange(len(parts)), parts[at])
            case 2:
                other = draw.randrange(len(parts))
                parts[at], parts[other] = parts[other], parts[at]
            case 3:
                parts[at] = draw.choice(parts)
            case 4:
                parts.insert(at, draw.choice(STRANGERS))
            case 5:
                parts[at] = draw.choice(STRANGERS)
            case 6:
                parts[at] = draw.choice(parsed(draw.choice(others))[0])
            case 7 if len(parts[at]) > 1:
                parts[at] = parts[at][:1] + mutants.bytes_changed(parts[at][1:], draw)
        if not parts:
            break
    return file(b"".join(parts))


def main():
    chosen = mutants.options(__doc__, seconds=2.0).parse_args()
    contents = [Path(f).read_bytes() for f in chosen.files]
    saved = [(TESTS / "data" / "torch" / n).read_bytes() for n in ("net.pt", "net_legacy.pt")]
    scripts = [recorded()[n] for n in ("rnn.traced", "cells.traced", "gru.frozen")]
    contents, draw = contents or [*saved, *saved, *scripts], random.Random(chosen.seed)

    def mutant(k):
        seed = draw.choice(contents)
        return instructions_changed(seed, draw, contents) if k % 4 else mutants.bytes_changed(seed, draw)

    return mutants.run(chosen, mutant, lambda path: unwrap(read_tensors(path)), suffix=".pt")


if __name__ == "__main__":
    sys.exit(main())
