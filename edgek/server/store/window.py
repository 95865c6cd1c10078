"""The watch window: the newest changes, kept in memory so that a watch can resume and a paged list stays as it began.

The window never waits and never touches a disk. It is bounded three ways, and whatever leaves it is gone: who asks for more gets ``Expired`` and
lists again, as with any Kubernetes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import trio

from edgek.server.store.backend import Event, Record

Place = tuple[str, str]
"""(namespace, name): where an object lives among those of its resource."""

# Events. One costs about EVENT_BYTES beside its bodies; ten thousand are a burst of 30 a second for the whole window.
MAX_EVENTS = 10_000
# Bytes that only the window keeps alive (former and deleted bodies). A 512 MB board must survive a rollout of large Pods; 16 MB are 4000 of them.
MAX_BYTES = 16 << 20
# Seconds. Upstream compacts every five minutes; its conformance tests wait for an old continue token to expire for twice that.
MAX_AGE_S = 300.0
# What an Event, its Record and their places in our queues weigh without bodies, roughly (measured: 500-700 with a few labels).
EVENT_BYTES = 600


class _Entry(NamedTuple):
    added_at: float
    weight: int
    event: Event


class Window:
    """Events in revision order, all resources in one row for their age, and one row per resource for their readers.

    ``revision`` is where history begins. ``clock`` counts seconds.
    """

    def __init__(
        self,
        revision: int,
        *,
        clock: Callable[[], float] = trio.current_time,
        max_events: int = MAX_EVENTS,
        max_bytes: int = MAX_BYTES,
        max_age_s: float = MAX_AGE_S,
    ) -> None:
        self._oldest = revision
        self._clock = clock
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._entries: deque[_Entry] = deque()
        self._of_resource: dict[str, deque[Event]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def oldest(self) -> int:
        """History is complete after this revision. Age counts when somebody looks: an idle store needs no timer."""
        self._forget_aged(self._clock())
        return self._oldest

    def add(self, events: Sequence[Event]) -> None:
        """Append what was just committed; the events must be newer than all before."""
        now = self._clock()
        for event in events:
            weight = _weight(event)
            self._entries.append(_Entry(now, weight, event))
            self._of_resource.setdefault(event.record.key.resource, deque()).append(event)
            self._bytes += weight
        while len(self._entries) > self._max_events or self._bytes > self._max_bytes:
            self._forget_first()
        self._forget_aged(now)

    def after(self, resource: str, namespace: str, revision: int) -> list[Event]:
        """The events of a resource (of one namespace, or of all when empty) after ``revision``, oldest first."""
        found = []
        for event in reversed(self._of_resource.get(resource, ())):
            if event.record.revision <= revision:
                break
            if not namespace or event.record.key.namespace == namespace:
                found.append(event)
        found.reverse()
        return found

    def undone(self, resource: str, revision: int) -> dict[Place, Record | None]:
        """What was different at ``revision``: the places changed since, with the object they held then (None: not there).

        Undoing runs backwards, so that the first change after ``revision`` has the last word.
        """
        then: dict[Place, Record | None] = {}
        for event in reversed(self._of_resource.get(resource, ())):
            if event.record.revision <= revision:
                break
            then[event.record.key.namespace, event.record.key.name] = event.previous
        return then

    def compact(self, revision: int) -> None:
        """Forget every event up to ``revision``; a watch or list may start there, but not before."""
        while self._entries and self._entries[0].event.record.revision <= revision:
            self._forget_first()
        self._oldest = max(self._oldest, revision)

    def _forget_aged(self, now: float) -> None:
        while self._entries and now - self._entries[0].added_at > self._max_age_s:
            self._forget_first()

    def _forget_first(self) -> None:
        entry = self._entries.popleft()
        resource = entry.event.record.key.resource
        row = self._of_resource[resource]
        row.popleft()  # both rows are in revision order, so its first is the same event
        if not row:
            del self._of_resource[resource]
        self._bytes -= entry.weight
        self._oldest = entry.event.record.revision


def _weight(event: Event) -> int:
    """Bytes that live only because the window keeps them: a current body is the store's own, or some later event's ``previous``."""
    former = len(event.previous.body) if event.previous else 0
    deleted = len(event.record.body) if event.type == "DELETED" else 0
    return EVENT_BYTES + former + deleted
