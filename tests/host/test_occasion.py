"""When to look again: what the kernel tells is heard, and nothing is looked at in between."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from pathlib import Path

import pytest
import trio
import trio.testing

from edgek.host import files, occasion


async def test_a_file_that_is_put_in_place_is_an_occasion_and_is_one_once(tmp_path: Path) -> None:
    with occasion.occasions(tmp_path) as occasions:
        files.write_atomically(tmp_path / "one", "1")
        files.write_atomically(tmp_path / "two", "2")
        with trio.fail_after(20):
            await occasions.wait(60)
        with trio.move_on_after(0.2) as scope:
            await occasions.wait(60)
        assert scope.cancelled_caught
        (tmp_path / "one").unlink()
        with trio.fail_after(20):
            await occasions.wait(60)


async def test_some_time_is_an_occasion_and_so_is_what_a_caller_waits_for(tmp_path: Path) -> None:
    happened = trio.Event()
    with occasion.occasions(tmp_path) as occasions, trio.fail_after(20):
        await occasions.wait(0.05)
        happened.set()
        await occasions.wait(60, happened.wait)


def waiting() -> list[str]:
    """Descriptors of this kind alone: what other tests left to be collected may go at any moment."""
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(f"{descriptor} {os.readlink(f'/proc/self/fd/{descriptor}')}")
    return sorted(each for each in found if "timerfd" in each or "inotify" in each)


async def test_nothing_is_left_open(tmp_path: Path) -> None:
    before = waiting()
    with occasion.occasions(tmp_path):
        assert len(waiting()) == len(before) + 2
    assert waiting() == before


@pytest.mark.root
async def test_a_clock_that_is_set_is_an_occasion_and_is_one_once(tmp_path: Path) -> None:
    with occasion.occasions(tmp_path) as occasions:
        for step in (1, -1):
            with trio.fail_after(20):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(occasions.wait, 60)
                    await trio.testing.wait_all_tasks_blocked()
                    step_clock(step)
            with trio.move_on_after(0.2) as scope:
                await occasions.wait(60)
            assert scope.cancelled_caught


def step_clock(microseconds: int) -> None:
    """The clock is everybody's, and so small a step is nobody's concern; the kernel tells of it as of any other (ADJ_SETOFFSET, adjtimex(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    asked = bytearray(512)
    struct.pack_into("i", asked, 0, 0x0100)
    struct.pack_into("qq", asked, 72, *divmod(microseconds, 1_000_000))  # time, in a struct timex of 64 bits
    if libc.adjtimex((ctypes.c_char * 512).from_buffer(asked)) < 0:
        pytest.skip(f"the clock may not be set here: {os.strerror(ctypes.get_errno())}")
