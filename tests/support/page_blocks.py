"""What the pages of the documentation hold: their blocks of code, and how each is run.

A block of Python runs in the namespace of its page, a ``console`` block in a shell, both in one folder that
is empty at the page's beginning. A block of ``output`` behind either is what it printed; ``...`` in it stands
for anything. HTML comments in front of a block say more about it:

    <!-- needs: torch -->            it runs where this can be imported (or, as program:cc, model:NAME, found)
    <!-- every block needs: h5py --> the same, for all blocks below it
    <!-- file: NAME -->              it is written to that file of the folder
    <!-- given: NAME from ARCHIVE: MEMBER -->   the reader has such a file or folder by that name
    <!-- raises: ShapeError -->      the block ends in this error, whose text is its output
    <!-- from: PATH -->              its lines stand in that file of the checkout, which another test runs
    <!-- run by: PATH -->            that file of the checkout runs its lines: it holds the words of each
"""

from __future__ import annotations

import dataclasses
import re
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
#: Every page that is written by hand.
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted(p for p in (ROOT / "docs").rglob("*.md") if p.name != "coverage.md" and "_build" not in p.parts),
]
#: What a block is by its language. ``text`` is for drawings and formulas; those of Sphinx draw and link.
RUN, SHOWN, WRITTEN = ("python", "console"), ("output",), ("spec", "json", "csv", "python", "text", "c")
QUOTED = ("c", "cpp", "cmake", "sh", "python", "text")
FREE = ("text", "{toctree}", "{include}", "{eval-rst}")

_BLOCK = re.compile(
    r"(?P<comments>(?:^<!-- [^\n]*? -->\n+)*)"
    r"^(?P<fence>`{3,})(?P<language>\S*)[^\n]*\n(?P<text>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)
_COMMENT = re.compile(r"<!-- (needs|given|file|raises|from|run by): (.*?) -->")
_EVERY = re.compile(r"<!-- every block needs: (.*?) -->")


@dataclasses.dataclass
class Block:
    """``words``: what its comment says; ``output``: what it has to print, None where nothing is said."""

    language: str
    text: str
    line: int
    words: dict[str, str]
    output: str | None = None


def blocks(page: Path) -> list[Block]:
    """The blocks of a page in order. ValueError for one of which nobody says how it is run."""
    text, found = page.read_text(), []
    fences = len(re.findall(r"^```", text, re.MULTILINE))
    for match in _BLOCK.finditer(text):
        fences -= 2
        line = text.count("\n", 0, match.start("fence")) + 1
        said = _COMMENT.findall(match["comments"])
        words = dict(said)
        every = _EVERY.findall(text[: match.start("fence")])
        words["needs"] = " ".join([*every, *(what for word, what in said if word == "needs")])
        block = Block(match["language"], match["text"], line, words)
        if block.language in SHOWN:
            if not found or found[-1].language not in RUN or found[-1].output is not None:
                raise ValueError(f"{page.name}:{line}: this output belongs to no block")
            found[-1].output = block.text
            continue
        if not understood(block):
            raise ValueError(
                f"{page.name}:{line}: nobody runs this block of {block.language or 'no language'}"
            )
        if block.language == "console":
            for command, shown in commands(block.text):
                found.append(Block("console", command, line, words, shown))
            continue
        found.append(block)
    if fences:
        raise ValueError(f"{page.name}: {abs(fences)} lines of ``` are in no block that is read")
    return found


def understood(block: Block) -> bool:
    if "from" in block.words or "run by" in block.words:
        return block.language in QUOTED
    if "file" in block.words:
        return block.language in WRITTEN
    return block.language in RUN or block.language in FREE


def commands(text: str) -> list[tuple[str, str]]:
    """(command, what it prints) of every line that begins with "$ "; a \\ at its end goes on."""
    made = []
    for line in text.splitlines(keepends=True):
        if line.startswith("$ "):
            made.append((line[2:], ""))
        elif made and not made[-1][1] and made[-1][0].endswith("\\\n"):
            made[-1] = (made[-1][0] + line, "")
        elif made:
            made[-1] = (made[-1][0], made[-1][1] + line)
        else:
            raise ValueError(f"not a command: {line!r}")
    return made


def is_run(block: Block) -> bool:
    """Whether the file that the block names holds of each of its lines the last two words, without folders,
    or the first option, as a word of its own.
    """
    text = (ROOT / block.words["run by"]).read_text()
    for line in block.text.splitlines():
        words = line.split()
        end, option = (
            " ".join(Path(w).name for w in words[-2:]),
            next((w for w in words if w[0] == "-"), None),
        )
        if end not in text and (option is None or f'"{option}"' not in text):
            return False
    return True


def give(said: str, folder: Path) -> None:
    """Write the file that is given, or the files of the folder."""
    name, archive, member = re.fullmatch(r"(\S+) from (\S+): (\S+)", said).groups()
    written = 0
    with tarfile.open(ROOT / archive) as opened:
        for entry in opened:
            if entry.isfile() and f"{entry.name}/".startswith(f"{member}/"):
                path = folder / f"{name}{entry.name.removeprefix(member)}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(opened.extractfile(entry).read())
                written += 1
    if not written:
        raise ValueError(f"there is nothing in {archive} at {member}")


def agrees(expected: str, found: str) -> bool:
    """Whether ``found`` is ``expected``, in which ... stands for any text; spaces at ends of lines and how
    many there are do not count.
    """
    parts = [re.escape(" ".join(part.split())) for part in expected.split("...")]
    parts = [part.replace("\\ ", r"\s+") for part in parts]
    return re.fullmatch(r"\s*" + r".*?".join(parts) + r"\s*", " ".join(found.split()), re.DOTALL) is not None


def is_quoted(block: Block) -> bool:
    """Whether what the block holds stands in the file that it names, however it is laid out."""
    return "".join(block.text.split()) in "".join((ROOT / block.words["from"]).read_text().split())
