"""The command, called in this process, and the demo's files that tests give it."""

import json

from rnnrt.command import demo, main

LSTM_KERAS = str(demo.FOLDER / "lstm.keras")
LSTM_TORCH, LSTM_SPEC = str(demo.FOLDER / "lstm_torch.pt"), str(demo.FOLDER / "lstm_torch.spec")


def run(capsys, *arguments):
    """(exit code, stdout, stderr)."""
    code = main.main([str(a) for a in arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def run_json(capsys, *arguments):
    code, out, _ = run(capsys, *arguments, "--json")
    return code, json.loads(out)
