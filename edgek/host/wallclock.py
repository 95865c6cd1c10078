"""The only reader of the calendar clock. Intervals are measured with ``trio.current_time``; this is for timestamps.

A simulation on a virtual clock replaces ``source``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime


class _Clock:
    source: Callable[[], float] = staticmethod(time.time)
    floor: float = 0.0


def use(source: Callable[[], float]) -> Callable[[], float]:
    """Read the time (seconds since the epoch) from ``source`` from now on; the former source, to put back."""
    former = _Clock.source
    _Clock.source = staticmethod(source)
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
