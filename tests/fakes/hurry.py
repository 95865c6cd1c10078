"""A clock that runs ahead of the real one, for what waits for real sockets and threads in between.

A test asks for a fixture that gives one, as for trio's own.
"""

from __future__ import annotations

import time

import trio

MOMENT_S = 0.05  # real ones that may pass beside what was waited for


class Hurry(trio.abc.Clock):
    """``rate`` seconds go by in each real one. While the test's process gets no turn its time stands still: of a machine that is busy elsewhere nothing
    times out that would not on another."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._now = 0.0
        self._looked = 0.0
        self._waiting_s = 0.0  # for so long, in real seconds, there was nothing to do

    def start_clock(self) -> None:
        self._looked = time.perf_counter()

    def current_time(self) -> float:
        former, self._looked = self._looked, time.perf_counter()
        self._now += self._rate * min(self._looked - former, self._waiting_s + MOMENT_S)
        self._waiting_s = 0.0
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        wait_s = max(0.0, deadline - self.current_time()) / self._rate
        self._waiting_s = wait_s
        return wait_s
