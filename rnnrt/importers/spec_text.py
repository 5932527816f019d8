"""The text of a spec as lines taken apart; what the lines mean is spec.py's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite

from ..errors import UnsupportedModelError

MAX_LINES = 4096


@dataclass(frozen=True)
class Line:
    """One line, taken apart: ``words`` stand without ``=``, ``options`` hold numbers, truth values, None or words."""

    number: int
    prefix: str
    kind: str
    words: tuple[str, ...]
    options: dict

    @property
    def where(self):
        return f"spec, line {self.number}"

    def refuse(self, what, **details):
        return UnsupportedModelError(what, where=self.where, **details)


def parse(text: str) -> list[Line]:
    """The lines of a spec without comments and empty ones; UnsupportedModelError (naming the line) for what is no spec."""
    if not isinstance(text, str):
        raise UnsupportedModelError("a spec is text", expected="str", found=type(text).__name__)
    lines = []
    for number, raw in enumerate(text.splitlines(), 1):
        tokens = raw.partition("#")[0].split()
        if not tokens:
            continue
        if len(lines) >= MAX_LINES:
            raise UnsupportedModelError("the spec is too long", expected=f"at most {MAX_LINES} lines")
        if any(t == "?" or t.endswith("=?") for t in tokens):
            fix = "Replace it by what the network's code says."
            raise UnsupportedModelError(
                "the spec still has a '?'", where=f"spec, line {number}", found=raw.strip()[:120], fix=fix
            )
        prefix = tokens.pop(0)[:-1] if tokens[0].endswith(":") else ""
        if not tokens or "=" in tokens[0]:
            expected = "[prefix:] Kind [option=value ...]"
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
        lines.append(Line(number, prefix, tokens[0], tuple(words), options))
    return lines


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
