"""When to look again: what the kernel tells is heard, and nothing is looked at in between. A clock is not set here, for it is everybody's."""

from __future__ import annotations

import os
from pathlib import Path

import trio

from edgek.host import files, occasion


async def test_a_file_that_is_put_in_place_is_an_occasion_and_is_one_once(tmp_path: Path) -> None:
    with occasion.occasions(tmp_path) as occasions:
        files.write_atomically(tmp_path / "one", "1")
        files.write_atomically(tmp_path / "two", "2")
        with trio.fail_after(5):
            await occasions.wait(60)
        with trio.move_on_after(0.2) as scope:
            await occasions.wait(60)
        assert scope.cancelled_caught
        (tmp_path / "one").unlink()
        with trio.fail_after(5):
            await occasions.wait(60)


async def test_some_time_is_an_occasion_and_so_is_what_a_caller_waits_for(tmp_path: Path) -> None:
    happened = trio.Event()
    with occasion.occasions(tmp_path) as occasions, trio.fail_after(5):
        await occasions.wait(0.05)
        happened.set()
        await occasions.wait(60, happened.wait)


async def test_nothing_is_left_open(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    with occasion.occasions(tmp_path):
        assert len(os.listdir("/proc/self/fd")) == len(before) + 2
    assert os.listdir("/proc/self/fd") == before
