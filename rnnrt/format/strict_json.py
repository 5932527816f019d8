"""JSON as a file from a stranger may hold it: no duplicate keys, no NaN, no deep nesting, nothing Python
alone would accept.
"""

from __future__ import annotations

import json
import math

from ..errors import ModelFileError

MAX_DEPTH = 32
MAX_INTEGER = 1 << 53  # beyond it a reader with doubles sees another number


def loads(text, where, depth=MAX_DEPTH, integer=MAX_INTEGER):
    """The value of ``text`` (str, or bytes in UTF-8), at most ``depth`` levels deep, whole numbers at most
    ``integer``; raises ModelFileError naming ``where``.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=lambda digits: _integer(digits, integer),
            parse_float=_number,
            parse_constant=_constant,
        )
    except UnicodeDecodeError as error:
        found = f"byte {error.object[error.start]:#04x} at {error.start}"
        raise ModelFileError("is not UTF-8", where=where, found=found) from None
    except _Refused as error:
        raise ModelFileError(str(error), where=where) from None
    except json.JSONDecodeError as error:
        raise ModelFileError(f"is not JSON: {error.msg} at character {error.pos}", where=where) from None
    except RecursionError:
        raise ModelFileError(
            "is nested too deeply", where=where, expected=f"at most {depth} levels"
        ) from None
    _walk(value, where, depth)
    return value


def dumps(value, where):
    """Canonical text of ``value``: sorted keys, no spaces. Raises ModelFileError for what ``loads`` would not
    give back.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelFileError(f"cannot be written as JSON: {error}", where=where) from None
    loads(text, where)
    return text


class _Refused(Exception):
    pass


def _object(pairs):
    made = dict(pairs)
    if len(made) != len(pairs):
        seen = set()
        name = next(k for k, _ in pairs if k in seen or seen.add(k))
        raise _Refused(f"has the key {name!r} twice in one object")
    return made


def _integer(text, most):
    if len(text) > 21 or abs(int(text)) > most:
        raise _Refused(f"holds a whole number beyond 2**{most.bit_length() - 1}: {text[:24]}")
    return int(text)


def _number(text):
    if not math.isfinite(float(text)):
        raise _Refused(f"holds a number out of range: {text[:24]}")
    return float(text)


def _constant(text):
    raise _Refused(f"holds {text}, which is not JSON")


def _walk(value, where, most):
    """Whether every string is text and no value lies deeper than ``most``; level by level, so that depth
    costs no stack.
    """
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > most:
            raise ModelFileError("is nested too deeply", where=where, expected=f"at most {most} levels")
        below = []
        for item in level:
            if isinstance(item, str):
                _text(item, where)
            elif isinstance(item, dict):
                for key in item:
                    _text(key, where)
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        level = below


def _text(text, where):
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ModelFileError("holds half of a surrogate pair", where=where, found=repr(text[:40])) from None
