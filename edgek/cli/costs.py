"""What edgek costs this machine: memory, processor, writing. For ``edgek status``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from edgek.config import Config
from edgek.host import usage

if TYPE_CHECKING:
    from rich.table import Table

SAMPLE_S = 1.0  # over which CPU and writing are measured


async def gather(config: Config) -> list[dict[str, Any]]:
    """What edgek, containerd and the shims of its pods cost; CPU (share of a core) and writing (bytes per second) over ``SAMPLE_S``."""
    parts = {"edgek": _pids(config.run_dir / "edgek.pid"), "containerd": _pids(config.run_dir / "containerd.pid"), "shims": _shims(config)}
    before = {pid: cost for pids in parts.values() for pid in pids if (cost := _cost(pid))}
    await trio.sleep(SAMPLE_S)
    found = []
    for name, pids in parts.items():
        now = {pid: cost for pid in pids if pid in before and (cost := _cost(pid))}
        if now:
            found.append(
                {
                    "part": name,
                    "processes": len(now),
                    "residentBytes": sum(cost.resident_bytes for cost in now.values()),
                    "anonymousBytes": sum(cost.anonymous_bytes for cost in now.values()),
                    "cpu": round(sum(cost.cpu_s - before[pid].cpu_s for pid, cost in now.items()) / SAMPLE_S, 4),
                    "writtenPerSecond": round(sum(cost.written_bytes - before[pid].written_bytes for pid, cost in now.items()) / SAMPLE_S),
                    "writtenBytes": sum(cost.written_bytes for cost in now.values()),
                }
            )
    return found


def table(cost: Sequence[dict[str, Any]]) -> Table:
    from rich.table import Table

    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("COST", "MEMORY", "OF IT ITS OWN", "CPU", "WRITES", "WRITTEN SINCE START"):
        made.add_column(column, overflow="fold")
    for entry in cost:
        name = entry["part"] if entry["processes"] == 1 else f"{entry['processes']} {entry['part']}"
        memory = [_megabytes(entry["residentBytes"]), _megabytes(entry["anonymousBytes"])]
        made.add_row(name, *memory, f"{entry['cpu']:.1%}", f"{entry['writtenPerSecond'] / 1000:.1f} kB/s", _megabytes(entry["writtenBytes"]))
    return made


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.0f} MB"


def _pids(file: Path) -> list[int]:
    try:
        return [int(file.read_text().split()[0])]
    except (OSError, ValueError, IndexError):
        return []


def _shims(config: Config) -> list[int]:
    """Shims of our containerd: they name its socket."""
    wanted = str(config.runtime_socket).encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it ended meanwhile
        if b"containerd-shim" in words[0] and wanted in words:
            found.append(int(folder.name))
    return found


def _cost(pid: int) -> usage.Cost | None:
    try:
        return usage.of_process(pid)
    except (ProcessLookupError, PermissionError):
        return None
