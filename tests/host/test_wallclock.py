"""A calendar that is set while the program runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from edgek.host import wallclock

NOW = 1_800_000_000.0


class Clocks:
    """``steady`` goes on; ``calendar`` is that and what somebody set."""

    steady = 0.0
    offset = 120.0

    @property
    def calendar(self) -> float:
        return self.steady + self.offset


@pytest.fixture
def clocks() -> Iterator[Clocks]:
    made = Clocks()
    former, floor = wallclock.use(lambda: made.calendar), wallclock._Clock.floor
    wallclock._Clock.floor = 0.0
    yield made
    wallclock.use(former)
    wallclock._Clock.floor = floor


def test_a_clock_that_was_set_is_noticed_and_drift_is_not(clocks: Clocks) -> None:
    assert wallclock.compare(clocks.steady) == 0
    for _ in range(100):
        clocks.steady += 10
        clocks.offset += 1  # a bad crystal
        assert wallclock.compare(clocks.steady) == 0
    clocks.offset += NOW
    assert wallclock.compare(clocks.steady) == NOW
    assert wallclock.compare(clocks.steady) == 0
    clocks.offset -= 3600
    assert wallclock.compare(clocks.steady) == -3600


def test_what_was_stamped_before_the_clock_was_set_forward_did_not_grow_old(clocks: Clocks) -> None:
    wallclock.compare(clocks.steady)
    started = wallclock.now()
    clocks.steady = 100.0
    clocks.offset += NOW
    wallclock.compare(clocks.steady)
    later = wallclock.now()
    assert wallclock.jumped_since(started) == NOW
    assert wallclock.now() - started - wallclock.jumped_since(started) == 100
    assert wallclock.jumped_since(later) == 0


def test_a_time_that_was_seen_is_never_before_now(clocks: Clocks) -> None:
    assert wallclock.at_least() == 120
    wallclock.never_before(NOW)
    wallclock.never_before(5.0)
    assert wallclock.at_least() == NOW
    clocks.offset = NOW + 1000
    assert wallclock.at_least() == NOW + 1000
