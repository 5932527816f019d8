"""Who reads whom in a spec: a line reads the line before it, or the results whose names it gives."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass

from ...errors import did_you_mean
from .kinds import ALIASES, JOINS, NUMBERED, RNNS, WORDS_OF_LINES
from .text import Line

#: Words that say something of a line, and so cannot be the name of a result.
_RESERVED = {word for words in WORDS_OF_LINES.values() for word in words} | {"btf", "bft", "input"}


@dataclass(frozen=True)
class Result:
    """What a line makes: its number (0: the input that no line names), and which of its results."""

    line: int
    place: int = 0


@dataclass(frozen=True)
class Call:
    """A line with what it reads: Results, and in a join numbers and names of tensors (str). ``axes``: those
    that the line states its result to have in forward. ``makes``: how many results it has a name for.
    """

    line: Line
    kind: str
    reads: tuple[Result | float | str, ...]
    axes: str | None
    makes: int


def wired(lines, tensors) -> tuple[list[Call], list[tuple[str, Result]]]:
    """(the calls of a spec in its order, the outputs by name). ``lines``: without the first ``input``.

    Raises UnsupportedModelError for a name that is not there or means something else, for too many or too few
    inputs, and for a result that nothing reads.
    """
    scopes, calls, outputs, read = [_Scope()], [], [], set()
    made = {}
    for line in lines:
        kind, scope = ALIASES.get(line.kind, line.kind), scopes[-1]
        _check_names(line, kind)
        words, reads, axes = [], [], None
        for word in line.words:
            if word in scope.names and kind != "ignore":
                reads.append(scope.names[word])
            elif kind in JOINS and (number := _number(word)) is not None:
                reads.append(number)
            elif kind in JOINS and word in tensors:
                reads.append(word)
            elif word in ("btf", "bft") and kind != "ignore":
                axes = word
            else:
                words.append(word)
        if kind == "output":
            _check_words(line, kind, words, scope)
            if len(scopes) > 1 or not reads or outputs:
                raise line.refuse("output names the results that the network returns, once, at the end")
            outputs = [(word, scope.names[word]) for word in line.words]
            read |= {r.line for r in reads}
            continue
        if kind == "input" and not line.names:
            raise line.refuse("input may only be the first line", fix="Give a further one a name: b = input.")
        if outputs and kind != "ignore":
            raise line.refuse("output must be the last line")
        if kind == "ignore" or (kind == "input" and line.names):
            reads = []
        elif kind == "end" and len(scopes) > 1:
            reads = [scope.chain]
        elif not [r for r in reads if isinstance(r, Result)] or (kind in JOINS and len(reads) == 1):
            reads.insert(0, scope.chain)
        _check_words(line, kind, words, scope)
        _check_count(line, kind, reads)
        read |= {r.line for r in reads if isinstance(r, Result)}
        stripped = dataclasses.replace(line, words=tuple(words))
        calls.append(Call(stripped, kind, tuple(reads), axes, len(line.names)))
        if kind == "ignore":
            continue
        made[line.number] = line
        if kind == "per_frame":
            scopes.append(_Scope(chain=Result(line.number), inside=True))
            continue
        if kind == "end" and len(scopes) > 1:
            scopes.pop()
        scopes[-1].chain = Result(line.number)
        for place, name in enumerate(line.names):
            scopes[-1].names[name] = Result(line.number, place)
    last = scopes[-1].chain
    outputs = outputs or [("output", last)]
    read |= {result.line for _, result in outputs}
    for number, line in made.items():
        if number not in read and line.kind != "per_frame":
            raise line.refuse(
                "no line reads the result of this one",
                fix="Name it (a = ...) and give the name to the line that reads it, or take the line out.",
            )
    return calls, outputs


class _Scope:
    """Names of the results so far, and the result of the line before."""

    def __init__(self, chain=None, inside=False):
        self.chain = chain or Result(0)
        self.names = {} if inside else {"input": Result(0)}


def _check_names(line, kind):
    if "=" in line.prefix:
        raise line.refuse("a name stands before ' = ', with a space on either side", found=line.prefix[:80])
    if not line.names:
        return
    wrong = next((n for n in line.names if n in _RESERVED), None)
    if wrong or len(set(line.names)) < len(line.names):
        raise line.refuse(
            "a result cannot have this name", expected="names of your own", found=wrong or str(line.names)
        )
    if kind in ("ignore", "output", "per_frame"):
        raise line.refuse(f"{line.kind} has no result", found=", ".join(line.names))
    most = {"LSTM": 3, "LSTMCell": 1, "chunk": 64}.get(kind, 2 if kind in ("RNN", "GRU") else 1)
    if len(line.names) > most:
        raise line.refuse(
            f"{line.kind} has too few results", expected=f"at most {most}", found=", ".join(line.names)
        )


def _check_words(line, kind, words, scope):
    """Words must be numbers of a kind that takes them, or words of it."""
    known = WORDS_OF_LINES.get(kind, ())
    for word in words:
        if (
            word in known
            or (kind in NUMBERED and re.fullmatch(r"\d+(,\d+)?", word))
            or kind in ("ignore", "input")
        ):
            continue
        names = ", ".join(scope.names)
        expected = f"{line.kind} [{' | '.join(known)}]" if known else f"option=value, or one of: {names}"
        raise line.refuse(
            f"an option needs a value, and no line above has a result called {word[:60]!r}",
            expected=expected,
            found=" ".join(line.words)[:80],
            fix=did_you_mean(word, scope.names),
        )


def _check_count(line, kind, reads):
    results = [r for r in reads if isinstance(r, Result)]
    least, most = 1, 1
    if kind in JOINS:
        least, most = 2, 64 if kind in ("add", "mul", "cat") else 2
        if not results:
            raise line.refuse("a join needs the result of a line")
    elif kind in RNNS:
        most = 3 if kind == "LSTM" else 1 if kind.endswith("Cell") else 2
    elif kind == "repeat":
        most = 2
    elif kind in ("ignore", "input"):
        least = 0
    if not least <= len(reads) <= most:
        raise line.refuse(
            f"{line.kind} reads {'too few' if len(reads) < least else 'too many'} results",
            expected=f"{least}" if least == most else f"{least} to {most}",
            found=str(len(reads)),
        )


def _number(word):
    try:
        return float(word) if word[:1] in "+-.0123456789" and len(word) < 40 else None
    except ValueError:
        return None


def input_width(name, calls, widths) -> tuple[int | None, bool] | None:
    """(features, ids) of an input, by the first line with tensors that reads it, through lines that keep what
    a frame is; None where no line tells. ``name``: its Result; ``widths``: {line number: (features, ids)} of
    the lines with tensors.
    """
    same = {name}
    for call in calls:
        if not any(r in same for r in call.reads if isinstance(r, Result)):
            continue
        number = call.line.number
        if number in widths:
            if call.reads[0] in same:
                return widths[number]
        elif call.kind in ("flatten", "per_frame", "end", "unsqueeze", "frames"):
            return None
        elif call.kind not in ("cat", "chunk", "narrow", "GLU"):
            same |= {Result(number, place) for place in range(max(1, call.makes))}
    return None
