"""A few of the random Keras graphs of tools/fuzz_keras.py: networks in networks, shared, called for nothing;
against the installed Keras.
"""

import sys
from pathlib import Path

import pytest
from needs import need

from rnnrt.importers.keras import wiring

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The structure of `inputs` doesn't match:UserWarning"),
]


@pytest.fixture
def fuzz():
    need("keras")
    folder = str(Path(__file__).parent.parent / "tools")
    sys.path.insert(0, folder)
    try:
        import fuzz_keras
    finally:
        sys.path.remove(folder)
    return fuzz_keras


def test_random_graphs_answer_as_keras_does(fuzz):
    said = []
    graphs, wrong, refused, reasons = fuzz.fuzz(20, 60, said.append)
    assert graphs >= 18 and not wrong, said
    assert len(refused) <= 1, dict(reasons)


def test_the_fuzzer_sees_a_call_counted_one_off(fuzz, monkeypatch):
    """With every check of the record gone and one offset for all, as the importer once had it."""
    monkeypatch.setattr(wiring, "_rule", lambda *_: (0, 0))
    said = []
    _, wrong, refused, _ = fuzz.fuzz(20, 60, said.append)
    assert wrong or refused, said
