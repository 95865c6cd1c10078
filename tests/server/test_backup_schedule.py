"""Backups made by the clock: real ones, by real child processes, so real time is short here and the wall clock is moved."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import trio

from edgek.host import wallclock
from edgek.server import backup, backup_schedule
from edgek.server.backup_schedule import Schedule
from tests.server.test_backup import fill

DAY_S = 86400.0


def aged(folder: Path, name: str, days: float) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / f"{backup.PREFIX}{name}{backup.SUFFIX}"
    file.write_text("")
    moment = wallclock.now() - days * DAY_S
    os.utime(file, (moment, moment))
    return file


async def test_the_newest_few_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery) -> None:
    await fill(tmp_path / "server", "a")
    kept = [aged(tmp_path / "backups", name, days) for name, days in (("one", 1.5), ("two", 2.5))]
    gone = [aged(tmp_path / "backups", name, days) for name, days in (("three", 3.5), ("four", 4.5))]
    other = tmp_path / "backups" / "mine.txt"
    other.write_text("")
    monkeypatch.setattr(backup_schedule, "FIRST_S", 0.0)
    nursery.start_soon(backup_schedule.run, tmp_path, Schedule(tmp_path / "backups", DAY_S, 3))
    with trio.fail_after(120):
        while any(file.exists() for file in gone):
            await trio.sleep(0.05)
    assert all(file.exists() for file in [*kept, other])
    last = backup_schedule.newest(tmp_path / "backups")
    assert last is not None
    assert last not in kept
    assert backup.read(last).files


async def test_nothing_happens_before_it_is_due_or_where_it_is_never(tmp_path: Path, autojump_clock: Any, nursery: trio.Nursery) -> None:
    """There is no server to back up: a try would not leave the folder as it is."""
    before = aged(tmp_path / "backups", "one", 0.1)
    start = wallclock.now()
    former = wallclock.use(lambda: start + trio.current_time())
    try:
        nursery.start_soon(backup_schedule.run, tmp_path, Schedule(tmp_path / "backups", DAY_S, 3))
        nursery.start_soon(backup_schedule.run, tmp_path, Schedule(tmp_path / "never", 0, 3))
        await trio.sleep(0.8 * DAY_S)
    finally:
        wallclock.use(former)
    assert list((tmp_path / "backups").iterdir()) == [before]
    assert not (tmp_path / "never").exists()
