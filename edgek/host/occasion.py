"""When to look again at what depends on the calendar: some time has gone by, the clock was set, or something in a folder has changed.

The kernel tells of all three; nothing is looked at in between. That the clock is set (a board that boots in 1970 hears the time) is told by a timer
that is due in the far future and cancelled by that: TFD_TIMER_CANCEL_ON_SET, see timerfd_create(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from edgek.host import watch

SETTLE_S = 0.1  # files change together
_CLOCK_REALTIME = 0
_ABSOLUTE, _CANCEL_ON_SET = 1, 2
_FAR_S = min(1 << 33, (1 << (8 * ctypes.sizeof(ctypes.c_long) - 1)) - 1)  # 2242; on 32 bits as far as they reach


class _Timer(ctypes.Structure):
    """struct itimerspec, which begins with the interval."""

    _fields_ = tuple((name, ctypes.c_long) for name in ("every_s", "every_ns", "at_s", "at_ns"))


class Occasions:
    """``wait`` for the next one. What happened between two waits counts for the second."""

    def __init__(self, timer: int, folder: watch.Folder) -> None:
        self._timer = timer
        self._folder = folder

    async def wait(self, most_s: float, *more: Callable[[], Awaitable[object]]) -> None:
        """Returns after that time at the latest, or when one of ``more`` does."""
        with trio.move_on_after(most_s):
            async with trio.open_nursery() as nursery:

                async def first(happens: Callable[[], Awaitable[object]]) -> None:
                    await happens()
                    nursery.cancel_scope.cancel()

                for happens in (self._clock_is_set, self._folder.__anext__, *more):
                    nursery.start_soon(first, happens)
            await trio.sleep(SETTLE_S)
            self._folder.drain()

    async def _clock_is_set(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._timer)
            try:
                os.read(self._timer, 8)
            except BlockingIOError:
                continue
            except OSError as exc:
                if exc.errno != errno.ECANCELED:
                    raise
                _arm(self._timer)
                return
            await trio.sleep_forever()  # the far future is here: this timer tells nothing any more


@contextmanager
def occasions(folder: Path) -> Iterator[Occasions]:
    """Changes in the folder are files that were put in place, or deleted. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    timer = libc.timerfd_create(_CLOCK_REALTIME, os.O_NONBLOCK | os.O_CLOEXEC)
    if timer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    try:
        _arm(timer)
        with watch.folder(folder, watch.MOVED_IN | watch.DELETED) as changes:
            yield Occasions(timer, changes)
    finally:
        os.close(timer)


def _arm(timer: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    due = _Timer(0, 0, _FAR_S, 0)
    if libc.timerfd_settime(timer, _ABSOLUTE | _CANCEL_ON_SET, ctypes.byref(due), None):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
