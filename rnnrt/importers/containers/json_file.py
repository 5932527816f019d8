"""Networks written as JSON: the file within limits, and its objects field by field, each taken once with its
type checked. A field that nobody takes is refused by name.
"""

from __future__ import annotations

import math

import numpy as np

from ...errors import ModelFileError, ResourceLimitError, UnsupportedModelError, printable
from ...format import strict_json
from ...format.reading import path_text, read_whole

#: Python needs about a second and 100 MB for so many numbers as text; captures hold some ten thousand.
MAX_VALUES = 1 << 21
MAX_BYTES = 64 << 20
#: The metadata of a network goes into its .rnnrt file some levels deeper than it stood in its source.
MAX_DEPTH = strict_json.MAX_DEPTH - 8


def read_json(source, max_bytes) -> Fields:
    """The one object of a file; ModelFileError where it holds anything else, ResourceLimitError beyond the
    limits.
    """
    where = printable(path_text(source))
    data = read_whole(source, min(max_bytes, MAX_BYTES)).removeprefix(b"\xef\xbb\xbf")
    values = data.count(b",")
    if values > MAX_VALUES:
        raise ResourceLimitError(
            "holds more numbers than a network in JSON may have",
            where=where,
            expected=f"at most {MAX_VALUES:,}",
            found=f"{values:,}",
            fix="Import the PyTorch or Keras model it was made from.",
        )
    return Fields(strict_json.loads(data, where, MAX_DEPTH), where)


class Fields:
    """The fields of a JSON object. What gives a field checks its type and notes that it is used; ``end``
    raises where one is left.
    """

    def __init__(self, value, where):
        self.where = where
        if not isinstance(value, dict):
            raise ModelFileError("is not a JSON object", where=where, found=_shown(value))
        self._left = dict(value)

    def __contains__(self, name):
        """Whether a field is there, not used yet, and not null."""
        return self._left.get(name) is not None

    def place(self, name):
        """Where a field stands, for a message."""
        return f"{self.where}, {name}"

    def refuse(self, name, expected, found, fix=None):
        """The error for a field that holds something else."""
        return ModelFileError(
            "holds a wrong value", where=self.place(name), expected=expected, found=_shown(found), fix=fix
        )

    def any(self, name, default=None):
        """A field of any type; ``default`` where it is missing."""
        return self._left.pop(name, default)

    def _take(self, name, kinds, expected, default):
        if name not in self._left:
            if default is not _REQUIRED:
                return default
            raise ModelFileError(f"lacks the field {name!r}", where=self.where, expected=expected)
        value = self._left.pop(name)
        if value is None and default is None:
            return None
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
            raise self.refuse(name, expected, value)
        return value

    def text(self, name, default=...):
        return self._take(name, str, "a text", default)

    def flag(self, name, default=...):
        return self._take(name, bool, "true or false", default)

    def number(self, name, default=...):
        return self._take(name, (int, float), "a number", default)

    def list(self, name, default=...):
        return self._take(name, list, "a list", default)

    def object(self, name) -> Fields:
        return Fields(self._take(name, dict, "an object", _REQUIRED), self.place(name))

    def count(self, name, default=...):
        """A whole number from 1 to 2**24."""
        value = self._take(name, (int, float), _COUNT, default)
        return self._counted(name, value)

    def counts(self, name):
        """A list of such numbers, not empty."""
        values = self.list(name)
        if not values:
            raise self.refuse(name, "at least one number", values)
        return [self._counted(f"{name}[{k}]", value) for k, value in enumerate(values)]

    def _counted(self, name, value):
        if type(value) not in (int, float) or value != int(value) or not 1 <= value <= 1 << 24:
            raise self.refuse(name, _COUNT, value)
        return int(value)

    def objects(self, name) -> list[Fields]:
        """A list of objects, not empty."""
        values = self.list(name)
        if not values:
            raise self.refuse(name, "at least one object", values)
        return [Fields(value, f"{self.place(name)}[{k}]") for k, value in enumerate(values)]

    def array(self, name, *shape, default=...) -> np.ndarray:
        """Nested lists of numbers as float32; ``shape`` with None for a size that is free."""
        value = self._take(name, list, "lists of numbers", default)
        return None if value is None else array(value, shape, self.place(name))

    def end(self, harmless=()):
        """Raises UnsupportedModelError where a field is left that is neither null nor among ``harmless``,
        those that say nothing about what the network answers.
        """
        left = [name for name, value in self._left.items() if value is not None and name not in harmless]
        if left:
            raise UnsupportedModelError(
                f"holds the field {left[0][:80]!r}, which is not known",
                where=self.where,
                found=_shown(self._left[left[0]]),
                fix="It may change what the network answers. Remove it from the file if it is a note.",
            )


_REQUIRED = ...
_COUNT = "a whole number from 1 to 2**24"


def array(value, shape, where) -> np.ndarray:
    """Nested lists of numbers as a float32 array of ``shape`` (None: any size); ModelFileError where they are
    ragged, hold something else, or a number beyond float32's range.
    """
    sizes, level = [], value
    for size in shape:
        if not isinstance(level, list) or not level or (size is not None and len(level) != size):
            found = f"{len(level)}" if isinstance(level, list) else _shown(level)
            raise ModelFileError(
                "does not fit",
                where=where,
                expected=f"numbers of shape ({', '.join('any' if n is None else str(n) for n in shape)})",
                found=f"{found} at axis {len(sizes)}",
            )
        sizes.append(len(level))
        level = level[0]
    flat = value
    for size in sizes[1:]:
        if not all(isinstance(part, list) and len(part) == size for part in flat):
            raise ModelFileError("holds lists of different lengths", where=where, expected=str(tuple(sizes)))
        flat = [item for part in flat for item in part]
    kinds = set(map(type, flat))
    if not kinds <= {int, float}:
        wrong = next(item for item in flat if type(item) not in (int, float))
        raise ModelFileError("holds something other than numbers", where=where, found=_shown(wrong))
    made = np.array(flat, np.float64).reshape(sizes)
    if not (np.abs(made) <= np.finfo(np.float32).max).all():
        raise ModelFileError(
            "holds numbers beyond float32's range", where=where, found=f"{np.abs(made).max():g}"
        )
    return made.astype(np.float32)


def _shown(value):
    """A value of a file, for a message."""
    if isinstance(value, (list, dict)):
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)}"
    return printable(repr(value)[:80])


def finite(value):
    """``value`` where it is a finite number, else None: what a file says beside its network."""
    return value if type(value) in (int, float) and math.isfinite(value) else None
