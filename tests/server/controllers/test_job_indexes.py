"""How sets of indexes are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgek.server.controllers import job_indexes


@pytest.mark.parametrize(
    ("indexes", "text"),
    [(set(), ""), ({3}, "3"), ({1, 2}, "1,2"), ({1, 2, 3}, "1-3"), ({0, 2, 3, 4, 9}, "0,2-4,9")],
)
def test_runs_of_three_or_more_are_written_as_a_range(indexes: set[int], text: str) -> None:
    assert job_indexes.written(indexes) == text


@given(st.sets(st.integers(0, 200)))
def test_what_was_written_is_read_again(indexes: set[int]) -> None:
    assert job_indexes.parse(job_indexes.written(indexes), 201) == indexes


def test_indexes_that_are_too_large_are_left_out() -> None:
    assert job_indexes.parse("1,3-9,20", 5) == {1, 3, 4}
