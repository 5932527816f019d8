"""Where the C library is that comes with the package: the header and the static library of the engine.

    cc host.c -I"$(python -c 'import rnnrt; print(rnnrt.get_include())')" \\
        "$(python -c 'import rnnrt; print(rnnrt.get_library())')" -lm -pthread
"""

from __future__ import annotations

import os

from .errors import RnnrtError

_HERE = os.path.dirname(os.path.abspath(__file__))


def get_include() -> str:
    """The folder of ``rnnrt.h``. Raises RnnrtError where this installation has none."""
    return os.path.dirname(_found("include", "rnnrt.h"))


def get_library() -> str:
    """The path of the static library ``librnnrt.a``, to be linked with ``-lm -pthread``. It is
    position-independent, so it may become part of a shared library or a plug-in. Raises RnnrtError where this
    installation has none.
    """
    return _found("lib", "librnnrt.a")


def _found(*parts):
    path = os.path.join(_HERE, *parts)
    if not os.path.isfile(path):
        raise RnnrtError(
            "the C library is not part of this installation",
            where=path,
            fix="Install rnnrt again, or build the library from a checkout: cmake -B build; cmake --build "
            "build; cmake --install build.",
        )
    return path
