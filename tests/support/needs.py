"""What a test needs and may not find: it skips visibly for a user, and fails where RNNRT_CI=1 forbids
skipping.
"""

import importlib
import os
import shutil
import sys
from pathlib import Path

import pytest


def absent(reason):
    """Skip the test, or fail it where nothing may be skipped."""
    if os.environ.get("RNNRT_CI") == "1":
        pytest.fail(f"nothing may be skipped here: {reason}", pytrace=False)
    pytest.skip(reason, allow_module_level=True)


def tool(name, what=None):
    """The path of a program, which may stand beside this Python; the test is skipped where there is none."""
    beside = Path(sys.executable).parent
    return shutil.which(name) or shutil.which(name, path=str(beside)) or absent(f"not run: no {what or name}")


def need(module):
    """The imported module, or the test is skipped (failed in CI). keras runs on its torch backend."""
    if module == "keras":
        os.environ.setdefault("KERAS_BACKEND", "torch")
        need("torch")
    try:
        made = importlib.import_module(module)
    except ImportError as error:
        absent(f"{module} is not installed ({error})")
    if module == "torch":
        made.set_num_threads(1)
    return made
