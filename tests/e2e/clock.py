"""A clock for edgek alone, that tests can set while it runs (the package faketime)."""

from __future__ import annotations

from pathlib import Path

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


def faked(clock: Path) -> dict[str, str]:
    """The environment in which the time is what this file says: ``@2027-03-01 12:00:00``, running on from there. Intervals stay real."""
    return {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
