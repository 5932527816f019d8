"""Every block of code on every page runs, and prints what stands below it."""

import contextlib
import importlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import page_blocks
import pytest
from needs import absent, need

import rnnrt


def page_id(page):
    return page.relative_to(page_blocks.ROOT).as_posix()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The empty folder that a page runs in, with this Python's programs on the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CLONE", str(page_blocks.ROOT))
    monkeypatch.setenv(
        "SPEED", "0.2"
    )  # of the clients of a live service: no test leans on how fast the machine is
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    return tmp_path


@pytest.mark.parametrize("page", page_blocks.PAGES, ids=page_id)
def test_the_blocks_of_a_page_run(page, place):
    walk(page, place)


def walk(page, place):
    """Run the blocks of a page; those that lack something are named at the end."""
    names, left = {"__name__": "page"}, {}
    for block in page_blocks.blocks(page):
        where = f"{page.name}:{block.line}"
        if "given" in block.words:
            page_blocks.give(block.words["given"], place)
        lacking = next((n for n in block.words["needs"].split() if not there(n)), None)
        if lacking:
            left.setdefault(lacking, []).append(str(block.line))
        elif "from" in block.words:
            assert page_blocks.is_quoted(block), f"{where}: this is not in {block.words['from']}"
        elif "run by" in block.words:
            assert page_blocks.is_run(block), f"{where}: {block.words['run by']} does not run these lines"
        elif "file" in block.words:
            Path(block.words["file"]).write_text(block.text)
        elif block.language in page_blocks.RUN:
            said = run(block, where, names)
            if block.output is not None or block.language == "console":
                assert page_blocks.agrees(block.output or "", said), f"{where} printed:\n{said}"
    if left:
        lines = "; ".join(f"{name}: lines {', '.join(where)}" for name, where in left.items())
        absent(f"blocks of {page.name} that need what is not installed: {lines}")


def there(name):
    """Whether a module can be imported, or a program or a published network found."""
    kind, _, name = name.rpartition(":")
    if kind == "program":
        return shutil.which(name) is not None
    if kind == "model":
        from fetch_models import folder

        path = folder() / name
        if path.is_file() and not Path(name).exists():
            Path(name).symlink_to(path)
        return path.is_file()
    if name == "torch" and importlib.util.find_spec(name):
        need(name)
    return importlib.util.find_spec(name) is not None


def run(block, where, names):
    """What the block prints."""
    if block.language == "console":
        shell = ["bash", "-euo", "pipefail", "-c", block.text]
        done = subprocess.run(shell, capture_output=True, text=True, timeout=300, check=False)
        expected = re.search(r"# exit code (\d+)", block.text)
        assert done.returncode == int(expected[1] if expected else 0), f"{where}\n{done.stdout}{done.stderr}"
        return done.stdout + (done.stderr if expected else "")
    heard = io.StringIO()
    # the lines of a block have the numbers that they have on the page
    code = compile("\n" * block.line + block.text, where, "exec")
    error = getattr(rnnrt, block.words["raises"]) if "raises" in block.words else None
    with contextlib.redirect_stdout(heard):
        if error is None:
            exec(code, names)  # noqa: S102 (our own text)
        else:
            with pytest.raises(error) as caught:
                exec(code, names)  # noqa: S102
            print(caught.value)
    return heard.getvalue()


NOTEBOOKS = sorted(p for p in (page_blocks.ROOT / "docs").rglob("*.ipynb") if "_build" not in p.parts)


@pytest.mark.parametrize("page", NOTEBOOKS, ids=page_id)
def test_the_cells_of_a_notebook_run(page, place):
    """In order, as a notebook runs them but without its kernel: that is Sphinx's to start."""
    for name in ("h5py", "matplotlib"):
        need(name)
    import matplotlib

    matplotlib.use("agg")
    names, heard = {"__name__": "__main__"}, io.StringIO()
    cells = [c for c in json.loads(page.read_text())["cells"] if c["cell_type"] == "code"]
    for cell in cells:
        assert not cell["outputs"] and cell["execution_count"] is None, f"{cell['id']}: clear the outputs"
        with contextlib.redirect_stdout(heard):
            exec(compile("".join(cell["source"]), f"{page.name}:{cell['id']}", "exec"), names)  # noqa: S102
    said = heard.getvalue().splitlines()
    assert cells and said and not [line for line in said if "False" in line], said


# ---- what the tests above would find -----------------------------------------------------------------------


def written(place, text):
    page = place / "page.md"
    page.write_text(text)
    return page


@pytest.mark.parametrize(
    "text",
    [
        "```c\nint x;\n```\n",
        "```\nx = 1\n```\n",
        "```sh\nrm x\n```\n",
        "```python\nx = 1\n",
        "```output\n1\n```\n",
    ],
)
def test_a_block_that_nobody_runs_is_found(text, place):
    with pytest.raises(ValueError, match="page.md"):
        walk(written(place, text), place)


@pytest.mark.parametrize(
    "text",
    [
        "```python\nassert 1 + 1 == 3\n```\n",
        "```python\nprint(1)\n```\n\n```output\n2\n```\n",
        "```console\n$ echo 1\n2\n```\n",
        "<!-- from: examples/c/vad.c -->\n```c\nint x;\n```\n",
        "<!-- run by: .ci/run -->\n```sh\nrm --all things\n```\n",
    ],
)
def test_a_block_that_is_wrong_is_found(text, place):
    with pytest.raises(AssertionError):
        walk(written(place, text), place)


def test_a_block_that_lacks_something_is_named(place, monkeypatch):
    text = "<!-- needs: numpy -->\n<!-- needs: no_such_module -->\n```python\nraise ValueError\n```\n"
    monkeypatch.delenv("RNNRT_CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no_such_module: lines 3"):
        walk(written(place, text), place)
    monkeypatch.setenv("RNNRT_CI", "1")
    with pytest.raises(pytest.fail.Exception, match="no_such_module"):
        walk(written(place, text), place)


def test_any_text_stands_for_three_dots():
    assert page_blocks.agrees("a ... c\n1.0\n", "a b c\n1.0\n\n")
    assert not page_blocks.agrees("a b\n", "a c\n") and not page_blocks.agrees("", "a")


# ---- how the pages hang together ---------------------------------------------------------------------------


def test_every_page_is_in_the_tree_of_contents():
    """Sphinx says so too, but is not everywhere that tests run."""
    docs = page_blocks.ROOT / "docs"
    named = set()
    for page in docs.rglob("*.md"):
        for tree in re.findall(r"^```{toctree}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
            lines = [line.strip() for line in tree.splitlines() if line.strip() and not line.startswith(":")]
            named |= {(page.parent / re.sub(r"^.*<(.*)>$", r"\1", line)).resolve() for line in lines}
    pages = [*docs.rglob("*.md"), *docs.rglob("*.ipynb")]
    written = {p.with_suffix("").resolve() for p in pages if "_build" not in p.parts}
    assert written - named == {(docs / "index").resolve()}


def test_links_between_pages_lead_somewhere():
    for page in page_blocks.PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            if not re.match(r"https?:|mailto:", target):
                assert (page.parent / target).exists(), f"{page_id(page)}: {target}"


def test_the_figures_at_the_top_of_the_readme_are_those_of_the_table():
    readme = (page_blocks.ROOT / "README.md").read_text()
    said = re.search(r"LSTM of 20 units takes \*\*([\d.]+) µs\*\*, (\d+) times", readme).groups()
    row = r"^\| LSTM 20, one step \|[^|]*\| ([\d.]+) \|.*\| ([\d.]+) \|$"
    table = (page_blocks.ROOT / "docs" / "performance.md").read_text()
    took, times = re.search(row, table, re.MULTILINE).groups()
    assert (f"{float(took):.2f}", f"{float(times):.0f}") == said


def test_every_public_name_is_in_the_reference():
    pages = [p.read_text() for p in (page_blocks.ROOT / "docs" / "reference").glob("*.md")]
    named = set(re.findall(r"auto(?:class|function|module):: rnnrt\.([\w.]+)", "\n".join(pages)))
    for name in rnnrt.__all__:
        held = getattr(rnnrt, name)
        error = isinstance(held, type) and issubclass(held, rnnrt.RnnrtError)
        assert name in named or (error and "errors" in named), name
    for part in ("layers", "frontends"):
        missing = {n for n in getattr(rnnrt, part).__all__ if f"{part}.{n}" not in named and n not in named}
        assert missing <= {"FUNCTIONS"}, part
