"""The only place where a thread starts (besides ``rpc.py``, whose library brings its own)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

T = TypeVar("T")


class Worker:
    """Runs blocking calls in threads, at most ``limit`` at once, so that one slow gateway cannot starve another."""

    def __init__(self, limit: int) -> None:
        self._limiter = trio.CapacityLimiter(limit)

    async def run(self, function: Callable[..., T], *args: object, abandon: bool = False) -> T:
        """The function's result. With ``abandon`` a cancelled caller leaves the thread behind to finish alone."""
        return await trio.to_thread.run_sync(function, *args, limiter=self._limiter, abandon_on_cancel=abandon)


class InLine:
    """A Worker that runs everything in the event loop: for tests on a virtual clock, which does not wait for threads."""

    async def run(self, function: Callable[..., T], *args: object, abandon: bool = False) -> T:
        await trio.lowlevel.checkpoint()
        return function(*args)
