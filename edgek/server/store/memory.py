"""The store in memory: the readable specification of ``Backend``, and what tests and simulations run on.

Nothing lasts, so every write is durable as soon as it is decided. Read this first; ``sqlite.py`` keeps the same promises with a disk in between.
"""

from __future__ import annotations

import trio

from edgek.server.store import refusal
from edgek.server.store.backend import Draft, Event, EventType, Key, Record
from edgek.server.store.readable import FIRST_REVISION, Readable
from edgek.server.store.record import lasting, write_down
from edgek.server.store.window import Window


class MemoryBackend(Readable):
    """``revision`` is where counting begins: a test of a restart hands over the former one."""

    def __init__(self, revision: int = FIRST_REVISION, *, window: Window | None = None) -> None:
        super().__init__(revision, window)

    async def create(self, key: Key, draft: Draft) -> Record:
        if self.get(key) is not None:
            raise refusal.already_exists(key)
        return await self._commit("ADDED", key, draft, None)

    async def update(self, key: Key, draft: Draft, *, expected: int) -> Record:
        return await self._commit("MODIFIED", key, draft, self._current(key, expected))

    async def delete(self, key: Key, draft: Draft, *, expected: int) -> Record:
        return await self._commit("DELETED", key, draft, self._current(key, expected))

    def _current(self, key: Key, expected: int) -> Record:
        current = self.get(key)
        if current is None:
            raise refusal.not_found(key)
        if current.revision != expected:
            raise refusal.conflict(key)
        return current

    async def _commit(self, type_: EventType, key: Key, draft: Draft, previous: Record | None) -> Record:
        record = Record(previous.key if previous else lasting(key), *write_down(draft, self.revision + 1, previous))
        self.publish([Event(type_, record, previous)])
        await trio.lowlevel.cancel_shielded_checkpoint()  # it is done: the caller must hear so even when cancelled
        return record
