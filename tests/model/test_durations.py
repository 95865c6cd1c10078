"""Spans of time as Go programs spell them."""

from __future__ import annotations

import pytest

from edgek.model import durations


@pytest.mark.parametrize(
    ("text", "seconds"), [("45s", 45), ("10m", 600), ("1h30m", 5400), ("1.5h", 5400), ("250ms", 0.25), ("0s", 0), ("1m0s", 60), ("90m", 5400)]
)
def test_a_time_is_read_as_go_reads_it(text: str, seconds: float) -> None:
    assert durations.parse(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "m", "-5s", "5 s", "5d", "5S", "1h 30m", "٣s", "s5", "5s."])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="such as 45s, 10m or 1h30m"):
        durations.parse(text)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (45, "45s"), (60, "1m"), (5400, "1h30m"), (3661, "1h1m1s")])
def test_a_time_is_spelled_shortly(seconds: float, text: str) -> None:
    assert durations.spell(seconds) == text
    assert durations.parse(text) == seconds
