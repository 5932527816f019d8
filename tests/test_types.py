"""What type checkers see: every public name annotated, a user's program without a finding, its mistakes
found, the stub held to the engine.
"""

import inspect
import json
import os
import re
import runpy
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from needs import need

import rnnrt

HERE = Path(__file__).parent / "typed"
ROOT = Path(rnnrt.__file__).parent.parent


def functions_of(owner):
    """(where, function) of everything public that can be called on ``owner``, or read of it."""
    for name in dir(owner):
        found = inspect.getattr_static(owner, name)
        if name.startswith("_") and name not in ("__call__", "__init__"):
            continue
        found = found.fget if isinstance(found, property) else getattr(found, "__func__", found)
        if inspect.isfunction(found) and found.__module__.startswith("rnnrt"):
            yield f"{owner.__name__}.{name}", found


def test_every_public_name_is_annotated():
    places = [rnnrt, rnnrt.layers, rnnrt.textbook, rnnrt.frontends, rnnrt.plot]
    classes = [getattr(p, n) for p in places for n in dir(p) if inspect.isclass(getattr(p, n))]
    classes = [c for c in classes if c.__module__.startswith("rnnrt") and c is not rnnrt.Stream]
    assert {rnnrt.Model, rnnrt.State, rnnrt.Graph, rnnrt.ShapeError, rnnrt.layers.GRU} <= set(classes)
    functions = dict(f for owner in [*places, *classes] for f in functions_of(owner))
    assert len(functions) > 100
    left_out = []
    for where, function in functions.items():
        signature = inspect.signature(function)
        named = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
        left_out += [f"{where}({p.name})" for p in named if p.annotation is p.empty]
        left_out += [f"{where} ->"] * (signature.return_annotation is inspect.Signature.empty)
    assert not left_out


def test_annotations_cost_nothing_at_import():
    code = (
        "import rnnrt, sys; print({'rnnrt.annotations', 'typing_extensions', 'numpy.typing'} & "
        "set(sys.modules))"
    )
    code = f"import numpy, sys; before = set(sys.modules)\n{code[:-1]} - before)"
    assert run([sys.executable, "-c", code], HERE).strip() == "set()"


def test_the_users_program_runs(tmp_path, capsys):
    runpy.run_path(str(HERE / "user.py"))["main"](tmp_path)
    assert "(1, 5, 2) 9 (1, 5, 2)" in capsys.readouterr().out


# ---- type checkers -----------------------------------------------------------------------------------------


def run(command, folder, allowed=(0,)):
    """What a command prints, in a folder from which the checkout is not seen by chance; it does find rnnrt
    where that is built in place.
    """
    installed = ROOT in {Path(sysconfig.get_path(p)) for p in ("purelib", "platlib")}
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONPATH": str(ROOT)}
    environment |= {} if installed else {"MYPYPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=550
    )
    assert done.returncode in allowed, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return str(tmp_path_factory.mktemp("mypy"))


def by_mypy(cache, folder):
    """{file name: {line: message}} of what mypy --strict finds."""
    need("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(HERE / "mypy.ini")]
    command += ["--cache-dir", cache, str(HERE / "user.py"), str(HERE / "mistakes.py")]
    text = run(command, folder, allowed=(1,))
    lines = re.findall(r"^(?:.*/)?(\w+\.py):(\d+): (?:error|warning): (.*)$", text, re.MULTILINE)
    return {name: {int(n): what for file, n, what in lines if file == name} for name, _, _ in lines}


def by_pyright(_, folder):
    """The same of pyright's strict mode. basedpyright is pyright with its node in the wheel: pyright's own
    would be downloaded when first run.
    """
    need("basedpyright")
    for name in ("user.py", "mistakes.py"):
        (folder / name).write_bytes((HERE / name).read_bytes())
    settings = {"typeCheckingMode": "strict", "extraPaths": [str(ROOT)]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "basedpyright", "-p", str(folder), "--pythonpath", sys.executable]
    found = json.loads(run([*command, "--outputjson"], folder, allowed=(1,)))["generalDiagnostics"]
    made = {}
    for one in found:
        line = one["range"]["start"]["line"] + 1
        made.setdefault(Path(one["file"]).name, {})[line] = one["message"]
    return made


@pytest.mark.parametrize("checker", [by_mypy, by_pyright])
def test_a_program_is_clean_and_its_mistakes_are_found(checker, cache, tmp_path):
    found = checker(cache, tmp_path)
    marked = {n for n, line in enumerate((HERE / "mistakes.py").open(), 1) if "# wrong" in line}
    assert len(marked) > 15
    assert set(found.pop("mistakes.py")) == marked
    assert found == {}


def test_the_stub_and_the_engine_agree(tmp_path):
    need("mypy")
    command = [sys.executable, "-m", "mypy.stubtest", "rnnrt", "--concise", "--ignore-unused-allowlist"]
    command += ["--mypy-config-file", str(HERE / "mypy.ini"), "--allowlist", str(HERE / "stubtest.txt")]
    assert run(command, tmp_path) == ""
