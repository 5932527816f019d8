"""The command ``rnnrt``: convert, embed, info, run, stream, score, verify, bench, profile, explain,
demo, doctor.

Exit codes: 0 ok, 1 a check failed, 2 usage (arguments, input arrays, a missing package), 3 a bad file, 4 not
supported. Answers go to stdout (as one JSON object with ``--json``), messages and progress to stderr.
"""

from __future__ import annotations

import json
import os
import sys
import traceback

from ..errors import (
    ModelFileError,
    NotStreamableError,
    ResourceLimitError,
    RnnrtError,
    UnsupportedModelError,
    VerificationError,
    printable,
)
from .arguments import Said, parser
from .files import UsageError

OK, CHECK_FAILED, USAGE, BAD_FILE, UNSUPPORTED = range(5)
FAULT = 70  # EX_SOFTWARE of sysexits.h: what is wrong is rnnrt itself
INTERRUPTED = 130  # what a shell says of a program that Ctrl-C ended


def main(arguments=None) -> int:
    """Run one command; returns its exit code. Whatever happens, a message is a sentence and not a
    traceback.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(
                errors="replace"
            )  # a terminal without µ gets a question mark, not an exception
    code, answer, message = _run(arguments, "--json" in arguments)
    try:
        _write(sys.stdout, 1, answer)
    except BrokenPipeError:
        pass  # the reader left (| head); nothing is wrong with us
    except OSError as error:
        code, message = USAGE, f"rnnrt: stdout cannot be written: {error.strerror}"
    try:
        _write(sys.stderr, 2, message)
    except OSError:
        pass  # nobody is left to be told
    return code


def _run(arguments, as_json):
    """(exit code, text for stdout, text for stderr) of one command."""
    try:
        options = parser().parse_args(arguments)
        report = options.command(options)
    except Said as said:  # --help, --version
        return OK, said.text, ""
    except RnnrtError as error:
        return exit_code(error), *_said(error, as_json)
    except KeyboardInterrupt:
        return INTERRUPTED, "", ""
    except MemoryError:
        return USAGE, *_said(UsageError("this needs more memory than there is"), as_json)
    except OSError as error:
        wrong = UsageError(error.strerror or str(error), where=error.filename)
        return USAGE, *_said(wrong, as_json)
    except Exception as error:  # noqa: BLE001 - whatever it is, a person gets a sentence
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{os.path.basename(last.filename)}, line {last.lineno}"
        fault = RnnrtError(
            f"{type(error).__name__}: {error}",
            where=f"a fault of rnnrt itself ({place})",
            fix="Please report it, with the command.",
        )
        return FAULT, *_said(fault, as_json)
    code = OK if report.ok else CHECK_FAILED
    answer = json.dumps(report.data, indent=1) if as_json else printable("\n".join(report.lines))
    return code, answer, "\n".join(printable(f"rnnrt: {note}") for note in report.notes)


def _write(stream, number, text):
    """Print ``text`` and flush it; afterwards a stream that failed leads nowhere, for Python flushes it once
    more at its end.
    """
    if not text:
        return
    try:
        if stream is None:
            os.fstat(number)  # raises: it was closed before we began
            return
        stream.write(text + "\n")
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        if nowhere != number:
            os.dup2(nowhere, number)
        raise


def exit_code(error: RnnrtError) -> int:
    if isinstance(error, VerificationError):
        return CHECK_FAILED
    if isinstance(error, (ModelFileError, ResourceLimitError)) or getattr(error, "while_reading", False):
        return BAD_FILE
    if isinstance(error, (UnsupportedModelError, NotStreamableError)):
        return UNSUPPORTED
    return USAGE


def _said(error, as_json):
    """(text for stdout, text for stderr) that say what is wrong."""
    draft = getattr(error, "draft", None)
    if as_json:
        parts = {
            k: None if getattr(error, k) is None else str(getattr(error, k))
            for k in ("what", "where", "expected", "found", "fix")
        }
        value = {"error": {"kind": type(error).__name__, "message": str(error), "draft": draft} | parts}
        return json.dumps(value, indent=1), ""
    message = str(error)
    if draft:  # it goes to stdout, so that `rnnrt info weights.pt > weights.spec` starts a spec
        message = (
            message.replace(draft, "").rstrip().removesuffix("A draft:")
            + "A draft is on stdout; complete it and give it with --spec."
        )
    one_line = " ".join(message.split("\n"))
    return printable(draft.rstrip()) if draft else "", printable(f"rnnrt: {one_line}")
