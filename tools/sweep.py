"""tanh, sigmoid and exp over every float32: the largest error in units in the last place, per instruction set.

    python tools/sweep.py [--isa avx512] [--step 1]

All 2^32 patterns take some minutes a function; --step 17 walks every 17th. Prints the worst input of each and exits 1 above 4.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from test_kernels import SMALLEST, apply, exact, ulps

from rnnrt import _engine

CHUNK = 1 << 22


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--isa", choices=_engine.isas(), help="one instruction set only")
    options.add_argument("--step", type=int, default=1, help="walk every so many patterns")
    options = options.parse_args()
    worst = 0.0
    for isa in [options.isa] if options.isa else _engine.isas():
        for name in ("tanh", "sigmoid", "exponential"):
            found = (0.0, 0.0)
            for start in range(0, 1 << 32, CHUNK * options.step):
                bits = np.arange(start, min(start + CHUNK * options.step, 1 << 32), options.step, dtype=np.uint64).astype(np.uint32)
                x = bits.view(np.float32)
                x = np.where(np.abs(x) < SMALLEST, np.float32(0), x)[~np.isnan(x)]
                if not x.size:
                    continue
                wanted = exact(name, x)
                with np.errstate(all="ignore"):
                    normal = np.isfinite(wanted) & (np.abs(wanted) >= SMALLEST) & (np.abs(wanted) <= np.finfo(np.float32).max)
                error = ulps(apply(name, isa, x), wanted)
                if error.size and error.max() > found[0]:
                    found = (float(error.max()), float(x[normal][error.argmax()]))
            print(f"{isa:8s} {name:12s} {found[0]:.3f} ulp at {found[1]!r}", flush=True)
            worst = max(worst, found[0])
    return worst > 4


if __name__ == "__main__":
    sys.exit(main())
