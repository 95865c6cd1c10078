"""The file's schema and its versions: ``sqlite_utils`` owns them, in a short child process (``mending.py``), never in a serving one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgek.model import errors
from edgek.server.store.readable import FIRST_REVISION

if TYPE_CHECKING:
    from sqlite_utils import Database


def first(db: Database) -> None:
    """One row per object, replaced at each write: no log, no tombstones, nothing to compact.

    ``id`` is the revision of the object's creation, so new rows go to the end and an update touches one page. The one index serves inspection
    and names what a damaged page held. ``sum`` is ``rows.checksum``: SQLite notices a broken page's structure, never its content.
    """
    columns = {"id": int, "resource": str, "namespace": str, "name": str, "uid": str, "revision": int}
    columns |= {"labels": str, "fields": str, "body": bytes, "sum": int}
    db.table("objects").create(columns, pk="id", not_null=set(columns) - {"id"})
    db.table("objects").create_index(["resource", "namespace", "name"], index_name="objects_place", unique=True)
    # ``reserved``: revisions up to here may have been seen by somebody.
    db.table("counter").insert({"id": 1, "reserved": FIRST_REVISION}, pk="id", not_null={"reserved"})


# In order; a file's user_version is how many of them it has seen. Never change one that was released: add the next.
MIGRATIONS: tuple[Callable[[Database], None], ...] = (first,)
VERSION = len(MIGRATIONS)


def migrate(path: Path) -> None:
    """Bring the file to ``VERSION``, or make it. Raises UsageError for a file of a newer edgek."""
    db = open_file(path)
    db.enable_wal()
    seen = version_of(db.conn)
    if seen > VERSION:
        raise errors.UsageError(
            f"{path} has schema version {seen}, this edgek knows up to {VERSION}: run the newer edgek again, or restore a backup made before it"
        )
    for number, step in enumerate(MIGRATIONS[seen:], seen + 1):
        with db.conn:
            db.conn.execute("BEGIN IMMEDIATE")
            step(db)
            db.conn.execute(f"PRAGMA user_version = {number}")
    db.conn.close()


def open_file(path: Path) -> Database:
    """The file seen through ``sqlite_utils``. Its connection is to be closed."""
    from sqlite_utils import Database

    # Statements begin and end their transactions themselves, so that a migration and its version number land together or not at all.
    return Database(sqlite3.connect(path, isolation_level=None, timeout=10))


def version_of(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
