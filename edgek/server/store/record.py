"""A draft becomes a record: exact bytes, and no more memory than they need."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from edgek.server.store.backend import Draft, Key, Record

NOTHING: Mapping[str, str] = MappingProxyType({})


class Contents(NamedTuple):
    """What a ``Record`` holds beside its key, in its order."""

    uid: str
    revision: int
    body: bytes
    labels: Mapping[str, str]
    fields: Mapping[str, str]


def write_down(draft: Draft, revision: int, previous: Record | None) -> Contents:
    """The draft at its revision. What did not change is shared with the object as it was, and words with all objects."""
    body = exact(draft.encode(revision))
    if previous is None:
        return Contents(draft.uid, revision, body, _words(draft.labels), _words(draft.fields))
    uid = previous.uid if previous.uid == draft.uid else draft.uid
    labels = previous.labels if previous.labels == draft.labels else _words(draft.labels)
    fields = previous.fields if previous.fields == draft.fields else _words(draft.fields)
    return Contents(uid, revision, body, labels, fields)


def _words(values: Mapping[str, str]) -> Mapping[str, str]:
    """The names of labels and fields are always the same few, most values too, and a Pod's events all name it: half of what an Event costs."""
    return {sys.intern(name): sys.intern(value) for name, value in values.items()} or NOTHING


def exact(body: bytes) -> bytes:
    """A copy without spare room: encoders over-allocate by as much again, and would keep it for as long as the object lives."""
    return bytes(memoryview(body))


def lasting(key: Key) -> Key:
    """The same key for the life of an object: ten thousand of them share the words for their resource and namespace."""
    return Key(sys.intern(key.resource), sys.intern(key.namespace), key.name)
