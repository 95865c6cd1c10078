"""Backups that nobody has to think of: one file every so often, the newest few kept.

Each is made by a short child process, beside the running server, so that its memory is gone afterwards.
"""

from __future__ import annotations

from pathlib import Path

import attrs
import trio

from edgek.host import log, process, wallclock
from edgek.server import backup

FIRST_S = 300.0  # after a start: not while pods start, too
AGAIN_S = 3600.0  # after one that failed
TIMEOUT_S = 900.0


@attrs.frozen
class Schedule:
    """Every ``every_s`` seconds (0: never) a file in ``folder``, of which the newest ``keep`` stay."""

    folder: Path
    every_s: float
    keep: int


async def run(data_dir: Path, schedule: Schedule, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    task_status.started()
    if not schedule.every_s:
        return
    pause_s = FIRST_S
    while True:
        await trio.sleep(max(pause_s, _due_in(schedule)))
        pause_s = 0.0 if await _make(data_dir, schedule) else AGAIN_S


def newest(folder: Path) -> Path | None:
    """The last good backup."""
    return max(_all(folder), key=_made, default=None)


async def _make(data_dir: Path, schedule: Schedule) -> bool:
    wanted = backup.new_file(schedule.folder)
    try:
        done = await process.run(process.ourselves("backup", "--data-dir", data_dir, wanted), timeout_s=TIMEOUT_S, env=process.our_environment())
    except (OSError, trio.TooSlowError) as exc:
        log.error("no backup was made", file=wanted, error=exc, retry_s=AGAIN_S)
        return False
    if done.returncode:
        log.error("no backup was made", file=wanted, error=done.stderr.decode(errors="replace").strip(), retry_s=AGAIN_S)
        return False
    for old in sorted(_all(schedule.folder), key=_made)[: -schedule.keep]:
        old.unlink()
    return True


def _due_in(schedule: Schedule) -> float:
    last = newest(schedule.folder)
    return _made(last) + schedule.every_s - wallclock.now() if last else 0.0


def _all(folder: Path) -> list[Path]:
    return list(folder.glob(f"{backup.PREFIX}*{backup.SUFFIX}"))


def _made(file: Path) -> float:
    return file.stat().st_mtime
