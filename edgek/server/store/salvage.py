"""Save what can be read of a damaged file into a fresh one, and name the rest.

Runs in the child process of ``mending.py``. The damaged file stays beside the fresh one as ``*.damaged-<time>``, with its log, for a closer look.
The swap can be cut at any point: a finished copy is named ``*.salvaged``, and whoever opens the file next completes the swap.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Set
from contextlib import closing, suppress
from pathlib import Path

import attrs
import orjson

from edgek.host import files
from edgek.server.store import carve
from edgek.server.store.disk import BLOCK
from edgek.server.store.rows import INSERT, SELECT, checksum

# Revisions to leap over when the counter itself is lost: more than could be handed out, and harmless in 63 bits.
LEAP = 1 << 40
# The files of a database: itself, its log, and the log's index.
SUFFIXES = ("", "-wal", "-shm")
# Of the table of objects, in the order of ``rows.SELECT``.
COLUMNS = 10

Values = tuple[object, ...]


@attrs.frozen
class Salvage:
    """How many objects were kept, the names of those lost, and where the damaged file is."""

    kept: int
    lost: list[str]
    damaged: str

    def to_json(self) -> str:
        return orjson.dumps(attrs.asdict(self)).decode()

    @classmethod
    def from_json(cls, text: bytes) -> Salvage:
        return cls(**orjson.loads(text))


def rescue(path: Path, make: Callable[[Path], None]) -> Salvage:
    """Copy every sound row of ``path`` into a fresh file that ``make`` lays out, and put it in place.

    The time in the damaged file's name is the machine's, which may be wrong at boot; a name that exists is never reused.
    """
    part = _beside(path, ".part")
    _remove(part)
    make(part)
    source = sqlite3.connect(path, isolation_level=None)
    target = sqlite3.connect(part, isolation_level=None)
    try:
        kept, lost = _copy(path, source, target)
    except sqlite3.Error:
        _remove(part)
        raise
    finally:
        target.close()
        source.close()
    return Salvage(kept, lost, str(swap_in(path, part)))


def swap_in(path: Path, part: Path) -> Path:
    """Put a finished file in the place of ``path``, and keep that one beside it; its new name. Nobody may hold either of them open."""
    files.sync(part)
    former = _free_name(path)
    for suffix in SUFFIXES[:2]:
        with suppress(FileNotFoundError):
            os.link(_beside(path, suffix), _beside(former, suffix))
    part.rename(_beside(path, ".salvaged"))
    files.sync(path.parent)
    finish_swap(path)
    return former


def finish_swap(path: Path) -> None:
    """Put a finished copy in place, if there is one. A log must never meet a file that it was not written for: it goes first."""
    salvaged = _beside(path, ".salvaged")
    if not salvaged.exists():
        return
    for suffix in SUFFIXES[1:]:
        _beside(path, suffix).unlink(missing_ok=True)
    files.sync(path.parent)
    salvaged.rename(path)
    files.sync(path.parent)


def _copy(path: Path, source: sqlite3.Connection, target: sqlite3.Connection) -> tuple[int, list[str]]:
    """The number of rows copied, and the names of those that could not be. Raises DatabaseError when there is nothing to be found at all."""
    with suppress(sqlite3.DatabaseError):
        source.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()  # what is carved is read from the file alone
    names = _names(source)
    ids = names.keys() | _ids(source)
    if not ids:
        raise sqlite3.DatabaseError("not one object can be found in it: put a backup in its place, or move it away to begin with an empty cluster")
    found = {id_: values for id_ in ids if (values := _read(source, id_)) is not None}
    if missing := ids - found.keys():
        found |= _carved(path, missing)
    target.execute("BEGIN IMMEDIATE")
    kept = {id_: values for id_, values in sorted(found.items()) if _insert(target, values)}
    highest = max((int(str(values[5])) for values in kept.values()), default=0)
    target.execute("UPDATE counter SET reserved = ?", (_reserved(source, highest),))
    target.execute("COMMIT")
    return len(kept), [names.get(id_, f"an object created at revision {id_}") for id_ in sorted(ids - kept.keys())]


def _carved(path: Path, missing: Set[int]) -> dict[int, Values]:
    """Those rows that only the tree cannot reach any more: the newest sound copy of each."""
    found: dict[int, Values] = {}
    for id_, columns in carve.rows(path):
        values = (id_, *columns[1:])
        if id_ in missing and _is_sound(values) and (id_ not in found or int(str(values[5])) > int(str(found[id_][5]))):
            found[id_] = values
    return found


def _names(source: sqlite3.Connection) -> dict[int, str]:
    """What the index knows: the name of every row by its id, read from both ends as far as it is sound."""
    sql = "SELECT id, resource, namespace, name FROM objects INDEXED BY objects_place ORDER BY resource {0}, namespace {0}, name {0}"
    found: dict[int, str] = {}
    for direction in ("ASC", "DESC"):
        for id_, resource, namespace, name in _while_sound(source, sql.format(direction)):
            found[int(str(id_))] = f"{resource} {namespace}/{name}" if namespace else f"{resource} {name}"
    return found


def _ids(source: sqlite3.Connection) -> set[int]:
    """The ids that the table itself can list, from both ends: those that a damaged index forgot."""
    sql = "SELECT id FROM objects NOT INDEXED ORDER BY id {0}"
    return {int(str(row[0])) for direction in ("ASC", "DESC") for row in _while_sound(source, sql.format(direction))}


def _while_sound(source: sqlite3.Connection, sql: str) -> Iterator[Values]:
    with suppress(sqlite3.DatabaseError), closing(source.execute(sql)) as cursor:
        yield from cursor


def _read(source: sqlite3.Connection, id_: int) -> Values | None:
    """The row, if it is what was written."""
    try:
        values: Values | None = source.execute(SELECT + " WHERE id = ?", (id_,)).fetchone()
    except sqlite3.DatabaseError:
        return None
    return values if values is not None and _is_sound(values) else None


def _is_sound(values: Values) -> bool:
    try:
        return len(values) == COLUMNS and checksum(values[:-2], values[-2]) == values[-1]
    except TypeError:
        return False


def _insert(target: sqlite3.Connection, values: Values) -> bool:
    try:
        target.execute(INSERT, values)
    except sqlite3.IntegrityError:  # the name twice: the older row is a leftover of the damage
        return False
    return True


def _reserved(source: sqlite3.Connection, highest: int) -> int:
    """Where counting goes on: beyond what anybody saw, so that every client lists again and finds out what is gone."""
    try:
        return int(source.execute("SELECT reserved FROM counter").fetchone()[0]) + BLOCK
    except (sqlite3.DatabaseError, TypeError, ValueError):
        return highest + LEAP


def _free_name(path: Path) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    name = _beside(path, f".damaged-{stamp}")
    count = 1
    while name.exists():
        count += 1
        name = _beside(path, f".damaged-{stamp}-{count}")
    return name


def _remove(path: Path) -> None:
    for suffix in SUFFIXES:
        _beside(path, suffix).unlink(missing_ok=True)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
