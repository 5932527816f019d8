"""The C interface without Python, built with the sanitizers: an example, rows that lie, random plans, files
that lie, and a machine without memory.
"""

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import plans
import pytest
from needs import absent

ROOT = Path(__file__).resolve().parents[2]
FLAGS = [
    "-std=gnu11",
    "-g1",
    "-O1",
    "-ffp-contract=off",
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Werror",
    f"-I{ROOT / 'src'}",
]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
#: The kernels do no arithmetic on sizes that could overflow, and checks inside their unrolled loops take
#: minutes to compile.
SANITIZE_KERNELS = ["-fsanitize=address", "--param", "asan-instrumentation-with-call-threshold=0"]
WRAPPED = [f"-Wl,--wrap={name}" for name in ("malloc", "calloc", "realloc", "aligned_alloc")]


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """{name: program} of what is in tests/c and tools, each with everything in src/."""
    compiler = shutil.which("gcc") or absent("no gcc is here")
    folder = tmp_path_factory.mktemp("programs")
    trial = folder / "trial.c"
    trial.write_text("int main(void) { return 0; }\n")
    if subprocess.run(
        [compiler, *SANITIZE, trial, "-o", folder / "trial"], capture_output=True, check=False
    ).returncode:
        absent("gcc has no address and undefined-behaviour sanitizers here")

    def compile_one(source):
        made = folder / f"{source.stem}.o"
        flags = SANITIZE_KERNELS if source.name.startswith("kernels_") else SANITIZE
        done = subprocess.run(
            [compiler, *FLAGS, *flags, "-c", source, "-o", made], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return made

    mains = [ROOT / "tests/c" / f"{name}.c" for name in ("embed", "asked", "inside", "allocator")]
    mains += [ROOT / "tools/fuzz_plan.c", ROOT / "tools/fuzz_load.c"]
    with ThreadPoolExecutor(2) as pool:
        engine = list(pool.map(compile_one, sorted((ROOT / "src").rglob("*.c"))))
        made = {main.stem: compile_one(main) for main in mains}
    for name, main in made.items():
        subprocess.run([compiler, *SANITIZE, *WRAPPED, main, *engine, "-lm", "-o", folder / name], check=True)
    return {name: folder / name for name in made}


#: Plans of files that lie may want more than there is: they are to be told so, not to fill the machine.
LITTLE_MEMORY = {"ASAN_OPTIONS": "allocator_may_return_null=1:max_allocation_size_mb=512"}


def run(program, *words):
    done = subprocess.run(
        [program, *words],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | LITTLE_MEMORY,
    )
    assert done.returncode == 0, f"{words}: {done.stdout[-2000:]}{done.stderr[-6000:]}"
    return done.stdout


def test_a_program_in_c_makes_a_plan_and_streams_through_it(programs):
    run(programs["embed"])


def test_a_long_call_is_asked_as_often_as_promised(programs):
    run(programs["asked"])


def test_lags_are_what_a_walk_along_the_frames_finds_and_idle_arenas_stay_within_their_bounds(programs):
    assert "lags" in run(programs["inside"])


def test_random_plans_answer_alike_whole_and_streamed_and_nothing_reads_or_writes_beyond(programs):
    assert "answered" in run(programs["fuzz_plan"], "fuzz", "1", "4000")


def test_where_memory_ends_every_call_says_so_and_leaves_nothing_behind(programs):
    assert "refused" in run(programs["fuzz_plan"], "memory", "1", "200")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The paths of a .rnnrt file of every case, and one of every layer."""
    folder = tmp_path_factory.mktemp("files")
    return plans.write_files(folder)


def test_a_damaged_file_gets_a_status_or_a_plan_that_runs(programs, files):
    assert "streamed" in run(programs["fuzz_load"], "fuzz", "1", "20000", *files)


def test_where_memory_ends_a_file_is_not_loaded_and_nothing_is_left_behind(programs, files):
    assert "refused" in run(programs["fuzz_load"], "memory", *files)


def test_a_plan_on_an_allocator_of_the_callers_takes_nothing_from_anywhere_else(programs, files):
    assert "refused" in run(programs["allocator"], *files)


def test_the_header_stands_alone(tmp_path):
    compiler = shutil.which("gcc") or absent("no gcc is here")
    source = tmp_path / "alone.c"
    source.write_text('#include "rnnrt.h"\nint main(void) { return RNNRT_OK; }\n')
    for words in (["-std=c11", "-pedantic"], ["-x", "c++", "-std=c++17"]):
        done = subprocess.run(
            [compiler, *words, "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{ROOT / 'src'}", source],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0 or "cc1plus" in done.stderr, done.stderr
