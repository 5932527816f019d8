"""Writing a file so that, whatever happens, the old one or the whole new one is there: never a part."""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import contextmanager, suppress

from ..errors import ModelFileError


def write(path, parts):
    """Replace the file at ``path`` by the bytes-like ``parts``, one after the other; see ``replacing``."""
    with replacing(path) as file:
        for part in parts:
            file.write(part)


@contextmanager
def replacing(path):
    """A binary file to write into, which replaces the one at ``path`` when the block ends without an
    exception.

    A temporary file in the same folder is written, flushed to the disk and renamed over the old one, whose
    mode bits it takes. What an interrupted earlier call left behind is removed. Raises ModelFileError with
    the system's reason; a symbolic link and anything that is not a regular file are refused.
    """
    path = os.fsdecode(path)
    if "\0" in path:
        raise ModelFileError("cannot be written: embedded null byte", where=repr(path))
    folder, name = os.path.split(os.path.abspath(path))
    try:
        mode = _mode_of(path)
        _remove_stale(folder, name)
        handle, temporary = _create(folder, name)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                if mode is not None:
                    os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
                os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        _sync_folder(folder)
    except OSError as error:
        raise ModelFileError(f"cannot be written: {error.strerror or error}", where=path) from error


def _mode_of(path):
    try:
        found = os.lstat(path).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(found):
        raise ModelFileError(
            "is a symbolic link, which is not written through",
            where=str(path),
            fix="Give the path of the file itself.",
        )
    if not stat.S_ISREG(found):
        raise ModelFileError(
            "is not a regular file", where=str(path), found=kind_of(found), fix="Give the path of a file."
        )
    return stat.S_IMODE(found)


def kind_of(mode):
    """What a stat mode says a path is, in a word."""
    tests = (
        ("folder", stat.S_ISDIR),
        ("pipe", stat.S_ISFIFO),
        ("socket", stat.S_ISSOCK),
        ("device", stat.S_ISCHR),
        ("device", stat.S_ISBLK),
    )
    return next((f"a {word}" for word, is_kind in tests if is_kind(mode)), "a special file")


# A temporary file is locked for as long as its writer lives, so one whose lock is free has been left behind.


def _create(folder, name):
    while True:
        temporary = os.path.join(folder, f"{_prefix(name)}{os.urandom(8).hex()}{_SUFFIX}")
        handle = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666
        )
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # another save took it for a stale one and is about to remove it
            os.close(handle)
            continue
        except OSError:  # a file system without locks: nothing there is ever taken for stale either
            return handle, temporary
        if os.fstat(handle).st_nlink:
            return handle, temporary
        os.close(handle)


def _remove_stale(folder, name):
    for entry in os.listdir(folder):
        if not (entry.startswith(_prefix(name)) and entry.endswith(_SUFFIX)):
            continue
        with suppress(OSError):
            path = os.path.join(folder, entry)
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)
            finally:
                os.close(handle)


_SUFFIX = ".rnnrt-tmp"


def _prefix(name):
    # the whole must stay below the 255 bytes a file name may have
    return f".{os.fsdecode(os.fsencode(name)[:128])}."


def _sync_folder(folder):
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
