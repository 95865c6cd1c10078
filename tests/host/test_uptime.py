"""The clock that nobody sets."""

from __future__ import annotations

import time
from pathlib import Path

from edgek.host import uptime


def test_it_counts_from_the_boot_and_means_the_same_to_every_process() -> None:
    since_boot = float(Path("/proc/uptime").read_text().split()[0])
    assert abs(uptime.now() - since_boot) < 1
    assert uptime.now() >= time.clock_gettime(time.CLOCK_MONOTONIC) - 1
