"""A process that writes until it is killed, and says what was acknowledged: ``python -m tests.server.store.writer DATABASE``.

Each line it prints is one acknowledged write: verb, resource, name, revision.
"""

from __future__ import annotations

import os
import sys
from itertools import count
from pathlib import Path

import trio

from edgek.server.store.backend import Record
from edgek.server.store.sqlite import SqliteBackend
from tests.server.store.drafts import draft, key

WRITERS = 8
LEASES = "leases.coordination.k8s.io"


async def main(database: Path) -> None:
    async with SqliteBackend.open(database) as store, trio.open_nursery() as nursery:
        for number in range(WRITERS):
            nursery.start_soon(write, store, number)


async def write(store: SqliteBackend, number: int) -> None:
    """Create, update twice, delete every third; now and then a volatile one."""

    def acknowledged(record: Record, verb: str) -> None:
        os.write(1, f"{verb} {record.key.resource} {record.key.name} {record.revision}\n".encode())

    for turn in count():
        where = key(f"{number}-{turn}")
        record = await store.create(where, draft("x" * 3000))
        acknowledged(record, "put")
        for _ in range(2):
            record = await store.update(where, draft("y" * 3000), expected=record.revision)
            acknowledged(record, "put")
        if turn % 3 == 0:
            acknowledged(await store.delete(where, draft(), expected=record.revision), "delete")
        if turn % 5 == 0:
            acknowledged(await store.create(key(f"{number}-{turn}", resource=LEASES), draft()), "put")


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
