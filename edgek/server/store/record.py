"""A draft becomes a record: exact bytes, and no more memory than they need."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from edgek.server.store.backend import Draft, Key

_NOTHING: Mapping[str, str] = MappingProxyType({})


class Contents(NamedTuple):
    """What a ``Record`` holds beside its key, in its order."""

    uid: str
    revision: int
    body: bytes
    labels: Mapping[str, str]
    fields: Mapping[str, str]


def write_down(draft: Draft, revision: int) -> Contents:
    """The draft at its revision."""
    return Contents(draft.uid, revision, exact(draft.encode(revision)), draft.labels or _NOTHING, draft.fields or _NOTHING)


def exact(body: bytes) -> bytes:
    """A copy without spare room: encoders over-allocate by as much again, and would keep it for as long as the object lives."""
    return bytes(memoryview(body))


def lasting(key: Key) -> Key:
    """The same key for the life of an object: ten thousand of them share the words for their resource and namespace."""
    return Key(sys.intern(key.resource), sys.intern(key.namespace), key.name)
