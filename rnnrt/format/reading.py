"""A file of someone else's, opened: regular files alone, none larger than the caller allows, and named in
messages as a terminal can show it.
"""

from __future__ import annotations

import io
import os
import stat

from ..errors import DTypeError, ModelFileError, ResourceLimitError
from .atomic_write import kind_of

INCOMPLETE = "Is this an incomplete copy? Copy or save it again."
#: What to do where a limit that the caller sets is met; the command has it as an option.
RAISE = "If you trust the file, raise the limit with max_bytes= (on the command line: --max-bytes)."
#: The model of a folder, as a repository of the Hugging Face Hub holds it beside its README.md.
IN_FOLDER = "model.rnnrt"
_LONGEST_PATH = 4096  # PATH_MAX


def path_text(path):
    """A path, or the name of an open file, as text for messages; raises DTypeError for what is neither."""
    if is_open(path):
        return path_text(path.name) if isinstance(path.name, (str, bytes)) else f"open file {path.name}"
    try:
        text = os.fsdecode(path)
    except TypeError:
        raise DTypeError("a path must be a str, bytes or os.PathLike", found=type(path).__name__) from None
    if len(text) > _LONGEST_PATH or (isinstance(path, bytes) and b"\0" in path):
        raise DTypeError(
            "this is the content of a file, not its path"
            if isinstance(path, bytes)
            else "this is not a path",
            expected="a path or an open file",
            found=f"{type(path).__name__} of {len(path):,}",
        )
    return text


def model_file(path):
    """``path`` itself, or of a folder the .rnnrt file in it."""
    if is_open(path) or not os.path.isdir(path):
        return path
    return os.path.join(os.fsdecode(path), IN_FOLDER)


def is_open(source) -> bool:
    """Whether ``source`` is an open file of the system's, as ``open`` makes it."""
    return isinstance(source, io.BufferedIOBase | io.RawIOBase) and hasattr(source, "name")


def read_whole(path, max_bytes) -> bytes:
    """All bytes of a regular file. Its size is asked first: ResourceLimitError above ``max_bytes``, before
    anything is read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            raise too_large(path_text(path), size, max_bytes)
        data = file.read(size + 1)  # not max_bytes: Python allocates what it is asked for
    if len(data) > max_bytes:
        raise too_large(path_text(path), len(data), max_bytes)
    return data


def too_large(where, size, max_bytes):
    """The ResourceLimitError for a file of ``size`` bytes."""
    return ResourceLimitError(
        "the file is larger than the limit",
        where=where,
        expected=f"at most {max_bytes:,} bytes",
        found=f"{size:,}",
        fix=RAISE,
    )


def open_regular(path):
    """``path`` opened for reading in binary, if it is a regular file; raises ModelFileError with the system's
    reason.
    """
    where = path_text(path)
    try:
        if is_open(path):
            handle = os.dup(path.fileno())
            if stat.S_ISREG(os.fstat(handle).st_mode):
                os.lseek(handle, 0, os.SEEK_SET)  # a model is the whole file, wherever its reader stands
        else:
            handle = os.open(
                path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
            )  # a pipe would otherwise wait for a writer
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            os.close(handle)
            raise ModelFileError(
                "is not a regular file",
                where=where,
                found=kind_of(mode),
                fix="Give the path of a model file.",
            )
        return os.fdopen(handle, "rb")
    except OSError as error:
        raise unreadable(error, where) from error
    except ValueError as error:  # a NUL inside the path
        raise ModelFileError(f"cannot be read: {error}", where=repr(where)) from error


def unreadable(error, where):
    return ModelFileError(f"cannot be read: {error.strerror or error}", where=where)
