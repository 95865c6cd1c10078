"""Small objects to put into a store, and what they say when they come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson

from edgek.server.store import schema
from edgek.server.store.backend import Draft, Event, Key, Record


def fresh_file(folder: Path) -> Path:
    """A database that needs no child process to be opened, which would cost each test 0.4 s."""
    path = folder / "state.db"
    if not path.exists():
        schema.migrate(path)
    return path


def key(name: str, *, namespace: str = "default", resource: str = "pods") -> Key:
    return Key(resource, namespace, name)


def draft(say: str = "", *, labels: Mapping[str, str] | None = None, fields: Mapping[str, str] | None = None, uid: str = "uid") -> Draft:
    """An object that says this, with its revision in its body as a real one has."""
    return Draft(uid, labels or {}, fields or {}, lambda revision: orjson.dumps({"revision": revision, "say": say}))


def said(record: Record) -> str:
    found: str = orjson.loads(record.body)["say"]
    return found


def heard(events: Sequence[Event]) -> list[tuple[str, str, str, str | None]]:
    """(type, name, what it says, what it said before)."""
    return [(event.type, event.record.key.name, said(event.record), said(event.previous) if event.previous else None) for event in events]
