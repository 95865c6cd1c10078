"""The store that lasts: decided in memory, written in groups by one thread, readable once it is on the disk.

A write goes four ways: it is *decided* against everything decided before it (``_ahead``), it *waits* in the writer's queue, it is *settled* by
the outcome of its batch, and it is *published* when all before it are settled as well. So revisions appear in order and without looking back,
and a reader never sees what a power cut could take away.

Queues: the writer's (one item per caller that waits, at most MAX_WAITING; then 503) and ``_line``, the same writes in order of revision.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from edgek.host import log
from edgek.host.worker import Worker, open_batches
from edgek.model import errors, kinds
from edgek.server.store import opening, refusal
from edgek.server.store.backend import Draft, Event, EventType, Key, Record
from edgek.server.store.disk import Change, Loaded, Outcome
from edgek.server.store.readable import Readable
from edgek.server.store.record import lasting, write_down
from edgek.server.store.rows import Row

# Changes in one transaction. 64 callers fill a quarter of it; beyond 256 the callers at its head only wait longer.
BATCH = 256
# Writes that wait for the disk. Requests are limited long before; this stops a dead disk from collecting bodies.
MAX_WAITING = 4096
# Seconds. Volatile objects ride along with a batch at most this often: each costs a page of flash, and a crash may cost a minute of them.
RIDE_EVERY_S = 60.0
# Objects. From here on a full pass of the garbage collector would be felt, so what was loaded is set aside from it.
FREEZE_FROM = 1000

Place = tuple[str, str, str]


class _Write:
    """One decided write on its way. ``base`` is the write it was decided against, when that one was still on its way too."""

    __slots__ = ("base", "change", "done", "error", "event", "is_settled")

    def __init__(self, event: Event, change: Change, base: _Write | None) -> None:
        self.event = event
        self.change = change
        self.base = base
        self.is_settled = False
        self.error: errors.ApiError | None = None
        self.done = trio.Event()

    @property
    def left(self) -> Record | None:
        """What is there after it."""
        return None if self.event.type == "DELETED" else self.event.record

    async def landed(self) -> bool:
        """Wait until it can be read; whether it can."""
        await self.done.wait()
        return self.error is None


class SqliteBackend(Readable):
    """Made by ``open``. Writes raise ``errors.ServiceUnavailable`` when the disk will not have them; reads go on.

    A cancelled caller of a write does not know whether it was made, as with any server that did not answer.
    """

    def __init__(self, path: Path, loaded: Loaded) -> None:
        # Nobody saw a revision beyond the reserved ones: counting goes on behind them, and what clients know from before is history.
        super().__init__(loaded.reserved)
        self._path = path
        self._loaded_at = loaded.reserved
        self._taken = loaded.reserved
        self._reserved = loaded.reserved
        self._hand_over: Callable[[Change], None] | None = None  # None: not open
        self._line: deque[_Write] = deque()
        self._handed: dict[int, _Write] = {}  # those the thread has, by revision
        self._ahead: dict[Place, _Write] = {}  # the last decided of each object
        self._unwritten: dict[int, Row | None] = {}  # volatile rows that differ from the disk's, by id
        self._on_disk = {row.id for row in loaded.rows if row.key.resource in kinds.VOLATILE}
        self._next_ride = 0.0
        self._is_failing = False
        self._shelve(loaded.rows)

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path, *, max_bytes: int = 0) -> AsyncIterator[SqliteBackend]:
        """The store in this file, which is made, brought up to date or salvaged as need be. ``max_bytes`` bounds its size (0: the disk does).

        Raises UsageError when another process runs on it or it cannot be read at all. Leaving the block writes what is still on its way.
        """
        worker = Worker(1)
        async with opening.opened(path, max_bytes=max_bytes, worker=worker) as (disk, loaded):
            store = cls(path, loaded)
            if len(loaded.rows) >= FREEZE_FROM:
                gc.freeze()
            try:
                async with open_batches("store", disk.write, store._settle, limit=BATCH, rest=disk.rest) as hand_over:
                    store._hand_over = hand_over
                    store._next_ride = trio.current_time() + RIDE_EVERY_S
                    try:
                        yield store
                    finally:
                        store._hand_over = None
            finally:
                if (last := store._last()) is not None:
                    with trio.CancelScope(shield=True):
                        outcome = await worker.run(disk.write, [last])
                    store._report(outcome)

    async def create(self, key: Key, draft: Draft) -> Record:
        while True:
            current, ahead = self._latest(key)
            if current is None:
                return await self._write("ADDED", key, draft, None, ahead)
            if ahead is None or await ahead.landed():
                raise refusal.already_exists(key)

    async def update(self, key: Key, draft: Draft, *, expected: int) -> Record:
        current, ahead = await self._expect(key, expected)
        return await self._write("MODIFIED", key, draft, current, ahead)

    async def delete(self, key: Key, draft: Draft, *, expected: int) -> Record:
        current, ahead = await self._expect(key, expected)
        return await self._write("DELETED", key, draft, current, ahead)

    async def _expect(self, key: Key, expected: int) -> tuple[Row, _Write | None]:
        """The object at this revision. A refusal waits until what it rests on can be read, or is decided again when that failed.

        Does not wait when it succeeds, so that writes are decided in the order of their calls.
        """
        while True:
            current, ahead = self._latest(key)
            if current is not None and current.revision == expected:
                return current, ahead
            if ahead is None or await ahead.landed():
                raise refusal.not_found(key) if current is None else refusal.conflict(key)

    def _latest(self, key: Key) -> tuple[Row | None, _Write | None]:
        """The object as decided so far, and the write that made it so when that is still on its way."""
        ahead = self._ahead.get((key.resource, key.namespace, key.name))
        current = ahead.left if ahead else self.get(key)
        assert current is None or isinstance(current, Row)
        return current, ahead

    async def _write(self, type_: EventType, key: Key, draft: Draft, previous: Row | None, ahead: _Write | None) -> Record:
        hand_over = self._ready()
        revision = self._taken + 1
        row = Row(previous.key if previous else lasting(key), *write_down(draft, revision, previous), previous.id if previous else revision)
        self._taken = revision
        is_volatile = row.key.resource in kinds.VOLATILE
        change = Change(
            row.id,
            revision,
            None if type_ == "DELETED" else row,
            previous.revision if previous else 0,
            statement=not is_volatile,
            riders={} if is_volatile else self._board(),
        )
        write = _Write(Event(type_, row, previous), change, ahead)
        self._line.append(write)
        self._ahead[_place(row.key)] = write
        if is_volatile and revision <= self._reserved:
            write.is_settled = True
            self._advance()
        else:
            self._handed[revision] = write
            hand_over(change)
        if write.done.is_set():
            await trio.lowlevel.cancel_shielded_checkpoint()
        else:
            await write.done.wait()
        if write.error is not None:
            raise write.error
        return row

    def _ready(self) -> Callable[[Change], None]:
        if self._hand_over is None:
            raise errors.ServiceUnavailable("the store is closed: edgek is stopping")
        if len(self._line) >= MAX_WAITING:
            raise errors.TooManyRequests(f"{MAX_WAITING} writes are waiting for the disk; try again", retry_after_s=1)
        return self._hand_over

    def _settle(self, changes: list[Change], outcome: Outcome) -> None:
        """A batch is on the disk, or failed. Runs in the event loop."""
        self._reserved = outcome.reserved
        for index, change in enumerate(changes):
            write = self._handed.pop(change.revision)
            write.is_settled = True
            write.error = outcome.failed.get(index)
            if index in outcome.stranded:
                self._unwritten = {**change.riders, **self._unwritten}
        self._advance()
        self._report(outcome)

    def _advance(self) -> None:
        """Publish the settled ones at the head of the line, and let their callers go on."""
        finished: list[_Write] = []
        while self._line and self._line[0].is_settled:
            write = self._line.popleft()
            if write.base is not None and write.error is None:
                write.error = write.base.error  # only volatile ones come here: others were refused by their statement
            write.base = None
            place = _place(write.event.record.key)
            if self._ahead.get(place) is write:
                del self._ahead[place]
            if write.error is None and not write.change.statement:
                self._keep_volatile(write.change)
            finished.append(write)
        self.publish([write.event for write in finished if write.error is None])
        for write in finished:
            write.done.set()

    def _keep_volatile(self, change: Change) -> None:
        if change.row is None and change.id not in self._on_disk:
            self._unwritten.pop(change.id, None)  # it came and went without the disk
        else:
            self._unwritten[change.id] = change.row

    def _board(self) -> dict[int, Row | None]:
        """The volatile rows that ride along with a durable write: none, for most of them."""
        now = trio.current_time()
        if not self._unwritten or now < self._next_ride:
            return {}
        self._next_ride = now + RIDE_EVERY_S
        return self._unload()

    def _unload(self) -> dict[int, Row | None]:
        riders, self._unwritten = self._unwritten, {}
        self._on_disk.update(riders)
        self._on_disk.difference_update(id_ for id_, row in riders.items() if row is None)
        return riders

    def _last(self) -> Change | None:
        """What an orderly end writes: the volatile rows, and the exact revision, so that clients resume where they were."""
        if self._taken == self._loaded_at:
            return None
        return Change(0, self._taken, statement=False, riders=self._unload(), last=True)

    def _report(self, outcome: Outcome) -> None:
        """One line when the disk begins to refuse writes, one when it takes them again."""
        if outcome.failed and not self._is_failing:
            log.error("store cannot write", file=self._path, error=next(iter(outcome.failed.values())))
        elif self._is_failing and not outcome.failed:
            log.info("store writes again", file=self._path)
        self._is_failing = bool(outcome.failed)


def _place(key: Key) -> Place:
    return key.resource, key.namespace, key.name
