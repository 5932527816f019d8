"""The C sources built for targets other than this Python's: the answers must have the recorded bits on each
of them.

kernels.c hashes every kernel of a table (tests/data/kernels.txt), answers.c runs the plan of
every case (tests/data/hashes.json); embed.c, tools/fuzz_plan.c and tools/fuzz_load.c are the C
interface's own tests. A target this machine cannot build or run is skipped, with the words "not run: no ...".
"""

import json
import platform
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import plans
import pytest

from rnnrt import _engine

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ["-std=gnu11", "-O1", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-Werror=psabi"]
WARN = ["-Wall", "-Wextra", "-Wconversion", "-Werror", f"-I{ROOT / 'src'}"]
WRAPPED = [f"-Wl,--wrap={name}" for name in ("malloc", "calloc", "realloc", "aligned_alloc")]
#: For -m32 where only the versioned multilib package is installed: the kernel's headers are those of 64 bits.
ASM = ["-idirafter", "/usr/include/x86_64-linux-gnu"]


@dataclass(frozen=True)
class Target:
    """How to compile for it, how to run it here, and the tables whose bits are those recorded."""

    name: str
    compiler: str
    flags: tuple = ()
    runner: tuple = ()
    isas: tuple = ()
    processor: str | None = None  # an instruction set of this processor it needs

    def command(self, program, *words):
        return [*self.runner, str(program), *map(str, words)]


TARGETS = [
    Target("pairs", "gcc", ("-DRNNRT_PAIRS",), isas=("avx2", "avx2_pairs"), processor="avx2"),
    Target("fma", "gcc", ("-mfma",), isas=("scalar",), processor="avx2"),
    Target("m32", "gcc", ("-m32", *ASM)),
    Target("m32-fma", "gcc", ("-m32", "-mfma", "-mfpmath=sse", *ASM), isas=("scalar",), processor="avx2"),
    Target("musl", "musl-gcc", ("-static",), isas=("avx2",), processor="avx2"),
    Target("aarch64", "aarch64-linux-gnu-gcc", ("-static",), ("qemu-aarch64",), ("neon", "scalar")),
]


def lacking(target, folder):
    """What keeps the target from being built and run here, or None."""
    for word in (target.compiler, *target.runner[:1]):
        if not shutil.which(word):
            return word
    if target.compiler == "gcc" and platform.machine() != "x86_64":
        return "x86-64 processor"
    if target.processor and target.processor not in _engine.isas():
        return f"{target.processor} on this processor"
    trial = folder / "trial.c"
    trial.write_text("#include <stdlib.h>\nint main(void) { return 0; }\n")
    built = [target.compiler, *target.flags, trial, "-o", folder / "trial"]
    if subprocess.run(built, capture_output=True, check=False).returncode:
        return f"{' '.join(target.flags)} of {target.compiler}"
    if subprocess.run(target.command(folder / "trial"), capture_output=True, check=False).returncode:
        return f"way to run what {target.compiler} builds"
    return None


@pytest.fixture(scope="module", params=TARGETS, ids=lambda t: t.name)
def built(request, tmp_path_factory):
    """(target, {name: program}) of the programs in C, each with everything in src/."""
    target, folder = request.param, tmp_path_factory.mktemp(request.param.name)
    lack = lacking(target, folder)
    if lack:
        pytest.skip(f"not run: no {lack}")

    def compile_one(source):
        made = folder / f"{source.stem}.o"
        words = [target.compiler, *FLAGS, *WARN, *target.flags, "-c", source, "-o", made]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return made

    mains = [ROOT / "tests/c" / f"{name}.c" for name in ("kernels", "answers", "embed", "asked")]
    mains += [ROOT / "tools" / "fuzz_plan.c", ROOT / "tools" / "fuzz_load.c"]
    with ThreadPoolExecutor(2) as pool:
        engine = list(pool.map(compile_one, sorted((ROOT / "src").rglob("*.c"))))
    for main in mains:
        wrapped = WRAPPED if main.stem in ("embed", "asked", "fuzz_plan", "fuzz_load") else []
        parts = [compile_one(main), *engine, *wrapped, "-lm", "-o", folder / main.stem]
        subprocess.run([target.compiler, *target.flags, *parts], check=True)
    return target, {main.stem: folder / main.stem for main in mains}


def run(target, program, *words):
    command = target.command(program, *words)
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def test_every_kernel_answers_with_the_recorded_bits(built):
    target, programs = built
    recorded = (ROOT / "tests" / "data" / "kernels.txt").read_text().splitlines()
    for isa in target.isas:
        assert run(target, programs["kernels"], isa).splitlines() == recorded, isa


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """The plans and samples of every case, for answers.c."""
    path = tmp_path_factory.mktemp("cases") / "cases.bin"
    plans.write(path)
    return path


def test_every_case_answers_with_the_recorded_bits(built, cases):
    target, programs = built
    recorded = json.loads((ROOT / "tests" / "data" / "hashes.json").read_text())
    del recorded["inputs"]
    for isa in target.isas:
        found = dict(line.split() for line in run(target, programs["answers"], cases, isa).splitlines())
        assert {n: h for n, h in found.items() if h != recorded[n]} == {}, isa
        assert list(found) == list(recorded)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return plans.write_files(tmp_path_factory.mktemp("files"))


def test_the_c_interface_holds(built, files):
    target, programs = built
    assert "streamed" in run(target, programs["fuzz_load"], "fuzz", 1, 3000, *files)
    run(target, programs["embed"])
    run(target, programs["asked"])
    assert "answered" in run(target, programs["fuzz_plan"], "fuzz", 1, 400)
    assert "refused" in run(target, programs["fuzz_plan"], "memory", 1, 20)
