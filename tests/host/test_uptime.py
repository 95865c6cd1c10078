"""The clock that nobody sets."""

from __future__ import annotations

import time
from pathlib import Path

from edgek.host import uptime


def since_boot_s() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])


def test_it_counts_from_the_boot_and_means_the_same_to_every_process() -> None:
    before, shown, after = since_boot_s(), uptime.now(), since_boot_s()
    assert before - 0.01 <= shown <= after + 0.01  # the kernel tells hundredths
    assert uptime.now() >= time.clock_gettime(time.CLOCK_MONOTONIC) - 1
