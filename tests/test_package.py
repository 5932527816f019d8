"""What a stranger meets: the names, the files of the package, what importing it costs, and who in the source
may know whom.
"""

import ast
import fnmatch
import graphlib
import importlib.metadata
import inspect
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from needs import absent, need

import rnnrt
from rnnrt import _engine

ROOT = Path(__file__).resolve().parent.parent
PACKAGE, SOURCE = ROOT / "rnnrt", ROOT / "src"
SOURCES = sorted(SOURCE.rglob("*.[ch]"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

NAMES = {
    rnnrt: "from_keras from_torch from_onnx from_tflite from_pt2 from_torchscript from_nam from_rtneural "
    "from_numpy from_graph load convert by_path show_config get_include get_library layers textbook "
    "frontends plot Model Stream State Graph",
    rnnrt.frontends: "Frames STFT InverseSTFT MelSpectrogram MFCC PreEmphasis Log mel_filters window",
    rnnrt.plot: "gates receptive_field",
    rnnrt.textbook: "rnn_cell_forward rnn_forward lstm_cell_forward lstm_forward",
    rnnrt.Model: "__call__ run stream step_many profile trace save summary inputs outputs clocks nbytes "
    "delay receptive_field streamable verify with_options",
    rnnrt.Stream: "step push flush max_outputs reset state clone position delay",
    rnnrt.State: "arrays to_bytes from_bytes",
    rnnrt.layers: "GRU LSTM SimpleRNN Conv1D Dense Embedding GraphBuilder Graph Output",
}
ERRORS = {
    "ModelFileError": Exception,
    "UnsupportedModelError": Exception,
    "ShapeError": ValueError,
    "DTypeError": TypeError,
    "StateError": Exception,
    "StreamBusyError": Exception,
    "NotStreamableError": Exception,
    "ResourceLimitError": Exception,
    "VerificationError": Exception,
    "MissingExtraError": ImportError,
}


# ---- names -------------------------------------------------------------------------------------------------


def test_the_version_is_that_of_the_installed_package():
    assert rnnrt.__version__ == PROJECT["project"]["version"]
    try:
        assert rnnrt.__version__ == importlib.metadata.version("rnnrt")
    except importlib.metadata.PackageNotFoundError:
        absent("rnnrt is built in its folder, but not installed")


@pytest.mark.parametrize("owner", NAMES, ids=lambda o: o.__name__)
def test_a_promised_name_is_there_and_says_what_it_is(owner):
    for name in NAMES[owner].split():
        assert (getattr(owner, name).__doc__ or "").strip(), f"{owner.__name__}.{name}"


def test_a_model_shows_what_it_promises_and_no_more():
    more = "assumptions fingerprint golden_by graph isa metadata provenance push_many"
    b = rnnrt.layers.GraphBuilder()
    b.output("y", b.input("x", (1,)))
    shown = {name for name in dir(rnnrt.from_graph(b.graph())) if not name.startswith("_")}
    assert shown == {*NAMES[rnnrt.Model].split(), *more.split()} - {"__call__"}


def test_the_public_list_is_complete():
    assert sorted(rnnrt.__all__) == sorted(NAMES[rnnrt].split() + ["RnnrtError", *ERRORS])
    for name in rnnrt.layers.__all__:
        assert getattr(rnnrt.layers, name).__doc__, name


def test_every_error_is_an_rnnrt_error_and_what_python_calls_it():
    for name, base in ERRORS.items():
        assert issubclass(getattr(rnnrt, name), (rnnrt.RnnrtError, base)) and issubclass(
            getattr(rnnrt, name), base
        ), name


# ---- the stub of the border --------------------------------------------------------------------------------


def _documented(body, owner):
    """(where, object, node) of every name a stub declares, a property once."""
    seen = set()
    for node in body:
        if (
            isinstance(node, (ast.FunctionDef, ast.ClassDef))
            and node.name != "__new__"
            and node.name not in seen
        ):
            seen.add(node.name)
            held = getattr(owner, node.name)
            yield f"{owner.__name__}.{node.name}", held, node
            if isinstance(node, ast.ClassDef):
                yield from _documented(node.body, held)


def test_the_stub_says_what_the_engine_says():
    stub = ast.parse((PACKAGE / "_engine.pyi").read_text())
    for where, held, node in _documented(stub.body, _engine):
        text = ast.get_docstring(node)
        one_line = lambda doc: " ".join(doc.split())
        assert text is None or one_line(inspect.getdoc(held)).startswith(one_line(text)), where
        if callable(held) and isinstance(node, ast.FunctionDef):
            named = [a.arg for a in node.args.args if a.arg != "cls"]
            assert named == list(inspect.signature(held).parameters), where
    (stream,) = (node for node in stub.body if isinstance(node, ast.ClassDef) and node.name == "Stream")
    assert set(NAMES[rnnrt.Stream].split()) <= {
        node.name for node in stream.body if isinstance(node, ast.FunctionDef)
    }


# ---- files -------------------------------------------------------------------------------------------------


def test_every_folder_of_the_package_is_installed_with_every_file():
    packages = PROJECT["tool"]["setuptools"]["packages"]
    folders = [p.parent for p in PACKAGE.rglob("__init__.py")]
    assert sorted(packages) == sorted(".".join(f.relative_to(ROOT).parts) for f in folders)
    compiled = {".py", ".pyx", ".pxd", ".pxi", ".c", ".h", ".a", ".so", ".pyd"}
    others = [
        p
        for p in PACKAGE.rglob("*")
        if p.is_file() and p.suffix not in compiled and "__pycache__" not in p.parts
    ]
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["rnnrt"]
    left_out = [
        p.name
        for p in others
        if not any(fnmatch.fnmatch(p.relative_to(PACKAGE).as_posix(), pattern) for pattern in patterns)
    ]
    assert len(others) > 5 and not left_out
    installed = Path(rnnrt.__file__).parent
    assert (
        (installed / "py.typed").is_file()
        and (installed / "_engine.pyi").is_file()
        and (installed / "demo" / "golden.npz").is_file()
    )


def test_every_part_of_the_border_is_a_part_of_the_one_module():
    """A file that nothing includes would be shipped and never compiled."""
    border = (PACKAGE / "_engine.pyx").read_text()
    parts = re.findall(r'^include "(.*)"$', border, re.MULTILINE)
    assert sorted(parts) == sorted(p.relative_to(PACKAGE).as_posix() for p in PACKAGE.rglob("*.pxi"))
    assert len(parts) > 5 and [p.name for p in PACKAGE.rglob("*.pyx")] == ["_engine.pyx"]
    build = (ROOT / "MANIFEST.in").read_text()
    assert "recursive-include rnnrt *.pyx *.pxd *.pxi" in build.splitlines()


def test_the_border_keeps_the_width_that_ruff_holds_the_rest_to():
    """ruff reads no Cython."""
    width = PROJECT["tool"]["ruff"]["line-length"]
    files = [p for p in PACKAGE.rglob("*") if p.suffix in (".pyx", ".pxd", ".pxi")]
    assert len(files) > 5
    lines = [(p.name, k, line) for p in files for k, line in enumerate(p.read_text().splitlines(), 1)]
    assert [f"{name}:{k}" for name, k, line in lines if len(line) > width] == []


def test_nothing_is_built_for_this_machine_alone_or_with_loose_arithmetic():
    build = "".join((ROOT / name).read_text() for name in ("setup.py", "pyproject.toml", "Makefile"))
    assert not re.findall(
        r"-march=|-mtune=|-ffast-math|-Ofast|-funsafe-math\S*|-ffp-contract=(?:fast|on)", build
    )
    assert "-ffp-contract=off" in build
    assert len(SOURCES) > 20
    assert not [
        p.name
        for p in SOURCES
        if re.search(r"#\s*pragma.*(optimize|FP_CONTRACT ON)|__attribute__\s*\(\(optimize", p.read_text())
    ]


# ---- what importing costs ----------------------------------------------------------------------------------

EXTRAS = (
    "h5py",
    "scipy",
    "torch",
    "keras",
    "tensorflow",
    "onnx",
    "onnxruntime",
    "rich",
    "matplotlib",
    "jinja2",
    "pyarrow",
    "pandas",
    "sklearn",
    "mlflow",
)


def in_a_new_process(code, folder):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {
        "PYTHONPATH": str(Path(rnnrt.__file__).parent.parent)
    }
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_sources_that_are_not_built_say_so(tmp_path):
    for path in (ROOT / "rnnrt").rglob("*.py"):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    # An editable install has a finder of its own, which would give its engine to these sources too.
    no_finder = (
        "sys.meta_path[:] = [finder for finder in sys.meta_path if 'editable' not in finder.__module__]"
    )
    code = f"import sys; {no_finder}; import rnnrt"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode and "engine is not built" in done.stderr and "pip install" in done.stderr


def test_importing_loads_no_extra(tmp_path):
    code = f"import sys, rnnrt, rnnrt.command.main; print(*set({EXTRAS}) & set(sys.modules))"
    assert in_a_new_process(code, tmp_path) == []


def test_models_are_read_and_run_where_no_framework_can_be_imported(tmp_path):
    need("h5py")
    code = (
        f"import sys\nfor name in set({EXTRAS}) - {{'h5py'}}: sys.modules[name] = None\n"
        "from rnnrt.command import demo\nfor name in demo.NETWORKS: demo.load(name)(demo.series()[:50, "
        "None])\nprint('answered')"
    )
    assert in_a_new_process(code, tmp_path) == ["answered"]


# ---- who may know whom -------------------------------------------------------------------------------------

#: From the bottom up: a module imports what stands in its own row or below.
ROWS = (
    ("annotations",),
    ("errors",),
    ("c_library",),
    ("layers", "graph", "textbook", "frontends", "axes", "state_form"),
    ("reference", "passes", "format", "timing", "tables", "pages", "summary"),
    ("verification",),
    ("importers",),
    ("golden", "lowering", "lowered", "masks", "ports", "ragged", "state", "_engine"),
    ("many", "plans", "model_states", "calls", "streaming", "core_limits"),
    ("model", "loading", "value", "profiling", "profile_page", "drawing", "tracing", "plot"),
    ("scoring",),
    ("clusters", "estimator", "pyfunc"),
    ("__init__",),
    ("command",),
    ("__main__",),
)
RANK = {name: number for number, row in enumerate(ROWS) for name in row}


def imported(path):
    """Modules of rnnrt that a file imports, by their first word below rnnrt; "__init__" for the package's own
    names.
    """
    depth = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and [n.name for n in node.names] == ["__version__"]:
            continue  # a word, not knowledge
        if isinstance(node, ast.Import):
            yield from (
                "__init__" if n.name == "rnnrt" else n.name.split(".")[1]
                for n in node.names
                if n.name.split(".")[0] == "rnnrt"
            )
        elif isinstance(node, ast.ImportFrom):
            words = (node.module or "").split(".") if node.module else []
            if node.level == 0 and words[:1] == ["rnnrt"]:
                words = words[1:]
            elif node.level != depth:
                continue  # another package, or within its own
            yield from words[:1] or (n.name if n.name in RANK else "__init__" for n in node.names)


def test_every_module_has_its_row():
    assert {p.stem for p in PACKAGE.glob("*.py")} <= set(RANK)
    assert {p.parent.name for p in PACKAGE.glob("*/__init__.py")} <= set(RANK)


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.relative_to(PACKAGE).as_posix()
)
def test_a_module_imports_only_what_stands_below_it(path):
    parts = path.relative_to(PACKAGE).parts
    own = parts[0] if len(parts) > 1 else path.stem
    if own == "annotations":
        return  # it names the types of every row and is imported by none when a program runs
    above = [name for name in imported(path) if RANK[name] > RANK[own]]
    assert not above
    if own in ("layers", "graph"):
        assert set(imported(path)) <= {"annotations", "errors", "layers", "graph"}


def test_no_folder_of_the_package_holds_a_circle():
    """Modules of one folder that import one another in a circle are one module in disguise."""
    for folder in {p.parent for p in PACKAGE.rglob("__init__.py")} - {PACKAGE}:
        names, knows = {p.stem for p in folder.glob("*.py")} - {"__init__"}, {}
        for name in names:
            nodes = ast.walk(ast.parse((folder / f"{name}.py").read_text()))
            near = [n for n in nodes if isinstance(n, ast.ImportFrom) and n.level == 1]
            words = {n.module.partition(".")[0] for n in near if n.module}
            knows[name] = names & (words | {a.name for n in near if not n.module for a in n.names})
        tuple(graphlib.TopologicalSorter(knows).static_order())  # CycleError names the circle


#: folder of src/ -> the folders it may include from ("" is src/ itself)
MAY_INCLUDE = {
    "simd": {"simd"},
    "kernels": {"simd", "kernels", "matrix.h", "rnnrt.h"},
    "layers": {"layers", "plan.h"},
    "": {
        "layers",
        "plan.h",
        "arena.h",
        "share.h",
        "team.h",
        "float_mode.h",
        "memory.h",
        "kernels",
        "rnnrt.h",
    },
}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(SOURCE).as_posix())
def test_a_source_file_includes_only_what_stands_below_it(path):
    text = path.read_text()
    assert "Python.h" not in text and "numpy" not in text.lower()
    folder = "" if path.parent == SOURCE else path.parent.name
    for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', text, re.MULTILINE):
        target = (path.parent / name).resolve().relative_to(SOURCE)
        assert target.parts[0] in MAY_INCLUDE[folder], f"includes {target}"


@pytest.mark.parametrize("path", [p for p in SOURCES if p.parent.name == "layers"], ids=lambda p: p.name)
def test_a_layer_says_what_and_never_how(path):
    text = path.read_text()
    guards = re.findall(r"^#ifndef RNNRT_\w+_H$", text, re.MULTILINE)
    assert len(re.findall(r"^\s*#\s*(if|ifdef|ifndef|elif|pragma)\b", text, re.MULTILINE)) == len(guards) <= 1
    assert not re.search(
        r"\b(_mm\w*|__m\d+\w*|__builtin_\w+|__attribute__|vf_\w+|float32x4_t|asm)\b|intrin\.h", text
    )


# ---- the README --------------------------------------------------------------------------------------------


def test_the_readme_gives_two_commands_on_one_line_each():
    for end in ("rnnrt demo", "pytest tests"):
        assert (
            len(re.findall(rf"^python3 -m venv .*{end}$", (ROOT / "README.md").read_text(), re.MULTILINE))
            == 1
        )
