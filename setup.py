"""One plain extension: the C sources of src/ and the border rnnrt/_engine.pyx, which includes rnnrt/border/;
and of the same objects the static library librnnrt.a, for hosts in C.
Everything else stands in pyproject.toml.

Kernels choose their instruction set at run time, so no flag here names one. -ffp-contract=off comes after any
flags of the user's: the order of floating-point operations is part of what rnnrt promises.
RNNRT_SANITIZE=1 builds with the address and undefined-behaviour sanitizers, RNNRT_DEBUG=1 without
optimisation, RNNRT_PAIRS=1 with one more kernel table, for tests: what is written for the 16 lanes of
AVX-512, on pairs of AVX2 vectors.
"""

import os
import shutil
import subprocess
from glob import glob
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

flags = ["-std=gnu11", "-O3", "-fno-math-errno", "-fno-trapping-math", "-Werror=psabi", "-fvisibility=hidden"]
links = ["-Wl,-z,now", "-pthread"] if os.name == "posix" and os.uname().sysname == "Linux" else []
if os.environ.get("RNNRT_DEBUG"):
    flags += ["-O0"]
elif not os.environ.get("RNNRT_SANITIZE"):
    flags += ["-g0"]  # Python's own flags ask for debug information: five sixths of the wheel
if os.environ.get("RNNRT_SANITIZE"):
    flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    links += ["-fsanitize=address,undefined"]
pairs = [("RNNRT_PAIRS", "1")] if os.environ.get("RNNRT_PAIRS") else []


# Also in CMakeLists.txt. Without it gcc clears every structure of some 100 bytes with `rep stos`: a twentieth
# of a step of a small network.
CLEARS_AT_ONCE = "-mmemset-strategy=unrolled_loop:256:noalign,libcall:-1:noalign"


class Build(build_ext):
    def build_extension(self, extension):
        # after CFLAGS, which setuptools puts first: contraction would change bits silently
        last = ["-ffp-contract=off", "-fno-fast-math"]
        if self.accepts(CLEARS_AT_ONCE):
            last.append(CLEARS_AT_ONCE)
        extension.extra_compile_args = extension.extra_compile_args + last
        compile_source = self.compiler._compile

        def compile_small(target, source, suffix, before, after, defines):
            # the border is a third of the library and no faster for more of it
            if source == "rnnrt/_engine.c":
                after = ["-O2" if flag == "-O3" else flag for flag in after]
            compile_source(target, source, suffix, before, after, defines)

        self.compiler._compile = compile_small
        super().build_extension(extension)
        self.make_library(extension)

    def accepts(self, flag):
        """Whether the compiler knows a flag: this one gcc for x86 alone."""
        command = [*self.compiler.compiler_so, flag, "-x", "c", "-S", os.devnull, "-o", os.devnull]
        return subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0

    def make_library(self, extension):
        """The engine's objects as a static library, beside the header: rnnrt.get_library(), get_include()."""
        sources = [s for s in extension.sources if s.startswith("src/")]
        package = Path(self.build_lib, "rnnrt")
        for folder in ("lib", "include"):
            (package / folder).mkdir(parents=True, exist_ok=True)
        objects = self.compiler.object_filenames(sources, output_dir=self.build_temp)
        (package / "lib" / "librnnrt.a").unlink(missing_ok=True)  # ar adds to what is there
        self.compiler.create_static_lib(objects, "rnnrt", output_dir=str(package / "lib"))
        shutil.copyfile("src/rnnrt.h", package / "include" / "rnnrt.h")

    def copy_extensions_to_source(self):
        super().copy_extensions_to_source()
        for name in ("lib/librnnrt.a", "include/rnnrt.h"):
            Path("rnnrt", name).parent.mkdir(exist_ok=True)
            shutil.copyfile(Path(self.build_lib, "rnnrt", name), Path("rnnrt", name))


engine = Extension(
    "rnnrt._engine",
    sources=["rnnrt/_engine.pyx", *sorted(glob("src/**/*.c", recursive=True))],
    depends=sorted([*glob("src/**/*.h", recursive=True), "rnnrt/_c.pxd", *glob("rnnrt/border/*.pxi")]),
    include_dirs=["src", numpy.get_include()],
    define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION"), *pairs],
    extra_compile_args=flags,
    extra_link_args=links,
)

setup(ext_modules=cythonize([engine], language_level=3), cmdclass={"build_ext": Build})
