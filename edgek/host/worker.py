"""The only place where a thread starts (besides ``rpc.py``, whose library brings its own)."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Protocol, TypeVar

import trio

T = TypeVar("T")
R = TypeVar("R")


class Threads(Protocol):
    """A Worker, or one whose calls run in another network namespace."""

    async def run(self, function: Callable[..., T], *args: object) -> T: ...


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


@asynccontextmanager
async def open_batches(
    name: str,
    work: Callable[[list[T]], R],
    done: Callable[[list[T], R], None],
    *,
    limit: int,
    rest: Callable[[], None] = lambda: None,
) -> AsyncIterator[Callable[[T], None]]:
    """One thread of its own that works off, in order, what it is handed; yields the function that hands an item over and never waits.

    ``work`` runs in the thread, with all that has gathered meanwhile (at most ``limit`` items); ``done`` runs in the event loop with its result,
    batch after batch; ``rest`` runs in the thread whenever nothing more is waiting. Leaving the block waits for the last ``done``. An error of
    ``work`` or ``rest`` ends the thread, cancels the block and is raised from it.
    """
    handed: SimpleQueue[T | _Stop] = SimpleQueue()
    ended = trio.Event()
    broken: list[Exception] = []
    token = trio.lowlevel.current_trio_token()

    def loop() -> None:
        try:
            for batch in _gathered(handed, limit):
                token.run_sync_soon(done, batch, work(batch))
                if handed.empty():
                    rest()
        except trio.RunFinishedError:
            return  # nobody is left to hear of it
        except Exception as error:  # not swallowed: a thread can only print, so the block raises it
            broken.append(error)
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(end)

    def end() -> None:
        ended.set()
        if broken:
            body.cancel()

    with trio.CancelScope() as body:
        threading.Thread(target=loop, name=name, daemon=True).start()
        try:
            yield handed.put
        finally:
            handed.put(_Stop())
            with trio.CancelScope(shield=True):
                await ended.wait()
    if broken:
        raise broken[0]


class _Stop:
    """The last item of a queue."""


def _gathered(handed: SimpleQueue[T | _Stop], limit: int) -> Iterator[list[T]]:
    """All that waits, at most ``limit`` at a time, until a _Stop."""
    stopped = False
    while not stopped:
        batch: list[T] = []
        item = handed.get()
        while not isinstance(item, _Stop):
            batch.append(item)
            if len(batch) == limit:
                break
            try:
                item = handed.get_nowait()
            except Empty:
                break
        stopped = isinstance(item, _Stop)
        if batch:
            yield batch
