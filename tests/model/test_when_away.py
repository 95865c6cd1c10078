"""What the annotation ``edgek.io/when-away`` says, and what it refuses."""

from __future__ import annotations

import pytest

from edgek.model import when_away
from edgek.model.when_away import ANNOTATION, MARGIN_S, NOT_READY, UNREACHABLE, WhenAway


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("keep", WhenAway("keep")),
        ("replace", WhenAway("replace")),
        ("replace=0s", WhenAway("replace", 0)),
        ("replace=300s", WhenAway("replace", 300)),
        ("stop=10m", WhenAway("stop", 600)),
        ("stop=1h30m", WhenAway("stop", 5400)),
    ],
)
def test_it_says_what_becomes_of_a_pod(text: str, said: WhenAway) -> None:
    assert when_away.parse(text) == said
    assert when_away.of({ANNOTATION: text}) == said


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "say replace=TIME, keep or stop=TIME"),
        ("never", "say replace=TIME, keep or stop=TIME"),
        ("keep=5m", "say replace=TIME, keep or stop=TIME"),
        ("replace=", "'' is no time"),
        ("replace=300", "'300' is no time"),
        ("stop", "stop needs a time"),
        ("stop=5", "'5' is no time"),
        ("stop=10s", "at least 30s"),
        ("replace=999999h", "say keep"),
    ],
)
def test_what_it_cannot_say_is_refused_with_the_way_out(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        when_away.parse(text)
    assert when_away.of({ANNOTATION: text}) is None


def test_a_node_stops_only_pods_that_say_so() -> None:
    assert when_away.stop_s({ANNOTATION: "stop=10m"}) == 600
    assert [when_away.stop_s(each) for each in ({}, {ANNOTATION: "keep"}, {ANNOTATION: "replace=5m"}, {ANNOTATION: "stop=x"})] == [None] * 4


@pytest.mark.parametrize(
    ("said", "taint", "seconds"),
    [
        (WhenAway("replace"), UNREACHABLE, 300),
        (WhenAway("replace", 60), UNREACHABLE, 60),
        (WhenAway("replace", 60), NOT_READY, 60),
        (WhenAway("keep"), UNREACHABLE, None),
        (WhenAway("keep"), NOT_READY, None),
        (WhenAway("stop", 600), NOT_READY, None),
        (WhenAway("stop", 600), UNREACHABLE, 600 + 20 + MARGIN_S),
    ],
)
def test_the_cluster_waits_as_long_as_it_says_and_longer_than_a_node_that_stops_its_pods(said: WhenAway, taint: str, seconds: float | None) -> None:
    assert said.tolerated_s(taint, grace_s=20, otherwise=300) == seconds
