"""The store protocol and its revision rules.

A store keeps every object as its exact JSON bytes plus a small index, and hands out **revisions**: one counter for all objects, taken by every
create, update and delete. ``sqlite.py`` is the one that lasts, ``memory.py`` the readable specification; both pass the same contract suite
(``tests/contract/test_backend.py``). etcd can stand behind the same protocol later.

The rules:

1. A write is decided in memory, in the order of the calls: its precondition is held against everything written before it, committed or not.
2. It is acknowledged, can be read, and is told to watchers only once it is durable (``Lease`` and ``Event`` excepted: ``volatile`` kinds live
   in memory and reach the disk at an orderly shutdown, or along with a batch that is written anyway).
3. Watchers hear every change of what they watch exactly once, in revision order, with the object as it was before.
4. Revisions never go backwards, whatever was lost: they are reserved in durable blocks.
5. History is a bounded window in memory. What lies before ``oldest`` raises ``Expired``; after a restart that is everything.
6. Reads and watches are answered from memory and never wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

import attrs

EventType = Literal["ADDED", "MODIFIED", "DELETED"]


@attrs.frozen
class Key:
    """Where an object lives. ``resource`` is ``Kind.storage`` (``pods``, ``deployments.apps``); ``namespace`` is empty for cluster scope."""

    resource: str
    namespace: str
    name: str


@attrs.frozen(eq=False)
class Record:
    """One object at one revision. ``body`` is its JSON as clients get it, resourceVersion included.

    ``fields`` are its selectable fields as strings. For a deleted object ``revision`` is that of the deletion, and ``body`` says the same.
    """

    key: Key
    uid: str
    revision: int
    body: bytes
    labels: Mapping[str, str]
    fields: Mapping[str, str]


@attrs.frozen
class Draft:
    """An object about to be written. ``encode(revision)`` gives its bytes once its revision is known; it is called exactly once."""

    uid: str
    labels: Mapping[str, str]
    fields: Mapping[str, str]
    encode: Callable[[int], bytes]


@attrs.frozen(eq=False)
class Event:
    """One change. ``previous`` is the object before it (ADDED: None). Never altered after it was made, so it may be shared and cached on."""

    type: EventType
    record: Record
    previous: Record | None


@attrs.frozen
class Page:
    """A part of a list as of ``revision``. ``more`` says that objects follow ``records[-1]``; ``remaining`` counts them."""

    records: Sequence[Record]
    revision: int
    more: bool = False
    remaining: int = 0


class Subscription(Protocol):
    def close(self) -> None:
        """Nothing is delivered afterwards. May be called twice."""
        ...


class Backend(Protocol):
    @property
    def revision(self) -> int:
        """The newest revision that can be read."""
        ...

    @property
    def oldest(self) -> int:
        """A watch or list may start from this revision or later."""
        ...

    def get(self, key: Key) -> Record | None: ...

    def list(self, resource: str, namespace: str = "", *, start: tuple[str, str] = ("", ""), limit: int = 0, revision: int = 0) -> Page:
        """Objects of a resource in order of (namespace, name), those after ``start`` (exclusive), at most ``limit`` (0: all).

        ``namespace`` empty means all. ``revision`` 0 means now; another one shows the objects as they were then, and raises ``errors.Expired``
        when that is older than ``oldest``.
        """
        ...

    async def create(self, key: Key, draft: Draft) -> Record:
        """Raises ``errors.AlreadyExists``. Returns once it is durable."""
        ...

    async def update(self, key: Key, draft: Draft, *, expected: int) -> Record:
        """``expected`` is the revision that was read. Raises ``errors.NotFound``, ``errors.Conflict``.

        A conflict with a write that is still on its way is raised only once that write can be read, so that a retry sees it.
        """
        ...

    async def delete(self, key: Key, draft: Draft, *, expected: int) -> Record:
        """``draft`` gives the object's last state, as watchers of the deletion see it. Raises as ``update`` does."""
        ...

    def watch(self, resource: str, namespace: str, after: int, deliver: Callable[[Sequence[Event]], None]) -> Subscription:
        """Every change after revision ``after``: those past are delivered before this returns, the others as they become readable.

        ``deliver`` is called from the event loop and must not wait, raise or write to the store. Raises ``errors.Expired``.
        """
        ...

    async def wait_for(self, revision: int) -> None:
        """Return once ``self.revision`` is at least that."""
        ...
