"""How long the machine has been up: a clock that nobody sets, that goes on while the machine sleeps, and that outlives this process.

A simulation on a virtual clock replaces ``source``.
"""

from __future__ import annotations

import time
from collections.abc import Callable


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class _Clock:
    source: Callable[[], float] = staticmethod(_since_boot)


def use(source: Callable[[], float]) -> Callable[[], float]:
    """Read the time (seconds since the boot) from ``source`` from now on; the former source, to put back."""
    former = _Clock.source
    _Clock.source = staticmethod(source)
    return former


def now() -> float:
    """Seconds since the boot."""
    return _Clock.source()
