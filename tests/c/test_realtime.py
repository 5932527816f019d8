"""Real time: step, push, flush and reset of every op, with what a program of real time forbids them (see
realtime.c), and each of these done wrong on purpose.
"""

import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import plans
import pytest
from cases import CASES
from clock_networks import apart, three_of_two_clocks, two_ends
from needs import tool
from random_graphs import random_graph
from small_models import two_inputs_two_outputs

import rnnrt
from rnnrt import _engine, lowering, passes
from rnnrt import layers as L

ROOT = Path(__file__).resolve().parents[2]
NOT_HERE = 77
WARN = ["-std=gnu11", "-g1", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'src'}"]
#: They read their input from its end; everything else is stepped.
WHOLE = {"reverse", "pad_circular", "attention"}

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"),
    reason="not run: no seccomp but on Linux, x86-64 or aarch64",
)


def given_once():
    """A GRU that begins at a value given once, and that value beside each of its frames."""
    b, r = L.GraphBuilder(), np.random.default_rng(3)
    x, z = b.input("x", (3,)), b.input("z", (4,), time=False)
    y = b.add(
        L.GRU,
        "gru",
        x,
        z,
        weight=r.standard_normal((12, 3)),
        recurrent_weight=r.standard_normal((12, 4)),
    )
    b.output("y", b.add(L.Concatenate, "both", y, b.add(L.Expand, "expand", y, z)))
    return b.graph()


def graphs():
    made = {case.name: case.graph() for case in CASES} | {"given_once": given_once()}
    made |= {"two_outputs": two_inputs_two_outputs().graph, "apart": apart().graph}
    made |= {"two_ends": two_ends().graph, "three_inputs": three_of_two_clocks().graph}
    return made | {f"random_{seed}": random_graph(seed)[0] for seed in range(60)}


def kinds_of(graph):
    """The engine's kinds of layers, those of plans inside too."""
    run = passes.optimise(graph)
    inside = [kinds_of(x.graph) for x in run.layers if getattr(x, "graph", None)]
    return {desc["kind"] for desc in lowering.descs_of(run)[0]}.union(*inside)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """{name: .rnnrt file}."""
    folder, made = tmp_path_factory.mktemp("files"), {}
    for name, graph in graphs().items():
        made[name] = folder / f"{name}.rnnrt"
        made[name].write_bytes(plans.file_of(graph, 20))
    return made


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """realtime.c on the library of the package; every name is bound before it begins."""
    made = tmp_path_factory.mktemp("program") / "realtime"
    words = [*WARN, ROOT / "tests/c/realtime.c", rnnrt.get_library(), "-lm", "-pthread", "-Wl,-z,now"]
    done = subprocess.run([tool("gcc"), *words, "-o", made], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return made


def run(program, what, plant, files, isa=None):
    """(exit code, what it printed); ``files`` {name: path}."""
    done = subprocess.run(
        [program, what, plant, *files.values()],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
        env=os.environ | ({"RNNRT_ISA": isa} if isa else {}),
    )
    if done.returncode == NOT_HERE:
        pytest.skip("not run: no seccomp or no ptrace in this container")
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("isa", _engine.isas())
def test_streams_only_compute(program, files, isa):
    """No system call, allocation or lock, in the caller's floating-point mode and leaving it, and no denormal
    numbers in silence.
    """
    code, said = run(program, "calls", "none", files, isa)
    assert code == 0, said[-4000:]
    ran = {line.removesuffix(".rnnrt") for line in said.split("\n") if line.endswith(".rnnrt")}
    assert ran >= {case.name for case in CASES if case.streams}
    kinds = set().union(*(kinds_of(graph) for name, graph in graphs().items() if name in ran))
    assert set(_engine.KINDS) - kinds == WHOLE


def test_a_first_step_meets_no_new_page(program, files):
    code, said = run(program, "pages", "none", files)
    assert code == 0, said[-4000:]


def test_a_first_step_takes_no_more_instructions_than_the_hundredth_and_silence_no_more_than_noise(
    program, files
):
    """Of some: a processor is stepped through them."""
    names = ["lstm_20", "gru_5", "conv_dilated", "three_delays", "scan_two_widths"]
    names += ["masked_mean", "wavenet", "embedding"]
    code, said = run(program, "count", "none", {name: files[name] for name in names})
    assert code == 0 and said.count("instructions") == len(names), said[-4000:]


PLANTS = {
    "malloc": ("calls", "calls malloc"),
    "free": ("calls", "calls free"),
    "lock": ("calls", "calls pthread_mutex"),
    "getpid": ("calls", "a system call"),
    "mode": ("calls", "floating-point mode is another one"),
    "answer": ("calls", "memcmp"),
    "denormal": ("calls", "denormal"),
    "page": ("pages", "faults"),
    "work": ("count", "first <= "),
}


@pytest.mark.parametrize("plant", PLANTS)
def test_what_is_done_wrong_is_seen(program, files, plant):
    what, words = PLANTS[plant]
    code, said = run(program, what, plant, {"lstm_5": files["lstm_5"]})
    assert code == 1 and words in said, said


# ---- clang's own watch -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory):
    """realtime.c and the engine under RealtimeSanitizer."""
    folder = tmp_path_factory.mktemp("sanitized")
    trial = folder / "trial.c"
    trial.write_text("int main(void) { return 0; }\n")
    for name in ("clang", *(f"clang-{version}" for version in range(30, 19, -1))):
        words = [shutil.which(name), "-fsanitize=realtime", trial, "-o", folder / "trial"]
        if words[0] and not subprocess.run(words, capture_output=True, check=False).returncode:
            break
    else:
        pytest.skip("not run: no clang with RealtimeSanitizer")
    flags = ["-std=gnu11", "-g1", "-O1", "-w", "-ffp-contract=off", "-fsanitize=realtime", "-DSANITIZED"]

    def compile_one(source):
        words = [name, *flags, f"-I{ROOT / 'src'}", "-c", source, "-o", folder / f"{source.stem}.o"]
        subprocess.run(words, check=True)
        return words[-1]

    with ThreadPoolExecutor(2) as pool:
        sources = [*sorted((ROOT / "src").rglob("*.c")), ROOT / "tests/c/realtime.c"]
        parts = list(pool.map(compile_one, sources))
    made = folder / "realtime"
    subprocess.run([name, "-fsanitize=realtime", *parts, "-lm", "-pthread", "-o", made], check=True)
    return made


def test_realtime_sanitizer_finds_nothing(sanitized, files):
    code, said = run(sanitized, "calls", "none", files)
    assert code == 0, said[-4000:]


@pytest.mark.parametrize("plant", ["malloc", "free", "lock", "getpid"])
def test_realtime_sanitizer_finds_what_is_done_wrong(sanitized, files, plant):
    code, said = run(sanitized, "calls", plant, {"lstm_5": files["lstm_5"]})
    assert code and "RealtimeSanitizer: unsafe-library-call" in said, said
