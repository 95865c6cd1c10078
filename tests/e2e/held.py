"""What a process of edgek holds of the machine: the same before and after, or something leaks."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import attrs

from tests.e2e.cluster import Cluster, sh


@attrs.frozen
class Held:
    """What a process holds of the machine."""

    files: dict[str, int]  # by what they are
    threads: int
    connections: int
    memory_mb: float

    @classmethod
    def of(cls, node: Cluster) -> Held:
        pid = node.pid()
        described = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        sockets = sh(f"nsenter --net=/run/netns/{node.name} ss -Htnp state all | grep -c 'pid={pid},' || true")
        files = Counter(kind_of(descriptor) for descriptor in Path(f"/proc/{pid}/fd").iterdir())
        return cls(dict(files), int(described["Threads"]), int(sockets), int(described["VmRSS"].split()[0]) / 1024)

    def no_more_than(self, before: Held) -> bool:
        """A pool may have been filled meanwhile, and a page or two."""
        return (
            sum(self.files.values()) <= sum(before.files.values()) + 3
            and self.threads <= before.threads + 2
            and self.connections <= before.connections + 1
            and self.memory_mb <= before.memory_mb + 6
        )


def kind_of(descriptor: Path) -> str:
    """``socket:[123]`` is a socket like others."""
    try:
        return re.sub(r"\d+", "N", str(descriptor.readlink()))
    except FileNotFoundError:
        return "gone meanwhile"
