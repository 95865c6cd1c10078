"""A draft becomes a record: exact bytes, and no more memory than they need."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from edgek.server.store.backend import Draft, Key, Record

_NOTHING: Mapping[str, str] = MappingProxyType({})


def write_down(key: Key, draft: Draft, revision: int) -> Record:
    """The draft at its revision."""
    body = draft.encode(revision)
    return Record(key, draft.uid, revision, exact(body), draft.labels or _NOTHING, draft.fields or _NOTHING)


def exact(body: bytes) -> bytes:
    """A copy without spare room: encoders over-allocate by as much again, and would keep it for as long as the object lives."""
    return bytes(memoryview(body))
