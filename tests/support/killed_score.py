"""``rnnrt score``, killed at every moment at which it changes something on the disk, and given again: run by
test_score.py in a process of its own, with the arguments of the command.

Prints as JSON how often it was killed, and how many of the runs after a kill found answers of the run before.
"""

import contextlib
import io
import json
import os
import signal
import sys
from pathlib import Path

import pyarrow.parquet  # noqa: F401 - here, and not in every child

from rnnrt import scoring
from rnnrt.command import main

scoring.MOST_NUMBERS = 600  # parts of a few sequences


def in_a_child(arguments, moment=None):
    """(code of the command or None where it was killed, what it answered), run in a fork that is killed
    before its change number ``moment``.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        changes = 0

        def counted(call):
            def after(*args, **kwargs):
                nonlocal changes
                changes += 1
                if changes == moment:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*args, **kwargs)

            return after

        for name in ("replace", "unlink", "fsync", "rmdir", "mkdir"):
            setattr(os, name, counted(getattr(os, name)))
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
            code = main.main([*arguments, "--json"])
        os.write(writing, said.getvalue().encode())
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as file:
        said = file.read()
    status = os.waitpid(child, 0)[1]
    return (None, None) if os.WIFSIGNALED(status) else (os.waitstatus_to_exitcode(status), json.loads(said))


def run(arguments):
    output = Path(arguments[arguments.index("-o") + 1])
    assert in_a_child(arguments)[0] == 0
    wanted, kills, resumed = output.read_bytes(), 0, 0
    while True:
        output.unlink()
        code, _ = in_a_child(arguments, kills + 1)
        if code is not None:
            break
        kills += 1
        assert not output.exists() or output.read_bytes() == wanted, kills
        code, answer = in_a_child(arguments)
        assert code == 0 and output.read_bytes() == wanted, (kills, answer)
        assert not Path(f"{output}.score").exists(), kills
        resumed += answer["resumed"] > 0
    assert code == 0 and output.read_bytes() == wanted
    print(json.dumps({"kills": kills, "resumed": resumed}))


if __name__ == "__main__":
    run(sys.argv[1:])
