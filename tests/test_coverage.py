"""docs/coverage.md says what the importers' tables say."""

import coverage_tables


def test_the_page_is_that_of_the_tables():
    assert coverage_tables.PAGE.read_text() == coverage_tables.page(), "run: python tools/coverage_tables.py"


def test_every_section_names_something():
    for title, parts in coverage_tables.sections():
        assert all(len(set(names)) for _, names in parts), title
    page = coverage_tables.page()
    assert "`ReverseSequence`" in page and "`UNIDIRECTIONAL_SEQUENCE_LSTM`" in page and "`TopK`" not in page
