"""The file: one SQLite database that holds the current objects. Everything here blocks, and runs in one thread at a time.

Nothing is decided here. ``sqlite.py`` hands over changes in the order it decided them, and each statement carries the revision it replaces, so
that what rests on a failed change fails as well. ``schema.py`` says how the file is laid out.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import attrs

from edgek.model import errors
from edgek.server.store.rows import DELETE, INSERT, SELECT, UPDATE, UPSERT, Damaged, Reader, Row, Unreadable, state, whole
from edgek.server.store.schema import VERSION

# Revisions. They are promised in blocks of this size, so that handing one out rarely writes: a lease every ten seconds takes eleven days for one.
BLOCK = 100_000
# Bytes of log after which a quiet moment is used to move it into the file. Pages written again and again are moved once, so more is kinder to
# flash; but a write that comes meanwhile waits, and an SD card with 500 writes a second takes half a second for these.
CHECKPOINT_BYTES = 1 << 20
# Pages (8 MB) after which SQLite itself does so within a commit, should there be no quiet moment. It never waits for readers.
CHECKPOINT_AT_LAST = 2048
PAGE_BYTES = 4096
# A page image and its frame header in the log, and now and then a page of the index.
LOG_BYTES_PER_CHANGE = 2 * PAGE_BYTES


@attrs.frozen(eq=False)
class Change:
    """One row to be written, or removed when ``row`` is None. ``replaces`` is the revision it was decided against (0: there was no row).

    ``riders`` are volatile rows, by id, that make use of the transaction (None: removed); the change does not depend on them.
    ``last`` asks for the exact ``revision`` to be noted instead of a block: nothing comes after it.
    """

    id: int
    revision: int
    row: Row | None = None
    replaces: int = 0
    statement: bool = True
    riders: Mapping[int, Row | None] = {}
    last: bool = False


@attrs.frozen
class Outcome:
    """What became of a batch: errors by the index of their change. ``reserved`` is the revision promised up to.

    ``stranded`` are the changes whose riders did not all get through.
    """

    reserved: int
    failed: Mapping[int, errors.ApiError] = {}
    stranded: Container[int] = ()


@attrs.frozen
class Loaded:
    """``reserved`` is a revision that nothing seen before a crash exceeded."""

    rows: Sequence[Row]
    reserved: int


class OutdatedSchema(Exception):
    """The file is new, or of an older edgek."""


class Disk:
    """One open file. ``max_bytes`` bounds its size (0: the disk does)."""

    def __init__(self, path: Path, *, max_bytes: int = 0) -> None:
        """Raises OutdatedSchema, Damaged, and UsageError when the path cannot be used."""
        self.path = path
        self._reserved = 0
        self._logged_bytes = 0
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=16)
        except sqlite3.Error as error:
            raise _open_error(path, error) from error
        try:
            self._prepare(max_bytes)
        except sqlite3.Error as error:
            self._db.close()
            raise _open_error(path, error) from error
        except OutdatedSchema:
            self._db.close()
            raise

    def _prepare(self, max_bytes: int) -> None:
        if self._db.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            raise OutdatedSchema
        self._db.execute("PRAGMA journal_mode = WAL")  # it is, but for a copy made by VACUUM INTO
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_AT_LAST}")
        self._db.execute("PRAGMA cache_size = -512")  # KiB. Reads never come here: only pages about to be changed
        if max_bytes:
            self._db.execute(f"PRAGMA max_page_count = {max_bytes // PAGE_BYTES}")

    def load(self) -> Loaded:
        """Every row, checked against its sum. This reads each page once, so it is the check of the file as well. Raises Damaged."""
        read = Reader().row
        try:
            # The cursor is closed whatever happens: an open one would keep the file open beyond ``close``, while a salvage replaces it.
            with closing(self._db.execute(SELECT + " ORDER BY resource, namespace, name")) as cursor:
                rows = [read(values) for values in cursor]
            self._reserved = self._db.execute("SELECT reserved FROM counter").fetchone()[0]
            listed = self._db.execute("SELECT count(*) FROM objects NOT INDEXED").fetchone()[0]
        except (sqlite3.DatabaseError, ValueError, TypeError) as error:
            raise Damaged(str(error)) from error
        if listed != len(rows):
            raise Damaged(f"the index knows {len(rows)} of {listed} rows")
        return Loaded(rows, self._reserved)

    def write(self, changes: Sequence[Change]) -> Outcome:
        """Make all of them durable with one transaction. Whatever cannot be written is named in the outcome; nothing is raised for it."""
        failed: dict[int, errors.ApiError] = {}
        stranded: set[int] = set()
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for index, change in enumerate(changes):
                if (error := self._attempt(self._apply, change)) is not None:
                    failed[index] = write_error(self.path, error)
                if change.riders and self._attempt(self._carry, change) is not None:
                    stranded.add(index)
            reserved = self._reserve(changes[-1])
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            everyone = range(len(changes))
            return Outcome(self._reserved, dict.fromkeys(everyone, write_error(self.path, error)), everyone)
        self._reserved = reserved
        self._logged_bytes += sum(map(_log_bytes, changes))
        return Outcome(reserved, failed, stranded)

    def rest(self) -> None:
        """Nothing is waiting: a good moment to move the log into the file. PASSIVE takes what it can get and waits for nobody."""
        if self._logged_bytes < CHECKPOINT_BYTES:
            return
        self._logged_bytes = 0
        try:
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error:
            return  # the next commit meets the same disk and tells its caller

    def close(self) -> None:
        self._db.close()

    def _attempt(self, step: Callable[[Change], None], change: Change) -> sqlite3.Error | None:
        """Run one step; its error, unless that took the whole transaction with it."""
        try:
            step(change)
        except sqlite3.Error as error:
            if not self._db.in_transaction:
                raise
            return error
        return None

    def _apply(self, change: Change) -> None:
        if not change.statement:
            return
        row = change.row
        if row is None:
            done = self._db.execute(DELETE, (change.id, change.replaces))
        elif change.replaces:
            done = self._db.execute(UPDATE, (*state(row), change.id, change.replaces))
        else:
            done = self._db.execute(INSERT, whole(row))
        if done.rowcount != 1:
            raise sqlite3.IntegrityError("a write that this one rested on was not written")

    def _carry(self, change: Change) -> None:
        removed = [(id_,) for id_, row in change.riders.items() if row is None]
        self._db.executemany("DELETE FROM objects WHERE id = ?", removed)  # first: a name may have been given anew
        self._db.executemany(UPSERT, [whole(row) for row in change.riders.values() if row])

    def _reserve(self, last: Change) -> int:
        """The block is topped up with any batch once half of it is gone, so that volatile writes seldom need a batch of their own."""
        if last.last:
            reserved = last.revision
        elif last.revision > self._reserved - BLOCK // 2:
            reserved = last.revision + BLOCK
        else:
            return self._reserved
        self._db.execute("UPDATE counter SET reserved = ?", (reserved,))
        return reserved

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            try:
                self._db.execute("ROLLBACK")
            except sqlite3.Error:
                return  # SQLite has rolled back by itself


def lock(path: Path) -> int:
    """Be the only edgek on this file for as long as the descriptor is open. Raises UsageError when another one is."""
    beside = path.with_name(path.name + ".lock")
    descriptor = os.open(beside, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise errors.UsageError(f"another edgek is running on {path}: stop it first, or use another --data-dir") from None
    return descriptor


def write_error(path: Path, error: sqlite3.Error) -> errors.ServiceUnavailable:
    """What the caller of a write is told when the disk would not have it: the file, and the way out."""
    name = getattr(error, "sqlite_errorname", "")
    if name == "SQLITE_FULL":
        help_ = f"free some space on the disk of {path.parent} and try again"
    elif name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        help_ = "restart edgek: it saves what can be read and names what cannot"
    elif name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY")):
        help_ = "look at the disk (dmesg, mount), then try again"
    else:
        help_ = "try again"
    return errors.ServiceUnavailable(f"the write did not reach {path}: {error}; {help_}. What was written before is safe and can be read")


def _open_error(path: Path, error: sqlite3.Error) -> Exception:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_CORRUPT"):
        return Damaged(str(error))
    if name == "SQLITE_NOTADB":
        return Unreadable(f"{path} is no readable database: put a backup in its place, or move it away to begin with an empty cluster")
    return errors.UsageError(f"cannot open {path}: {error}; look at the folder's owner and at the disk")


def _log_bytes(change: Change) -> int:
    return LOG_BYTES_PER_CHANGE + (len(change.row.body) if change.row else 0) + len(change.riders) * PAGE_BYTES
