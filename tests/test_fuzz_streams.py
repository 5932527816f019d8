"""tools/fuzz_streams.py: some graphs of it, and that it sees what goes wrong."""

import fuzz_streams
import numpy as np
import pytest

import rnnrt


def test_random_graphs_as_mixed_streams_answer_the_bits_of_whole_sequences(capsys):
    assert fuzz_streams.main(["--graphs", "60", "--first", "5000"]) == 0
    printed = capsys.readouterr().out
    assert "60 graphs\n" in printed and printed.endswith("0 bits differ\n")
    counts = fuzz_streams.run(7000, 30)
    assert all(counts[name] >= share * 29 for name, share in fuzz_streams.SHARES.items())
    assert all(
        counts[what] for what in ("reset", "clone", "bytes", "step_many", "push_many", "push", "numbers")
    )


def swapped(true):
    """As a model that hands two streams the answers of each other, where these are arrays of one shape."""

    def many(self, streams, chunks, *more, **options):
        made = list(true(self, streams, chunks, *more, **options))
        if len(made) > 1 and isinstance(made[0], np.ndarray) and np.shape(made[0]) == np.shape(made[1]):
            made[:2] = made[1], made[0]
        return made

    return many


@pytest.mark.parametrize("call", ["step_many", "push_many"])
def test_swapped_answers_are_seen(call, monkeypatch, capsys):
    monkeypatch.setattr(rnnrt.Model, call, swapped(getattr(rnnrt.Model, call)))
    assert fuzz_streams.main(["--graphs", "30"]) == 1
    assert "differs: seed " in capsys.readouterr().out


def test_a_bit_is_seen(monkeypatch, capsys):
    whole = rnnrt.Model.__call__

    def other(self, x):
        made = whole(self, x)
        first = made[0] if isinstance(made, tuple) else made
        first.reshape(-1)[:1] = np.nextafter(first.reshape(-1)[:1], np.float32(np.inf))
        return made

    monkeypatch.setattr(rnnrt.Model, "__call__", other)
    assert fuzz_streams.main(["--graphs", "1"]) == 1
    assert "differs: seed 0: output 'y' after " in capsys.readouterr().out
