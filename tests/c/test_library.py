"""librnnrt as its users meet it: built and installed by CMake, found by a CMake package and by pkg-config,
and the programs of examples/c, whose answers have Python's bits.
"""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from captures import NAM, written
from case_layers import conv
from needs import tool
from small_models import built

import rnnrt
from rnnrt.format import wav

ROOT = Path(__file__).resolve().parents[2]


def run(*words, **options):
    done = subprocess.run(
        [str(w) for w in words], capture_output=True, text=True, timeout=500, check=False, **options
    )
    assert done.returncode == 0, f"{words}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Where cmake has installed the shared library, at -O1, which takes a quarter of the time and changes no
    bit. (test_wheel_library.py runs the static one.)
    """
    cmake, folder = tool("cmake"), tmp_path_factory.mktemp("library")
    tool("gcc")
    into = folder / "installed"
    quick = ("-DRNNRT_STATIC=OFF", "-DCMAKE_BUILD_TYPE=None", "-DCMAKE_C_FLAGS=-O1 -Wall -Wextra -Werror")
    run(cmake, "-S", ROOT, "-B", folder, f"-DCMAKE_INSTALL_PREFIX={into}", *quick)
    run(cmake, "--build", folder, "-j2")
    run(cmake, "--install", folder)
    return into


@pytest.fixture(scope="module")
def examples(installed, tmp_path_factory):
    """{name: program} of examples/c, built with the installed CMake package."""
    cmake, folder = tool("cmake"), tmp_path_factory.mktemp("examples")
    tool("g++")
    run(cmake, "-S", ROOT / "examples/c", "-B", folder, f"-DCMAKE_PREFIX_PATH={installed}")
    run(cmake, "--build", folder)
    return {name: folder / name for name in ("amp", "host", "vad")}


def test_the_libraries_show_what_the_header_declares_and_nothing_else(installed):
    header = (installed / "include/rnnrt.h").read_text()
    declared = set(re.findall(r"\b(rnnrt_\w+)\(", header)) - set(re.findall(r"typedef void (\w+)", header))
    names = lambda text: {line.split()[-1] for line in text.splitlines() if len(line.split()) == 3}
    shown = names(run(tool("nm"), "-D", "--defined-only", installed / "lib/librnnrt.so"))
    assert shown == declared
    inside = names(run(tool("nm"), "-g", "--defined-only", rnnrt.get_library()))
    assert declared <= inside and all(name.startswith("rnnrt_") for name in inside)


def test_pkg_config_finds_it(installed, tmp_path):
    config = tool("pkg-config")
    words = run(config, "--cflags", "--libs", "rnnrt", env={"PKG_CONFIG_PATH": f"{installed}/lib/pkgconfig"})
    source = tmp_path / "one.c"
    source.write_text("#include <rnnrt.h>\nint main(void) { return !*rnnrt_status_text(RNNRT_OK); }\n")
    run(tool("gcc"), source, *words.split(), "-o", tmp_path / "one")
    run(tmp_path / "one", env={"LD_LIBRARY_PATH": str(installed / "lib")})


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A WAV file of float32 that is louder and quieter by turns, and its samples."""
    path = tmp_path_factory.mktemp("sound") / "in.wav"
    t = np.arange(5000)
    x = (np.sin(t * 0.07) * np.sin(t * 0.001) + np.random.default_rng(0).normal(0, 0.05, 5000)) * 0.5
    x = x.astype(np.float32)[:, None]
    parts, _ = wav.encode(wav.Sound(x, 48000, "float32"))
    path.write_bytes(b"".join(parts))
    return path, x


@pytest.mark.parametrize("name", ["stack", "lstm", "look_ahead"])
def test_a_sound_through_a_capture_has_pythons_bits(examples, sound, tmp_path, name):
    """In one piece, and in a plug-in's blocks, where what a network looks ahead is latency."""
    path, x = sound
    saved = tmp_path / "model.rnnrt"
    if name == "look_ahead":
        model = built(lambda b, x, r: conv(b, x, r, 1, 7, padding="same"), features=(1,))
        model.save(saved)
    else:
        model = rnnrt.convert(written(tmp_path, NAM[name]), saved)
    run(examples["amp"], saved, path, tmp_path / "amp.wav")
    np.testing.assert_array_equal(wav.read(tmp_path / "amp.wav").samples, model(x))
    said = run(examples["host"], saved, path, tmp_path / "host.wav")
    late = model.delay
    assert said == f"latency {late}\n" and (late > 0) == (name == "look_ahead")
    found = wav.read(tmp_path / "host.wav").samples
    np.testing.assert_array_equal(found, np.concatenate([np.zeros((late, 1)), model(x)[: len(x) - late]]))


def test_an_example_says_what_is_wrong(examples, sound, tmp_path):
    (tmp_path / "bad.rnnrt").write_bytes(b"{}")
    words = [examples["amp"], tmp_path / "bad.rnnrt", sound[0], tmp_path / "y.wav"]
    done = subprocess.run(words, capture_output=True, check=False)
    assert done.returncode == 1 and b"not a .rnnrt file" in done.stderr and not (tmp_path / "y.wav").exists()
