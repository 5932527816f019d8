"""Calls that threads share, without Python, under the thread sanitizer."""

import platform
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from needs import tool

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ["-std=gnu11", "-g1", "-O0", "-w", "-ffp-contract=off"]
SANITIZE = "-fsanitize=thread"


def test_shared_calls_race_for_nothing_and_have_the_bits_of_one_thread(tmp_path):
    compiler = tool("gcc")
    trial = tmp_path / "trial.c"
    trial.write_text("int main(void) { return 0; }\n")
    made = subprocess.run([compiler, SANITIZE, trial, "-o", trial.with_suffix("")], check=False)
    if made.returncode or subprocess.run([trial.with_suffix("")], check=False).returncode:
        pytest.skip(f"not run: no {SANITIZE} of gcc on this {platform.machine()}")

    def compile_one(source):
        words = [compiler, *FLAGS, SANITIZE, f"-I{ROOT / 'src'}", "-c", source]
        done = subprocess.run(
            [*words, "-o", tmp_path / f"{source.stem}.o"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return tmp_path / f"{source.stem}.o"

    tables = {"kernels_avx2", "kernels_avx512", "kernels_neon", "kernels_pairs"}  # slow to compile
    sources = [s for s in sorted((ROOT / "src").rglob("*.c")) if s.stem not in tables]
    with ThreadPoolExecutor(2) as pool:
        parts = list(pool.map(compile_one, [*sources, ROOT / "tests/c/threads.c"]))
    subprocess.run([compiler, SANITIZE, *parts, "-lm", "-pthread", "-o", tmp_path / "threads"], check=True)
    done = subprocess.run([tmp_path / "threads"], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0 and done.stdout == "shared\n", done.stdout + done.stderr[-4000:]
