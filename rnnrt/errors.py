"""Every error rnnrt raises on purpose: one base, few kinds.

A message says what is wrong, where (file, tensor, layer), what was expected, what was found and what to do
about it; the parts are also attributes, so that a program need not read the sentence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType
    from typing import Any, Self


_MOST_SHOWN = 600  # characters of what was found: it may be as long as the file likes


def printable(text: str) -> str:
    """Text that a terminal only shows: line breaks and tabs stay, other characters that cannot be
    printed are escaped (\\x1b).
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape", "surrogatepass").decode()
        for c in text
    )


class RnnrtError(Exception):
    """Base of every error rnnrt raises on purpose.

    Attributes (each may be None): ``where``, ``expected``, ``found``, ``fix``. As text it is one that a
    terminal only shows: parts of it may come from a file.
    """

    what: str
    where: str | None
    expected: str | None
    found: str | None
    fix: str | None

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        expected: str | None = None,
        found: str | None = None,
        fix: str | None = None,
    ) -> None:
        if found is not None and len(found) > _MOST_SHOWN:
            found = f"{found[:_MOST_SHOWN]}..."
        self.what, self.where, self.expected, self.found, self.fix = what, where, expected, found, fix
        super().__init__(what, where, expected, found, fix)

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else str(self.what)
        if self.expected is not None:
            text += f"; expected {self.expected}"
        if self.found is not None:
            text += f"; found {self.found}"
        return printable(f"{text}. {self.fix}" if self.fix else text)

    def at(self, where: str) -> Self:
        """The same error with ``where`` put in front of its place: a reader adds its file to what a part of
        it raised.
        """
        self.where = f"{where}: {self.where}" if self.where else str(where)
        self.args = (self.what, self.where, self.expected, self.found, self.fix)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (
            type(self),
            self.what,
            self.where,
            self.expected,
            self.found,
            self.fix,
            self.__dict__,
        )


def _rebuild(kind, what, where, expected, found, fix, attributes):
    error = kind(what, where=where, expected=expected, found=found, fix=fix)
    error.__dict__.update(attributes)
    return error


class ModelFileError(RnnrtError):
    """A file is missing, damaged, of another kind, or says something impossible."""


class UnsupportedModelError(RnnrtError):
    """The file is sound, but holds something rnnrt does not run. ``draft`` holds a draft spec where one
    helps.
    """

    draft: str | None = None


class ShapeError(RnnrtError, ValueError):
    """An array or a layer has the wrong number of axes or the wrong size."""


class DTypeError(RnnrtError, TypeError):
    """An array holds a type of number that cannot be used here."""


class StateError(RnnrtError, ValueError):
    """A state does not belong to this model, or the call is not legal in the stream's present state."""


class StreamBusyError(RnnrtError, RuntimeError):
    """A stream was entered by a second thread while a call on it was still running."""


class NotStreamableError(RnnrtError):
    """The model needs its whole input before it can answer; the message names the layer and the reason."""


class ResourceLimitError(RnnrtError, MemoryError):
    """A file or a call asks for more memory than its limit allows."""


class VerificationError(RnnrtError):
    """A stored golden output, or a checksum, does not agree with what is there."""


class MissingExtraError(RnnrtError, ImportError):
    """An optional package is needed and not installed; the message holds the pip command."""


def did_you_mean(word: object, words: Iterable[object]) -> str | None:
    """ "Did you mean 'X'?" of the one of ``words`` that is most like ``word``, or None where none is like
    it.
    """
    from difflib import get_close_matches

    by_case = {str(w).lower(): str(w) for w in words}
    close = get_close_matches(str(word)[:100].lower(), by_case, n=1, cutoff=0.6)
    return f"Did you mean {by_case[close[0]]!r}?" if close else None


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import ``module`` (dotted name) or raise MissingExtraError naming the extra that brings it."""
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{purpose} needs the package {module.partition('.')[0]!r}, which is not installed here",
            fix=f"Install it with: pip install 'rnnrt[{extra}]'",
        ) from error
