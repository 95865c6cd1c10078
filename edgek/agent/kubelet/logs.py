"""Reading a container's log: the runtime's lines turned back into what the container wrote, from the end or from a time, and as it grows.

The format is CRI's (``<RFC 3339 time> <stream> <P|F> <text>``); a ``P`` line goes on in the next one.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import attrs
import trio

from edgek.client.node import LogOptions
from edgek.host import wallclock, watch

BLOCK = 64 << 10  # bytes read at once; a chunk of an answer is at most about this long


@attrs.define
class Formatter:
    """Turns lines of the log file into what ``kubectl logs`` prints, one after another."""

    options: LogOptions
    left: int | None = attrs.field(init=False)
    _continues: dict[bytes, bool] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.left = self.options.limit_bytes

    @property
    def full(self) -> bool:
        return self.left is not None and self.left <= 0

    def line(self, raw: bytes) -> bytes:
        """Empty for a line that is left out. A line that is not CRI's is left out, too: the runtime wrote it while it died."""
        parts = raw.split(b" ", 3)
        if len(parts) < 4:
            return b""
        stamp, stream, tag, text = parts
        if self.options.stream != "All" and stream.decode() != self.options.stream.lower():
            return b""
        if self.options.since is not None and _time(stamp) < self.options.since:
            return b""
        if self.options.timestamps and not self._continues.get(stream):
            text = stamp + b" " + text
        partial = tag.split(b":")[0] == b"P"
        self._continues[stream] = partial
        text += b"" if partial else b"\n"
        if self.left is not None:
            text = text[: max(self.left, 0)]
            self.left -= len(text)
        return text


def _time(stamp: bytes) -> float:
    text = stamp.decode(errors="replace")
    head, dot, rest = text.partition(".")
    zone = len(rest.rstrip("0123456789")) if dot else 0
    digits = rest[: len(rest) - zone] if dot else ""
    try:
        return wallclock.parse(f"{head}.{digits[:6]:0<6}{rest[len(digits) :]}" if dot else text)
    except ValueError:
        return float("inf")


def tail_offset(file: BinaryIO, lines: int) -> int:
    """Where the last ``lines`` lines begin. A line without an end counts."""
    size = at = file.seek(0, os.SEEK_END)
    if lines <= 0:
        return size
    wanted = lines
    while at > 0:
        step = min(BLOCK, at)
        at -= step
        file.seek(at)
        block = file.read(step)
        end = len(block) - (1 if at + step == size and block.endswith(b"\n") else 0)
        while (found := block.rfind(b"\n", 0, end)) >= 0:
            wanted -= 1
            if wanted == 0:
                return at + found + 1
            end = found
    return 0


async def read(path: Path, options: LogOptions, running: Callable[[], bool], changed: Callable[[], trio.Event]) -> AsyncGenerator[bytes, None]:
    """The log's text. With ``follow`` until the container is over; ``changed`` gives an event that is set when ``running`` may answer anew."""
    formatter = Formatter(options)
    file: BinaryIO = path.open("rb")
    try:
        start = 0 if options.tail_lines is None else tail_offset(file, options.tail_lines)
        file.seek(start)
        while True:
            over = not options.follow or not running()
            for chunk in _format(file, formatter):
                yield chunk
            if formatter.full or over:
                return
            fresh = _rotated(path, file)
            if fresh is not None:
                file.close()
                file = fresh
                continue
            await _growth(path, file, changed())
    finally:
        file.close()


def _format(file: BinaryIO, formatter: Formatter) -> Iterator[bytes]:
    """What can be read now, in pieces; an unfinished line stays in the file."""
    chunk = b""
    while not formatter.full:
        raw = file.readline()
        if not raw.endswith(b"\n"):
            file.seek(-len(raw), os.SEEK_CUR)
            break
        chunk += formatter.line(raw[:-1])
        if len(chunk) >= BLOCK:
            yield chunk
            chunk = b""
    if chunk:
        yield chunk


def _rotated(path: Path, file: BinaryIO) -> BinaryIO | None:
    """The new file, where the old one was moved away and is read to its end."""
    try:
        now = path.stat()
    except OSError:
        return None
    return None if now.st_ino == os.fstat(file.fileno()).st_ino else path.open("rb")


async def _growth(path: Path, file: BinaryIO, changed: trio.Event) -> None:
    """Return when the file grew, was rotated, or something else changed."""
    async with trio.open_nursery() as nursery:

        async def until_changed() -> None:
            await changed.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(until_changed)
        with watch.folder(path.parent, watch.MODIFIED | watch.CREATED | watch.MOVED_IN) as changes:
            if os.fstat(file.fileno()).st_size == file.tell() and _rotated(path, file) is None:
                async for change in changes:
                    if change.missed or change.name == path.name:
                        break
        nursery.cancel_scope.cancel()
