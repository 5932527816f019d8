"""Python programs whose every allocation is counted.

A library loaded before all others counts the calls and the bytes that are held, NumPy's and CPython's own
among them (PYTHONMALLOC=malloc); a program asks it through ``ctypes.CDLL(None)``: ``counted()`` calls so far,
``held()`` bytes now.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from needs import absent

COUNTER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <stddef.h>
static volatile long calls, bytes;
static __thread int inside;
#define REAL(type, name, ...) static type (*real)(__VA_ARGS__); \
    if (!real && !inside) { inside = 1; real = dlsym(RTLD_NEXT, #name); inside = 0; }
long counted(void) { return calls; }
long held(void) { return bytes; }
static void *taken(void *p) {
    __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
    if (p) __atomic_fetch_add(&bytes, (long)malloc_usable_size(p), __ATOMIC_RELAXED);
    return p;
}
static void given(void *p) {
    if (p) __atomic_fetch_sub(&bytes, (long)malloc_usable_size(p), __ATOMIC_RELAXED);
}
static char early[65536];
static size_t used;
void *malloc(size_t n) { REAL(void *, malloc, size_t) return taken(real(n)); }
void *realloc(void *p, size_t n) { REAL(void *, realloc, void *, size_t) given(p); return taken(real(p, n)); }
void *aligned_alloc(size_t a, size_t n) {
    REAL(void *, aligned_alloc, size_t, size_t)
    return taken(real(a, n));
}
int posix_memalign(void **p, size_t a, size_t n) {
    REAL(int, posix_memalign, void **, size_t, size_t)
    int failed = real(p, a, n);
    if (!failed) taken(*p);
    return failed;
}
void free(void *p) {
    REAL(void, free, void *)
    if ((char *)p >= early && (char *)p < early + sizeof early) return;
    given(p);
    real(p);
}
void *calloc(size_t k, size_t n) {  /* dlsym itself asks for memory before the real one is known */
    static void *(*real)(size_t, size_t);
    if (!real) {
        if (inside) { void *p = early + used; used += (k * n + 63) / 64 * 64; return p; }
        inside = 1; real = dlsym(RTLD_NEXT, "calloc"); inside = 0;
    }
    return taken(real(k, n));
}
"""


def answer_of(program, folder):
    """What a Python program prints as JSON, with the counter in its process; ``sys.argv[1]`` is the folder of
    these modules.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if sys.platform != "linux" or not compiler:
        absent("counting allocations needs Linux and a C compiler")
    (folder / "counter.c").write_text(COUNTER)
    subprocess.run(
        [compiler, "-O1", "-shared", "-fPIC", "-o", folder / "counter.so", folder / "counter.c", "-ldl"],
        check=True,
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(Path(__file__).parent)],
        env={**os.environ, "LD_PRELOAD": str(folder / "counter.so"), "PYTHONMALLOC": "malloc"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)
