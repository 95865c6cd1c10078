"""The only reader of the calendar clock. Intervals are measured with ``trio.current_time``; this is for timestamps.

The clock may jump: a board without a battery boots in 1970 and hears the time later. What counts from a timestamp asks ``jumped_since``.

A simulation on a virtual clock replaces ``source``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import ClassVar

JUMP_S = 30.0  # what time servers do in small steps is no jump


class _Clock:
    source: Callable[[], float] = staticmethod(time.time)
    floor: float = 0.0
    offset: float | None = None  # of the calendar against a clock that nobody sets
    jumps: ClassVar[list[tuple[float, float]]] = []  # what it showed before it was set forward, and by how much


def use(source: Callable[[], float]) -> Callable[[], float]:
    """Read the time (seconds since the epoch) from ``source`` from now on; the former source, to put back."""
    former = _Clock.source
    _Clock.source = staticmethod(source)
    _Clock.offset = None
    _Clock.jumps.clear()
    return former


def now() -> float:
    """Seconds since the epoch."""
    return _Clock.source()


def never_before(seconds: float) -> None:
    """This time has been seen already: it is later now, whatever the clock shows."""
    _Clock.floor = max(_Clock.floor, seconds)


def at_least() -> float:
    """Seconds since the epoch, never before a time that has been seen: for what must not be fooled by a board without a battery."""
    return max(now(), _Clock.floor)


def compare(steady_s: float) -> float:
    """Hold the calendar against a clock that nobody sets; by how many seconds it was set since this was done last, 0 for mere drift."""
    offset, former = now() - steady_s, _Clock.offset
    _Clock.offset = offset
    if former is None or abs(offset - former) < JUMP_S:
        return 0.0
    if offset > former:
        _Clock.jumps.append((former + steady_s, offset - former))
    return offset - former


def jumped_since(seconds: float) -> float:
    """By how much the clock was set forward since it showed this time, as far as this process has noticed."""
    return sum(by for shown, by in _Clock.jumps if seconds <= shown)


def now_ns() -> int:
    return int(_Clock.source() * 1e9)


def now_rfc3339() -> str:
    """``2026-11-20T17:47:18Z``, the Time of the API: UTC, whole seconds."""
    return rfc3339(now())


def now_micro() -> str:
    """``2026-11-20T17:47:18.760003Z``, the MicroTime of the API."""
    return datetime.fromtimestamp(now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse(stamp: str) -> float:
    """Seconds since the epoch of an RFC 3339 time. Raises ValueError."""
    return datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()
