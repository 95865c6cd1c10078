"""Looking after the file, for an operator's commands: count, check, copy, compact, put a copy back.

Nothing here runs in a serving process. Counting, checking and copying may be done beside one; the others take its lock and are refused while
one runs.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgek.host import files
from edgek.model import errors
from edgek.server.store import salvage, schema
from edgek.server.store.disk import BLOCK, lock

if TYPE_CHECKING:
    from sqlite_utils import Database


def check(path: Path) -> list[str]:
    """What SQLite's full check finds wrong; nothing when all is well. Reads the whole file."""
    with _opened(path) as db:
        try:
            found = [str(row[0]) for row in db.execute("PRAGMA integrity_check").fetchall()]
        except sqlite3.DatabaseError as error:
            if not error.sqlite_errorname.startswith("SQLITE_CORRUPT"):
                raise
            return [str(error)]  # so bad that the check itself stumbles over it
    return [] if found == ["ok"] else found


def counts(path: Path) -> dict[str, Any]:
    """``resources`` (objects and bytes of each), ``reserved`` revision, ``version`` of the schema, ``file_bytes`` and ``log_bytes``."""
    sql = "SELECT resource, count(*) AS objects, sum(length(body)) AS bytes FROM objects GROUP BY resource ORDER BY resource"
    log = path.with_name(path.name + "-wal")
    with _opened(path) as db:
        return {
            "resources": list(db.query(sql)),
            "reserved": db.execute("SELECT reserved FROM counter").fetchone()[0],
            "version": schema.version_of(db.conn),
            "file_bytes": path.stat().st_size,
            "log_bytes": log.stat().st_size if log.exists() else 0,
        }


def bodies(path: Path, resource: str) -> list[bytes]:
    """The JSON of all objects of a resource, as they lie in the file."""
    with _opened(path) as db:
        return [bytes(row[0]) for row in db.execute("SELECT body FROM objects WHERE resource = ? ORDER BY id", [resource])]


def backup(path: Path, target: Path) -> None:
    """A consistent copy that can be opened as it is. The target appears whole or not at all."""
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_CREAT | os.O_WRONLY, 0o600))  # it holds every Secret, and SQLite keeps the mode of an empty file
    with _opened(path) as db:
        db.execute("VACUUM INTO ?", [str(part)])
    files.sync(part)
    part.rename(target)
    files.sync(target.parent)


def compact(path: Path) -> None:
    """Give free pages back to the file system; rewrites the whole file. Raises UsageError while a server runs on it."""
    with _locked(path), _opened(path) as db:
        db.vacuum()


def restore(path: Path, source: Path) -> None:
    """Put a backup in the file's place; the file stays beside it as after a salvage. Raises UsageError for a running server or a bad backup.

    Counting goes on behind what either of them promised, so that no client takes the restored objects for newer or older ones of its own.
    """
    if problems := check(source):
        raise errors.UsageError(f"{source} is damaged ({problems[0]}): take another backup")
    with _locked(path):
        part = path.with_name(path.name + ".part")
        shutil.copyfile(source, part)
        part.chmod(0o600)
        reserved = max(_reserved(path), _reserved(part)) + BLOCK
        with _opened(part) as db:
            db.execute("UPDATE counter SET reserved = ?", [reserved])
        salvage.swap_in(path, part)


def leap(path: Path) -> None:
    """Count on far beyond every revision that whoever continued this copy before can have promised."""
    with _opened(path) as db:
        db.execute("UPDATE counter SET reserved = reserved + ?", [salvage.LEAP])


@contextmanager
def unused(path: Path) -> Iterator[None]:
    """Where this database is or will be, no server runs meanwhile. Raises UsageError when one does."""
    if path.parent.exists():
        with _locked(path):
            yield
    else:
        yield


@contextmanager
def _opened(path: Path) -> Iterator[Database]:
    if not path.exists():
        raise errors.UsageError(f"{path} does not exist")
    try:
        db = schema.open_file(path)
        try:
            yield db
        finally:
            db.conn.close()
    except sqlite3.DatabaseError as error:
        raise errors.UsageError(f"{path} cannot be read: {error}") from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = lock(path)
    try:
        yield
    finally:
        os.close(descriptor)


def _reserved(path: Path) -> int:
    """What this file has promised; nothing when it is missing or cannot be read, which may be why a backup is put back."""
    if not path.exists():
        return 0
    db = sqlite3.connect(path)
    try:
        return int(db.execute("SELECT reserved FROM counter").fetchone()[0])
    except (sqlite3.DatabaseError, TypeError):
        return salvage.LEAP
    finally:
        db.close()
