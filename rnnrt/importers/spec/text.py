"""The text of a spec as lines taken apart; what the lines mean is in build.py."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import isfinite

from ...errors import ModelFileError, UnsupportedModelError
from ...format.reading import open_regular, path_text

MAX_LINES = 4096
#: "a = ..." and "a, b = ..."
_NAMED = re.compile(r"\s*([A-Za-z_]\w*(?:\s*,\s*[A-Za-z_]\w*)*)\s+=(?:\s+(.*))?")
_MOST_BYTES = 16 << 20


@dataclass(frozen=True)
class Line:
    """One line, taken apart: ``words`` stand without ``=``, ``options`` hold numbers, truth values, None or
    words; ``names``: what its results are called.
    """

    number: int
    prefix: str
    kind: str
    words: tuple[str, ...]
    options: dict
    names: tuple[str, ...] = ()

    @property
    def where(self):
        return f"spec, line {self.number}"

    def refuse(self, what, **details):
        return UnsupportedModelError(what, where=self.where, **details)


def text_of(spec) -> str | None:
    """A spec given as its text, as a path, or as the name of a file; None stays None, and what is neither
    goes to its reader, to be refused.

    A text of one line is the name of a file where there is such a file and the line is not one word, a kind.
    Raises ModelFileError where a path does not lead to a text of at most 16 MiB.
    """
    if not isinstance(spec, (str, os.PathLike)) or isinstance(spec, str) and not is_file(spec):
        return spec
    where = path_text(spec)
    try:
        with open_regular(spec) as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise ModelFileError(
                "the spec is too long", where=where, expected=f"at most {_MOST_BYTES:,} bytes"
            )
        return data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFileError(f"the spec cannot be read ({error})", where=where) from error


def is_file(text):
    """Whether a text without line ends names a file: one that is there, or one by its look."""
    if not text.strip() or text.lstrip()[0] in '{"' or "\n" in text or len(text) > 4096 or "\0" in text:
        return False
    looks = bool(re.search(r"[/\\]|\.(spec|txt|json)$", text))
    return looks and not re.search(r"[=:]\s|\s\w+=", text) or "." in text and os.path.isfile(text)


def parse(text: str) -> list[Line]:
    """The lines of a spec without comments and empty ones; UnsupportedModelError (naming the line) for what
    is not a spec.
    """
    if not isinstance(text, str):
        raise UnsupportedModelError("a spec is text", expected="str", found=type(text).__name__)
    lines = []
    for number, raw in enumerate(text.splitlines(), 1):
        named = _NAMED.fullmatch(raw.partition("#")[0])
        names = tuple(re.split(r"\s*,\s*", named[1])) if named else ()
        tokens = ((named[2] or "") if named else raw.partition("#")[0]).split()
        if not tokens and not names:
            continue
        if len(lines) >= MAX_LINES:
            raise UnsupportedModelError("the spec is too long", expected=f"at most {MAX_LINES} lines")
        if any(t == "?" or t.endswith("=?") for t in tokens):
            fix = "Replace it by what the network's code says."
            raise UnsupportedModelError(
                "the spec still has a '?'", where=f"spec, line {number}", found=raw.strip()[:120], fix=fix
            )
        prefix = tokens.pop(0)[:-1] if tokens and tokens[0].endswith(":") else ""
        if not tokens or "=" in tokens[0]:
            expected = "[name =] [prefix:] Kind [name ...] [option=value ...]"
            raise UnsupportedModelError(
                "the line names no operation",
                where=f"spec, line {number}",
                expected=expected,
                found=raw.strip()[:120],
            )
        options, words = {}, []
        for token in tokens[1:]:
            name, equals, value = token.partition("=")
            if not equals:
                words.append(token)
            elif not name or not value or name in options:
                what = "an option is malformed or occurs twice"
                raise UnsupportedModelError(
                    what, where=f"spec, line {number}", expected="option=value", found=token[:80]
                )
            else:
                options[name] = _value(value)
        lines.append(Line(number, prefix, tokens[0], tuple(words), options, names))
    return lines


def ignored_by(line: Line, names, what: str) -> dict[str, Line]:
    """{name: line} of the ``names`` that an ignore line matches; ModelFileError where a pattern matches none
    of them. ``what`` they are, for the message.
    """
    ignored = {}
    for pattern in line.words:
        matched = [n for n in names if fnmatchcase(n, pattern)]
        if not matched:
            raise ModelFileError(
                f"no {what} is called {pattern[:80]!r}",
                where=line.where,
                expected=", ".join([n[:80] for n in names][:20]),
                fix="Correct or remove the ignore line.",
            )
        ignored |= dict.fromkeys(matched, line)
    return ignored


def _value(text):
    known = {"True": True, "true": True, "False": False, "false": False, "None": None}
    if text in known:
        return known[text]
    if re.fullmatch(r"[-+]?\d{1,18}", text):
        return int(text)
    if re.fullmatch(r"[-+]?(\d{1,40}\.?\d{0,40}|\.\d{1,40})([eE][-+]?\d{1,4})?", text) and isfinite(
        float(text)
    ):
        return float(text)
    return text
