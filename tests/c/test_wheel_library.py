"""The header and the static library that come with the package, and `rnnrt embed`: a host in C whose network
is part of the program.
"""

import json
import subprocess

import numpy as np
import pytest
from captures import NAM, written
from needs import tool

import rnnrt
from rnnrt.command import main

HOST = """
#include "rnnrt.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

extern const unsigned char NAME[];
extern const size_t NAME_size;
_Alignas(64) static char memory[1 << 16];
static size_t taken, most, given[1 << 12];
static char *blocks[1 << 12];

static void *take(void *context, size_t size, size_t alignment) {
    (void)context, (void)alignment;
    for (int k = 0; k < 1 << 12; k++)
        if (!blocks[k]) {
            taken += given[k] = size;
            most = taken > most ? taken : most;
            return blocks[k] = aligned_alloc(64, (size + 63) / 64 * 64);
        }
    return NULL;
}

static void release(void *context, void *block) {
    (void)context;
    for (int k = 0; k < 1 << 12; k++)
        if (blocks[k] == block) taken -= given[k], blocks[k] = NULL;
    free(block);
}

int main(void) {
    struct rnnrt_plan *plan;
    struct rnnrt_stream *stream;
    struct rnnrt_error error;
    const struct rnnrt_allocator counted = {take, release, NULL};
    size_t bytes;
    if ((uintptr_t)NAME % 64 || rnnrt_load_memory_with(&plan, NAME, NAME_size, &counted, &error)) return 1;
    if (most != HEAP_PEAK || taken != HEAP_LOADED) return 5;
    most = taken;
    if (rnnrt_stream_create(&stream, plan, 1, 0, false, false, &error)) return 6;
    if (most - HEAP_LOADED != HEAP_STREAM) return 7;
    rnnrt_stream_free(stream);
    if (rnnrt_stream_size(plan, 1, 0, &bytes) || bytes != BYTES) return 2;
    if (rnnrt_stream_init(&stream, memory, sizeof memory, plan, 1, 0, false, &error)) return 3;
    for (float x, y; fread(&x, sizeof x, 1, stdin) == 1; fwrite(&y, sizeof y, 1, stdout))
        if (rnnrt_stream_step(stream, &x, &y, &error) != 1) return 4;
    rnnrt_stream_free(stream);
    rnnrt_plan_free(plan);
    return taken ? 8 : 0;
}
"""


def test_a_network_in_the_program_on_memory_of_its_own(tmp_path, capsys):
    compiler = tool("gcc")
    capture = written(tmp_path, NAM["lstm"])
    model = rnnrt.from_nam(capture)
    assert main.main(["embed", str(capture), "-o", str(tmp_path / "tone.c"), "--name", "tone", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (
        said["name"] == "tone" and 0 < said["stream_bytes"] < 1 << 16 and said["plan_bytes"] == model.nbytes
    )
    source = HOST.replace("NAME", "tone").replace("BYTES", str(said["stream_bytes"]))
    for word, key in {
        "HEAP_PEAK": "heap_peak_loading",
        "HEAP_LOADED": "heap_loaded",
        "HEAP_STREAM": "heap_stream",
    }.items():
        source = source.replace(word, str(said[key]))
    (tmp_path / "host.c").write_text(source)
    words = [tmp_path / "host.c", tmp_path / "tone.c", f"-I{rnnrt.get_include()}", rnnrt.get_library(), "-lm"]
    strict = ["-std=c11", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([compiler, *strict, *words, "-o", tmp_path / "host"], check=True)
    x = np.random.default_rng(0).normal(0, 0.3, (300, 1)).astype(np.float32)
    done = subprocess.run([tmp_path / "host"], input=x.tobytes(), capture_output=True, check=False)
    assert done.returncode == 0, done.returncode
    np.testing.assert_array_equal(np.frombuffer(done.stdout, np.float32)[:, None], model(x))


def test_embed_writes_over_what_it_wrote_and_nothing_else(tmp_path, capsys):
    capture = written(tmp_path, NAM["lstm"])
    for _ in range(2):
        assert main.main(["embed", str(capture), "-o", str(tmp_path / "2 tones.c")]) == 0
    assert (
        "_2_tones[" not in (tmp_path / "2 tones.c").read_text()
    )  # the name is the model's, not the output's
    (tmp_path / "mine.c").write_text("/* mine */\nint main(void) { return 0; }\n")
    assert main.main(["embed", str(capture), "-o", str(tmp_path / "mine.c")]) == 2
    assert main.main(["embed", str(capture), "-o", str(tmp_path / "x.c"), "--name", "a b"]) == 2
    error = capsys.readouterr().err
    assert "would be lost" in error and "is not a name in C" in error
    assert (tmp_path / "mine.c").read_text().startswith("/* mine */") and not (tmp_path / "x.c").exists()


def test_where_the_library_is_missing_that_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(rnnrt.c_library, "_HERE", str(tmp_path))
    for call in (rnnrt.get_include, rnnrt.get_library):
        with pytest.raises(rnnrt.RnnrtError, match="not part of this installation.*cmake -B build"):
            call()
