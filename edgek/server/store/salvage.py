"""Save what can be read of a damaged file into a fresh one, and name the rest.

Runs in the child process of ``schema.py``. The damaged file stays beside the fresh one as ``*.damaged-<time>``, with its log, for a closer look.
The swap can be cut at any point: a finished copy is named ``*.salvaged``, and whoever opens the file next completes the swap.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import attrs
import orjson

from edgek.server.store.disk import BLOCK, INSERT, SELECT, checksum

# Revisions to leap over when the counter itself is lost: more than could be handed out, and harmless in 63 bits.
LEAP = 1 << 40
# The files of a database: itself, its log, and the log's index.
SUFFIXES = ("", "-wal", "-shm")

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
        kept, lost = _copy(source, target)
    finally:
        target.close()
        source.close()
    return Salvage(kept, lost, str(swap_in(path, part)))


def swap_in(path: Path, part: Path) -> Path:
    """Put a finished file in the place of ``path``, and keep that one beside it; its new name. Nobody may hold either of them open."""
    sync(part)
    former = _free_name(path)
    for suffix in SUFFIXES[:2]:
        with suppress(FileNotFoundError):
            os.link(_beside(path, suffix), _beside(former, suffix))
    part.rename(_beside(path, ".salvaged"))
    sync(path.parent)
    finish_swap(path)
    return former


def finish_swap(path: Path) -> None:
    """Put a finished copy in place, if there is one. A log must never meet a file that it was not written for: it goes first."""
    salvaged = _beside(path, ".salvaged")
    if not salvaged.exists():
        return
    for suffix in SUFFIXES[1:]:
        _beside(path, suffix).unlink(missing_ok=True)
    sync(path.parent)
    salvaged.rename(path)
    sync(path.parent)


def _copy(source: sqlite3.Connection, target: sqlite3.Connection) -> tuple[int, list[str]]:
    """The number of rows copied, and the names of those that could not be."""
    names = _names(source)
    ids = sorted(names.keys() | _ids(source))
    highest, kept, lost = 0, 0, []
    target.execute("BEGIN IMMEDIATE")
    for id_ in ids:
        values = _read(source, id_)
        if values is not None and _insert(target, values):
            kept += 1
            highest = max(highest, int(str(values[5])))
        else:
            lost.append(names.get(id_, f"an object created at revision {id_}"))
    target.execute("UPDATE counter SET reserved = ?", (_reserved(source, highest),))
    target.execute("COMMIT")
    return kept, lost


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
        return values if values is not None and checksum(values[:-2], values[-2]) == values[-1] else None
    except (sqlite3.DatabaseError, TypeError):
        return None


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


def sync(path: Path) -> None:
    """Have the disk keep what was written to this file, or what was renamed in this folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
