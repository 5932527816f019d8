"""Makes the libraries of an environment take a processor with AVX-512 for one with AVX2 alone, so that their
AVX2 code can be measured there beside `RNNRT_ISA=avx2`.

    python -m venv ENVIRONMENT              and install the peers of tools/bench_peers.txt in it: the files in
    python tools/hide_avx512.py ENVIRONMENT it are changed for good
    RNNRT_ISA=avx2 ENVIRONMENT/bin/python tools/bench_peers.py

A library may use AVX-512 where the instruction xgetbv, with 0 in ecx, says that the system keeps its
registers. It is three bytes; `push 7; pop rax` are three, too, and say that it keeps those of AVX. (Its bytes
are also the end of one instruction and an addition: only those shortly behind one that clears ecx are
changed.) torch is asked by ATEN_CPU_CAPABILITY=avx2 as well.
"""

from __future__ import annotations

import argparse
import mmap
import sys
from pathlib import Path

XGETBV, SAYS_AVX = b"\x0f\x01\xd0", b"\x6a\x07\x58"
CLEARS_ECX = (b"\x31\xc9", b"\x33\xc9", b"\xb9\x00\x00\x00\x00")


def hide(path: Path) -> int:
    """How many places of a library were changed."""
    count = 0
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as content:
        at = content.find(XGETBV)
        while at >= 0:
            if any(clear in content[max(at - 16, 0) : at] for clear in CLEARS_ECX):
                content[at : at + len(XGETBV)] = SAYS_AVX
                count += 1
            at = content.find(XGETBV, at + len(XGETBV))
    return count


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("environment", type=Path)
    environment = parser.parse_args().environment
    files = (p for p in environment.rglob("*.so*") if p.is_file() and not p.is_symlink())
    libraries = [p for p in files if p.stat().st_size]
    changed = {p: hide(p) for p in libraries}
    for path, count in changed.items():
        if count:
            print(f"{count:4} {path.relative_to(environment)}")
    return 0 if any(changed.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
