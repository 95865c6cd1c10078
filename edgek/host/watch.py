"""Hear of changes in folders from the kernel (inotify), without looking again and again."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import attrs
import trio

MODIFIED, CLOSED, MOVED_IN, CREATED, DELETED, MOVED_OUT = 0x2, 0x8, 0x80, 0x100, 0x200, 0x40
ITSELF_GONE = 0x400 | 0x800  # the folder was deleted or moved: a change without a name
_OVERFLOW = 0x4000
_HEADER = struct.Struct("iIII")
_BUFFER_BYTES = 64 * 1024


@attrs.frozen
class Change:
    """Something about ``name`` in the folder; an empty name with ``missed`` says that changes were lost: look at all."""

    name: str
    missed: bool = False


class Folder:
    """``async for change in folder`` tells of changes since it was opened."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting: list[Change] = []

    def __aiter__(self) -> Folder:
        return self

    def drain(self) -> None:
        """What has happened so far is known."""
        self._waiting.clear()
        with contextlib.suppress(BlockingIOError):
            while os.read(self._descriptor, _BUFFER_BYTES):
                pass

    async def __anext__(self) -> Change:
        while not self._waiting:
            await trio.lowlevel.wait_readable(self._descriptor)
            with contextlib.suppress(BlockingIOError):
                self._waiting = _parse(os.read(self._descriptor, _BUFFER_BYTES))
        return self._waiting.pop(0)


@contextlib.contextmanager
def folder(path: Path, mask: int = CLOSED | MOVED_IN) -> Iterator[Folder]:
    """Watch a folder (or one file: then names are empty). Raises OSError when there is none."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "no more inotify instances; raise fs.inotify.max_user_instances")
    try:
        if libc.inotify_add_watch(descriptor, os.fsencode(path), mask) < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))
        yield Folder(descriptor)
    finally:
        os.close(descriptor)


def _parse(buffer: bytes) -> list[Change]:
    changes, at = [], 0
    while at < len(buffer):
        _, mask, _, length = _HEADER.unpack_from(buffer, at)
        at += _HEADER.size
        name = os.fsdecode(buffer[at : at + length].rstrip(b"\0"))
        at += length
        changes.append(Change(name, missed=bool(mask & _OVERFLOW)))
    return changes
