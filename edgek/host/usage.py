"""What a process costs: memory, CPU and bytes written, as the kernel counts them in /proc."""

from __future__ import annotations

import os
from pathlib import Path

import attrs

TICKS = os.sysconf("SC_CLK_TCK")


@attrs.frozen
class Cost:
    """``cpu_s`` and ``written_bytes`` since the process began; ``written_bytes`` is what it caused to be sent to a disk."""

    resident_bytes: int
    anonymous_bytes: int
    cpu_s: float
    written_bytes: int
    threads: int


def of_process(pid: int) -> Cost:
    """Raises ProcessLookupError when there is no such process, PermissionError when it is somebody else's."""
    folder = Path(f"/proc/{pid}")
    try:
        status = _pairs((folder / "status").read_text())
        counters = _pairs((folder / "io").read_text())
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        raise ProcessLookupError(f"there is no process {pid}") from None
    return Cost(
        resident_bytes=_kilobytes(status, "VmRSS"),
        anonymous_bytes=_kilobytes(status, "RssAnon"),
        cpu_s=(int(fields[11]) + int(fields[12])) / TICKS,
        written_bytes=int(counters["write_bytes"]),
        threads=int(status["Threads"]),
    )


def started_at(pid: int) -> int:
    """Ticks after boot at which the process began: with its id it names a process for good. Raises ProcessLookupError."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except FileNotFoundError:
        raise ProcessLookupError(f"there is no process {pid}") from None


def _pairs(text: str) -> dict[str, str]:
    return {key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}


def _kilobytes(status: dict[str, str], name: str) -> int:
    return int(status.get(name, "0 kB").split()[0]) * 1024
