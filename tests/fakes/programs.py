"""What runs in the containers of ``tests/fakes/runtime.py``: processes that are Python functions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import attrs
import trio

SIGTERMED = 143


@attrs.define
class Process:
    """What a program sees of itself."""

    argv: tuple[str, ...]
    env: dict[str, str]
    stdin: AsyncIterator[bytes] | None
    write: Callable[[int, bytes], Awaitable[None]]  # (1 stdout or 2 stderr, bytes)
    resizes: AsyncIterator[tuple[int, int]] | None = None
    term: trio.Event = attrs.field(factory=trio.Event)  # set by a TERM; a program that does not look at it is killed when its grace is over


Program = Callable[[Process], Awaitable[int]]


async def _forever(process: Process) -> int:
    await process.term.wait()
    return SIGTERMED


async def _stubborn(process: Process) -> int:
    await trio.sleep_forever()
    raise AssertionError("unreachable")


async def _exit(process: Process) -> int:
    await trio.lowlevel.checkpoint()
    return int(process.argv[1])


async def _sleep(process: Process) -> int:
    with trio.move_on_after(float(process.argv[1])):
        await process.term.wait()
        return SIGTERMED
    return 0


async def _echo(process: Process) -> int:
    await process.write(1, " ".join(process.argv[1:]).encode() + b"\n")
    return 0


async def _complain(process: Process) -> int:
    await process.write(2, " ".join(process.argv[1:]).encode() + b"\n")
    return 1


async def _cat(process: Process) -> int:
    if process.stdin is not None:
        async for chunk in process.stdin:
            await process.write(1, chunk)
    return 0


PROGRAMS: dict[str, Program] = {
    "forever": _forever, "stubborn": _stubborn, "exit": _exit, "sleep": _sleep, "echo": _echo, "complain": _complain, "cat": _cat,
}  # fmt: skip
