"""What a process costs, as the kernel counts it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import attrs

TICKS = os.sysconf("SC_CLK_TCK")


@attrs.frozen
class Process:
    pid: int

    def cpu_s(self) -> float:
        """User and system time of all its threads, ended ones too; in steps of 10 ms."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory_mb(self) -> dict[str, float]:
        """``resident``, and of it what is ``anonymous`` and what its ``share`` is where pages belong to several (PSS)."""
        found = _numbers(Path(f"/proc/{self.pid}/smaps_rollup"))
        return {"resident": found["Rss"] / 1024, "anonymous": found["Anonymous"] / 1024, "share": found["Pss"] / 1024}

    def written_bytes(self) -> int:
        """What it caused to be written to disks."""
        return _numbers(Path(f"/proc/{self.pid}/io"))["write_bytes"]

    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def switches(self) -> int:
        """How often its present threads went to sleep: each is a wake-up."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(_numbers(task / "status")["voluntary_ctxt_switches"] for task in tasks)


def resident_mb(processes: Iterable[Process]) -> float:
    return sum(process.memory_mb()["resident"] for process in processes)


def below(folder: Path) -> list[Process]:
    """The processes whose command line names this folder: containerd's shims and what else works there."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue  # it has ended meanwhile
            if str(folder).encode() in words:
                found.append(Process(int(entry.name)))
    return found


def _numbers(file: Path) -> dict[str, int]:
    """The lines ``name: number [kB]`` of a file."""
    found = {}
    for line in file.read_text().splitlines():
        name, colon, rest = line.partition(":")
        words = rest.split()
        if colon and words and words[0].isdigit():
            found[name] = int(words[0])
    return found
