"""The readable side that every store in this process shares: current objects, history, watchers.

A store decides its writes in its own way and hands over what is committed with ``publish``, in revision order. Nothing here waits for a disk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from edgek.model import errors
from edgek.server.store.backend import Event, Key, Page, Record, Subscription
from edgek.server.store.shelf import Shelf
from edgek.server.store.window import Window

Deliver = Callable[[Sequence[Event]], None]

# A fresh store stands well above the lowest numbers: "0" means "any" in the API and must never be an answer, and clients that ask for "1", as tests
# of the API do, ask for something long gone and are told to list.
FIRST_REVISION = 1000


Scope = tuple[str, str]
"""(resource, namespace) of a watch; an empty namespace stands for all."""


class _Watcher:
    """One subscription. It hears events after ``after`` until it is closed."""

    __slots__ = ("_scope", "_watchers", "after", "deliver")

    def __init__(self, watchers: dict[Scope, dict[_Watcher, None]], scope: Scope, after: int, deliver: Deliver) -> None:
        self._watchers = watchers
        self._scope = scope
        self.after = after
        self.deliver = deliver
        watchers.setdefault(scope, {})[self] = None

    def close(self) -> None:
        among = self._watchers.get(self._scope, {})
        if among.pop(self, self) is None and not among:
            del self._watchers[self._scope]  # namespaces come and go


class Readable:
    """Everything of ``Backend`` but the writes."""

    def __init__(self, revision: int, window: Window | None = None) -> None:
        self._revision = revision
        self._window = window or Window(revision)
        self._shelves: dict[str, Shelf] = {}
        # Keyed by (resource, namespace), so that a change costs nothing to those who watch something else.
        self._watchers: dict[Scope, dict[_Watcher, None]] = {}
        self._waiting: list[tuple[int, trio.Event]] = []

    @property
    def revision(self) -> int:
        return self._revision

    @property
    def oldest(self) -> int:
        return self._window.oldest

    def get(self, key: Key) -> Record | None:
        shelf = self._shelves.get(key.resource)
        return shelf.get((key.namespace, key.name)) if shelf else None

    def list(self, resource: str, namespace: str = "", *, start: tuple[str, str] = ("", ""), limit: int = 0, revision: int = 0) -> Page:
        shelf = self._shelves.get(resource) or Shelf()
        if revision in (0, self._revision):
            records, remaining = shelf.page(namespace, start, limit, {})
            return Page(records, self._revision, remaining > 0, remaining)
        if revision > self._revision:
            raise _too_large(revision, self._revision)
        if revision < self.oldest:
            raise errors.Expired("The resourceVersion for the provided list is too old.")
        records, remaining = shelf.page(namespace, start, limit, self._window.undone(resource, revision))
        return Page(records, revision, remaining > 0, remaining)

    def watch(self, resource: str, namespace: str, after: int, deliver: Deliver) -> Subscription:
        oldest = self.oldest
        if after < oldest:
            raise errors.Expired(f"too old resource version: {after} ({oldest})")
        past = self._window.after(resource, namespace, after)
        watcher = _Watcher(self._watchers, (resource, namespace), max(after, self._revision), deliver)
        if past:
            deliver(past)
        return watcher

    async def wait_for(self, revision: int) -> None:
        await trio.lowlevel.checkpoint()
        if self._revision >= revision:
            return
        reached = trio.Event()
        self._waiting.append((revision, reached))
        try:
            await reached.wait()
        finally:
            self._waiting = [entry for entry in self._waiting if entry[1] is not reached]

    def compact(self, revision: int) -> None:
        """Forget history up to ``revision``: what age does by itself, at once."""
        self._window.compact(min(revision, self._revision))

    def publish(self, events: Sequence[Event]) -> None:
        """Make committed changes readable and tell their watchers: one call of ``deliver`` per watcher and batch, the same sequence for all."""
        if not events:
            return
        for event in events:
            self._apply(event)
        self._revision = events[-1].record.revision
        self._window.add(events)
        for watchers, heard in _audience(self._watchers, events):
            first = heard[0].record.revision
            for watcher in tuple(watchers):
                if watcher not in watchers:
                    continue  # closed by one before it
                if watcher.after < first:
                    watcher.deliver(heard)
                elif later := [event for event in heard if event.record.revision > watcher.after]:
                    watcher.deliver(later)
        for revision, reached in self._waiting:
            if revision <= self._revision:
                reached.set()

    def _shelve(self, records: Sequence[Record]) -> None:
        """Take over objects that were there before: no events."""
        for record in records:
            self._shelf(record.key.resource).put(record)

    def _shelf(self, resource: str) -> Shelf:
        shelf = self._shelves.get(resource)
        if shelf is None:
            shelf = self._shelves[resource] = Shelf()
        return shelf

    def _apply(self, event: Event) -> None:
        key = event.record.key
        shelf = self._shelf(key.resource)
        if event.type == "DELETED":
            shelf.remove((key.namespace, key.name))
        else:
            shelf.put(event.record)


def _audience(watchers: dict[Scope, dict[_Watcher, None]], events: Sequence[Event]) -> list[tuple[dict[_Watcher, None], list[Event]]]:
    """Who watches any of this, with the events they hear."""
    heard: dict[Scope, list[Event]] = {}
    for event in events:
        key = event.record.key
        for scope in {(key.resource, ""), (key.resource, key.namespace)}:
            if scope in watchers:
                heard.setdefault(scope, []).append(event)
    return [(watchers[scope], found) for scope, found in heard.items()]


def _too_large(asked: int, current: int) -> errors.Timeout:
    cause = errors.Cause("ResourceVersionTooLarge", "Too large resource version")
    return errors.Timeout(f"Too large resource version: {asked}, current: {current}", causes=[cause], retry_after_s=1)
