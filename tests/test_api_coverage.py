"""How much of Keras's API is here: the page is true, and nothing is left out silently."""

import pytest

from tools import api_coverage


@pytest.fixture(scope="module")
def compared():
    return api_coverage.compare_all()


def test_page_is_true(compared):
    rows, version = compared
    assert api_coverage.PAGE.read_text() == api_coverage.page(rows, version), (
        "docs/api_coverage.md is out of date: run `make coverage-table`, and look at what changed"
    )


def test_nothing_is_left_out_silently(compared):
    finished = [row for row in compared[0] if row.namespace not in api_coverage.UNFINISHED]
    assert not [problem for row in finished for problem in row.problems]


def test_every_exception_is_one(compared):
    used = {pattern for row in compared[0] for pattern in row.declared}
    assert used == set(api_coverage.exceptions())


def test_differences_are_found():
    def ours(a, b=1, *, c=(2, 2)): ...

    def theirs(a, b=2, d=None, c=2): ...

    found = dict(api_coverage.differences(ours, theirs))
    assert set(found) == {"b", "d"}
