"""Keys waiting for work.

A key that is added while it waits is there once; one that is added while it is being worked on comes again afterwards; so two workers never hold
the same key. Failed keys come back after a growing pause. With an interval, a key that was taken less than that ago waits for the rest of it.
"""

from __future__ import annotations

import heapq
from collections import deque

import trio

RETRY_FIRST_S = 0.005
RETRY_MOST_S = 60.0
RETRY_DOUBLINGS = 14  # beyond this the pause is RETRY_MOST_S anyway; the exponent must not grow for ever


REST_LEAST_S = 1e-6  # less is rounding, and waiting for it would never end
REMEMBERED = 1000  # keys whose last time is kept before those that no longer matter are dropped


class WorkQueue:
    def __init__(self, interval_s: float = 0.0) -> None:
        self._interval_s = interval_s
        self._taken: dict[str, float] = {}  # key -> when it was taken last, where there is an interval
        self._ready: deque[str] = deque()
        self._waiting: set[str] = set()  # in _ready
        self._working: set[str] = set()
        self._again: set[str] = set()  # added while being worked on
        self._failures: dict[str, int] = {}
        self._later: list[tuple[float, str]] = []
        self._due: dict[str, float] = {}  # key -> the time in _later that counts; others are stale
        self._wake = trio.Event()

    def add(self, key: str) -> None:
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            rest_s = self._rest_s(key)
            if rest_s > REST_LEAST_S:
                self.add_after(key, rest_s)
                return
            self._waiting.add(key)
            self._ready.append(key)
            self._wake.set()

    def add_after(self, key: str, delay_s: float) -> None:
        """Add the key then, unless an earlier time for it is already set."""
        if delay_s <= 0:
            self.add(key)
            return
        due = trio.current_time() + delay_s
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._later, (due, key))
            self._wake.set()

    async def get(self) -> str:
        """The next key; call ``done`` or ``retry`` with it afterwards."""
        while True:
            self._move_due()
            if self._ready:
                key = self._ready.popleft()
                self._waiting.discard(key)
                self._working.add(key)
                if self._interval_s:
                    self._remember(key)
                return key
            self._wake = trio.Event() if self._wake.is_set() else self._wake
            deadline = self._later[0][0] if self._later else float("inf")
            with trio.move_on_at(deadline):
                await self._wake.wait()

    def done(self, key: str) -> None:
        self._failures.pop(key, None)
        self._release(key)

    def retry(self, key: str) -> float:
        """Give the key back because its work failed; the pause in seconds after which it returns."""
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        pause_s: float = min(RETRY_FIRST_S * 2 ** min(count, RETRY_DOUBLINGS), RETRY_MOST_S)
        self._release(key)
        self.add_after(key, pause_s)
        return pause_s

    def __len__(self) -> int:
        return len(self._ready) + len(self._working)

    def _release(self, key: str) -> None:
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _rest_s(self, key: str) -> float:
        """How much of the interval is left for this key."""
        if key not in self._taken:
            return 0.0
        return self._taken[key] + self._interval_s - trio.current_time()

    def _remember(self, key: str) -> None:
        now = trio.current_time()
        if len(self._taken) >= REMEMBERED:
            self._taken = {each: when for each, when in self._taken.items() if when + self._interval_s > now}
        self._taken[key] = now

    def _move_due(self) -> None:
        now = trio.current_time()
        while self._later and self._later[0][0] <= now:
            due, key = heapq.heappop(self._later)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)
