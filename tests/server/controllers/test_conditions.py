"""Conditions keep their times while they say the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from edgek.host import wallclock
from edgek.server.controllers import conditions


@pytest.fixture(autouse=True)
def clock() -> Iterator[list[float]]:
    now = [1_800_000_000.0]
    former = wallclock.use(lambda: now[0])
    yield now
    wallclock.use(former)


def test_the_same_again_changes_nothing_at_all(clock: list[float]) -> None:
    had = [conditions.new("Ready", "True", "Fine", "all is well")]
    clock[0] += 60
    assert conditions.put(had, conditions.new("Ready", "True", "Fine", "other words")) == had


def test_another_reason_keeps_the_time_of_the_transition_and_another_status_does_not(clock: list[float]) -> None:
    first = conditions.new("Ready", "True", "Fine", "")
    clock[0] += 60
    (second,) = conditions.put([first], conditions.new("Ready", "True", "Better", ""))
    assert (second["reason"], second["lastTransitionTime"]) == ("Better", first["lastTransitionTime"])
    (third,) = conditions.put([second], conditions.new("Ready", "False", "Worse", ""))
    assert third["lastTransitionTime"] != first["lastTransitionTime"]


def test_in_place_order_stays_and_new_words_count(clock: list[float]) -> None:
    had = [conditions.new(type_, "True", "R", "old") for type_ in ("A", "B", "C")]
    clock[0] += 60
    found = conditions.put_in_place(had, conditions.new("B", "True", "R", "new"))
    assert [each["type"] for each in found] == ["A", "B", "C"]
    assert (found[1]["message"], found[1]["lastTransitionTime"]) == ("new", had[1]["lastTransitionTime"])
    assert had[1]["message"] == "old"
