"""Fixtures of more than one file."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """The demo's LSTM as a .rnnrt file."""
    from command import LSTM_KERAS

    from rnnrt.command import main

    path = tmp_path_factory.mktemp("models") / "lstm.rnnrt"
    assert main.main(["convert", LSTM_KERAS, "-o", str(path), "--json"]) == 0
    return path


@pytest.fixture
def window(tmp_path):
    """A held-out window of the demo as a .npy file, and what Keras answered for it."""
    from rnnrt.command import demo

    with np.load(demo.FOLDER / "golden.npz") as golden:
        np.save(tmp_path / "x.npy", golden["x"])
        return tmp_path / "x.npy", golden["lstm"]
