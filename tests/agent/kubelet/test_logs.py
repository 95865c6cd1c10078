from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from edgek.agent.kubelet import logs
from edgek.client.node import LogOptions
from edgek.host import wallclock

LINES = [
    "2026-11-20T10:00:00.000000001Z stdout F one",
    "2026-11-20T10:00:01.5Z stderr F two",
    "2026-11-20T10:00:02Z stdout P thr",
    "2026-11-20T10:00:02Z stdout F ee",
    "2026-11-20T10:00:03Z stdout F ",
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "0.log"
    found.write_text("\n".join(LINES) + "\n")
    return found


async def text(path: Path, **options: object) -> str:
    never = trio.Event()
    read = logs.read(path, LogOptions(**options), lambda: False, lambda: never)  # type: ignore[arg-type]  # names are checked by attrs
    return b"".join([chunk async for chunk in read]).decode()


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, "one\ntwo\nthree\n\n"),
        ({"stream": "Stderr"}, "two\n"),
        ({"tail_lines": 1}, "\n"),
        ({"tail_lines": 0}, ""),
        ({"tail_lines": 4}, "two\nthree\n\n"),
        ({"tail_lines": 99}, "one\ntwo\nthree\n\n"),
        ({"limit_bytes": 6}, "one\ntw"),
        ({"since": wallclock.parse("2026-11-20T10:00:02Z")}, "three\n\n"),
        ({"since": wallclock.parse("2026-11-20T10:00:01Z")}, "two\nthree\n\n"),
        ({"timestamps": True, "tail_lines": 3}, "2026-11-20T10:00:02Z three\n2026-11-20T10:00:03Z \n"),
    ],
)
async def test_what_is_printed(file: Path, options: dict[str, object], wanted: str) -> None:
    assert await text(file, **options) == wanted


async def test_lines_that_are_no_log_lines_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "l").write_text("garbage\n" + LINES[0] + "\nunfinished")
    assert await text(tmp_path / "l") == "one\n"


async def test_a_long_log_comes_in_pieces_and_its_tail_is_found(tmp_path: Path) -> None:
    many = tmp_path / "l"
    many.write_text("".join(f"2026-11-20T10:00:00Z stdout F line {number:06d} {'x' * 50}\n" for number in range(20_000)))
    assert (await text(many, tail_lines=2)).split("\n")[0].startswith("line 019998")
    never = trio.Event()
    chunks = [chunk async for chunk in logs.read(many, LogOptions(), lambda: False, lambda: never)]
    assert len(chunks) > 10
    assert b"".join(chunks).count(b"\n") == 20_000


async def test_following_sees_growth_rotation_and_the_end(file: Path) -> None:
    alive, changed, got = True, trio.Event(), []
    seen = trio.Event()

    async def follow() -> None:
        async for chunk in logs.read(file, LogOptions(follow=True, tail_lines=0), lambda: alive, lambda: changed):
            got.append(chunk)
            seen.set()

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            for turn in ("grow", "rotate", "end"):
                await trio.testing.wait_all_tasks_blocked()
                seen = trio.Event()
                write(file, turn, rotate=turn == "rotate")
                if turn == "end":
                    alive = False
                    changed.set()
                else:
                    await seen.wait()
    assert b"".join(got) == b"grow\nrotate\nend\n"


def write(file: Path, text: str, *, rotate: bool) -> None:
    if rotate:
        file.rename(file.with_suffix(".old"))
    with file.open("a") as log:
        log.write(f"2026-11-20T10:00:09Z stdout F {text}\n")
