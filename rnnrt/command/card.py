"""``rnnrt info --card``: a model card in Markdown, as the Hugging Face Hub shows it; its figures are measured
when it is written.
"""

from __future__ import annotations

import warnings
from pathlib import Path

from .. import __version__, verification
from ..errors import printable
from ..format.reading import IN_FOLDER


def card(path, model, data):
    """The lines of a card of the ``model`` in ``path``, of which ``info`` found ``data``. Raises
    VerificationError where the model does not give the answers it came with.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # who answered stands in the card
        error = model.verify()
    answerer = verification.answered_by(model.golden_by, model.graph)
    compared = answerer != verification.NOT_COMPARED
    if compared:
        figure = f"Within {error:.1e} of the answers of {answerer}, relative to the largest of them"
        figure += " where that is above 1"
    else:
        figure = f"{answerer}. The engine computes what was read, within {error:.1e} of a float64 reference"
    title, name = Path(path).stem, Path(path).name
    if Path(path).is_dir():
        title, name = Path(path).absolute().name, IN_FOLDER
    own = name if name.endswith(".rnnrt") else f"{Path(name).stem}.rnnrt"
    lines = [
        "---",
        "library_name: rnnrt",
        "tags:",
        "- rnnrt",
        *(f"- {kind}" for kind in _kinds(data)),
        "---",
        "",
    ]
    lines += [f"# {_cell(title)}", ""]
    size = f"{data['parameters']:,} parameters, {data['nbytes'] / 1024:,.0f} KiB of weights in memory"
    lines += [f"{len(data['layers'])} layers, {size}.", ""]
    lines += ["## Inputs and outputs", "", *_table(("", "name", "shape"), _ports(data)), ""]
    rows = [(x["name"], x["kind"], x["output"], f"{x['parameters']:,}") for x in data["layers"]]
    lines += ["## Layers", "", *_table(("layer", "kind", "output", "parameters"), rows), ""]
    lines += ["## Accuracy", "", f"{_cell(figure)}, measured by `rnnrt verify` of rnnrt {__version__}.", ""]
    lines += ["## Streaming", "", _streaming(data), ""]
    if data["assumptions"]:
        lines += ["## Assumptions", "", *(f"- {_cell(text)}" for text in data["assumptions"]), ""]
    lines += ["## Use", ""]
    if own != name:
        lines += ["```sh", f"rnnrt convert {name} -o {own}", "```", ""]
    lines += ["```python", "import rnnrt", "", f'model = rnnrt.load("{own}")', "```"]
    return lines, {"max_error": error, "compared": compared}


def _kinds(data):
    """The words of a card's tags: the kinds of layers that have weights."""
    return sorted({x["kind"].replace("_", "-") for x in data["layers"] if x["parameters"]})


def _ports(data):
    for word in ("input", "output"):
        for x in data[f"{word}s"]:
            yield word, x["name"], x["shape"] + (", ids" if x.get("ids") else "")


def _streaming(data):
    if not data["streamable"]:
        return _cell(f"It does not stream: {data['not_streamable']}")
    behind = data["delay"]
    late = f", {behind} frames behind" if behind else ", without delay"
    return f"It streams frame by frame{late}."


def _table(header, rows):
    yield f"| {' | '.join(header)} |"
    yield f"|{'|'.join('---' for _ in header)}|"
    for row in rows:
        yield f"| {' | '.join(_cell(text) for text in row)} |"


def _cell(text):
    """Text that stands in one place of a table: what a file says may hold anything."""
    text = " ".join(printable(str(text)).split())
    for mark in "\\|`*_<>[]":
        text = text.replace(mark, f"\\{mark}")
    return text
