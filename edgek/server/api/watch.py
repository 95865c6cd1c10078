"""Watches: the present if asked for, then every change in order of revision, each encoded once and shared by all who hear it.

A watcher is a callback of the store. It writes straight into its reader's socket (``Sink.push``), never waits, and is cut off when its reader is
too far behind; a client then lists again or goes on from its last revision.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TypeVar

import orjson
import trio

from edgek.client.client import STRICT
from edgek.model import errors, objects
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server.api import options, responses, tables
from edgek.server.api.call import Call
from edgek.server.api.negotiation import Shape
from edgek.server.api.options import ListOptions
from edgek.server.api.read import Reader, check_fields, include_object, matches
from edgek.server.api.responses import JSON_HEADERS, Line, Sink, Streaming
from edgek.server.api.storage import Objects, partial, prefix
from edgek.server.store.backend import Event, Record

T = TypeVar("T")

BOOKMARK_S = 60.0
LAST_BOOKMARK_S = 2.0  # before the end of a watch
SHORTEST_S, LONGEST_S = 1800.0, 3600.0  # a watch whose length nobody chose
SHARED_EVENTS = 256  # events whose encoded form is kept for the next watcher: one batch of the store
INITIAL_END = {"k8s.io/initial-events-end": "true"}
DRAIN_EVERY = 64  # events of the past that are pushed before the reader is waited for

_Encoded = dict[tuple[Kind, str], Line]


class Lines:
    """The lines of recent events, by kind and shape, so that a thousand watchers cost one encoding."""

    def __init__(self, store: Objects) -> None:
        self._store = store
        self._recent: OrderedDict[Event, _Encoded] = OrderedDict()

    def of(self, event: Event, type_: str, shape: _ShapeOf) -> Line:
        """``type_`` is what this watcher sees: an object that left its selector is DELETED, one that entered ADDED."""
        shared = self._recent.get(event)
        if shared is None:
            shared = self._recent[event] = {}
            if len(self._recent) > SHARED_EVENTS:
                self._recent.popitem(last=False)
        key = (shape.kind, type_ + shape.key)
        line = shared.get(key)
        if line is None:
            line = shared[key] = shape.line(type_, *self._seen(event, type_))
        return line

    def _seen(self, event: Event, type_: str) -> tuple[Record, int]:
        """The record to show, and the revision it shows: of one that left a selector the old content with the new revision."""
        if type_ == "DELETED" and event.type == "MODIFIED" and event.previous is not None:
            return event.previous, event.record.revision
        return event.record, event.record.revision


class _ShapeOf:
    """How one watcher wants to see objects of its kind. ``key`` tells shapes apart."""

    def __init__(self, store: Objects, kind: Kind, shape: Shape, include: str) -> None:
        self._store = store
        self.kind = kind
        self._shape = shape
        self._include = include
        self.key = f" {shape} {include}" if shape else ""

    def line(self, type_: str, record: Record, revision: int, *, columns: bool = False) -> Line:
        if not self._shape and record.revision == revision:
            return Line(b'{"type":"%b","object":%b}\n' % (type_.encode(), self._store.body(self.kind, record)))
        obj = self._store.load(self.kind, record)
        objects.metadata(obj)["resourceVersion"] = str(revision)
        return self.wrap(type_, obj, columns=columns)

    def wrap(self, type_: str, obj: Object, *, columns: bool = False) -> Line:
        if self._shape == "Table":
            meta = {"resourceVersion": objects.revision(obj)}
            obj = tables.table(self.kind, [obj], include_object=self._include, with_columns=columns, list_meta=meta)
        elif self._shape:
            obj = partial(obj)
        return Line(b'{"type":"%b","object":%b}\n' % (type_.encode(), orjson.dumps(obj)))

    @property
    def has_columns(self) -> bool:
        return self._shape == "Table"

    def bookmark(self, revision: int, *, initial_end: bool = False) -> Line:
        annotations = b',"annotations":%b' % orjson.dumps(INITIAL_END) if initial_end else b""
        metadata = b'"metadata":{"resourceVersion":"%d","creationTimestamp":null%b}' % (revision, annotations)
        if self._shape == "Table":
            found = b'{"kind":"Table","apiVersion":"meta.k8s.io/v1",%b,"columnDefinitions":[],"rows":[]}' % metadata
        elif self._shape:
            found = b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1",%b}' % metadata
        else:
            found = prefix(self.kind) + metadata + b"}"
        return Line(b'{"type":"BOOKMARK","object":%b}\n' % found)


class Watcher:
    """One watch. ``last`` is the newest revision that its reader has been told of."""

    __slots__ = ("_asked", "_columns_due", "_lines", "_shape", "_sink", "last")

    def __init__(self, lines: Lines, shape: _ShapeOf, asked: ListOptions, sink: Sink) -> None:
        self._lines = lines
        self._shape = shape
        self._asked = None if asked.selects_all else asked
        self._sink = sink
        self._columns_due = shape.has_columns
        self.last = 0

    def present(self, records: Sequence[Record]) -> None:
        """Objects that were there before the watch."""
        shown = [record for record in records if self._asked is None or matches(record, self._asked)]
        lines = []
        for record in shown:
            lines.append(self._shape.line("ADDED", record, record.revision, columns=self._columns_due))
            self._columns_due = False
        self._sink.push(*lines)

    def deliver(self, events: Sequence[Event]) -> None:
        """What a batch of the store changed goes out as one piece."""
        lines = []
        for event in events:
            type_ = event.type if self._asked is None else seen_as(event, self._asked)
            if type_:
                lines.append(self._line(event, type_))
        self.last = events[-1].record.revision
        self._sink.push(*lines)

    def _line(self, event: Event, type_: str) -> Line:
        if not self._columns_due:
            return self._lines.of(event, type_, self._shape)
        self._columns_due = False
        record = event.previous if type_ == "DELETED" and event.type == "MODIFIED" and event.previous else event.record
        return self._shape.line(type_, record, event.record.revision, columns=True)


def seen_as(event: Event, asked: ListOptions) -> str:
    """How a change looks through a selector; empty when it does not show."""
    now = event.type != "DELETED" and matches(event.record, asked)
    before = event.previous is not None and matches(event.previous, asked)
    if now:
        return "MODIFIED" if before else "ADDED"
    return "DELETED" if before else ""


class Watches:
    """The watch verb."""

    def __init__(self, store: Objects, reader: Reader) -> None:
        self._store = store
        self._reader = reader
        self._lines = Lines(store)

    async def watch(self, call: Call) -> Streaming:
        asked = options.list_options(call.request, watching=True)
        check_fields(call.kind, asked)
        revision = options.revision_of(asked.revision)
        include = include_object(call) if call.want.shape == "Table" else ""
        shape = _ShapeOf(self._store, call.kind, call.want.shape, include)

        async def run(sink: Sink) -> None:
            watcher = Watcher(self._lines, shape, asked, sink)
            try:
                await self._run(call, asked, revision, watcher, shape, sink)
            except errors.Expired as exc:
                sink.push(Line(b'{"type":"ERROR","object":%b}\n' % orjson.dumps(responses.status_of(exc))))

        return Streaming(200, JSON_HEADERS, run)

    async def _run(self, call: Call, asked: ListOptions, revision: int, watcher: Watcher, shape: _ShapeOf, sink: Sink) -> None:
        length = float(asked.timeout_s) if asked.timeout_s else random.uniform(SHORTEST_S, LONGEST_S)
        end = trio.current_time() + length
        after = revision
        if asked.initial_events or (asked.initial_events is None and not revision):
            after = await self._tell_present(call, asked, revision, watcher, sink)
            if asked.initial_events and asked.bookmarks:
                sink.push(shape.bookmark(after, initial_end=True))
        elif not revision:
            after = self._store.backend.revision
        elif revision > self._store.backend.revision and call.request.headers.get("prefer") == STRICT:
            # Upstream says nothing until then, and so do we to its clients. Ours are told of a card that lost what it had promised to keep.
            raise errors.Expired(f"resource version {revision} is ahead of this server's {self._store.backend.revision}: list again")
        subscription = await self._join(call, after, watcher, sink)
        try:
            await self._live(asked, watcher, shape, sink, end)
        finally:
            subscription()

    async def _tell_present(self, call: Call, asked: ListOptions, revision: int, watcher: Watcher, sink: Sink) -> int:
        """Everything that is there now, as ADDED; the revision at which it was."""
        if revision:
            await self._reader.wait_until(str(revision))
        page = self._store.backend.list(call.kind.storage, call.namespace)
        await _in_pieces(page.records, watcher.present, sink)
        return page.revision

    async def _join(self, call: Call, after: int, watcher: Watcher, sink: Sink) -> Callable[[], None]:
        """Tell of what happened since, at the reader's pace, and go on without a gap. Raises Expired."""
        watcher.last = after
        backend = self._store.backend
        while True:
            past: list[Event] = []
            backend.watch(call.kind.storage, call.namespace, watcher.last, past.extend).close()
            if len(past) <= DRAIN_EVERY:
                return backend.watch(call.kind.storage, call.namespace, watcher.last, watcher.deliver).close
            await _in_pieces(past, watcher.deliver, sink)

    async def _live(self, asked: ListOptions, watcher: Watcher, shape: _ShapeOf, sink: Sink, end: float) -> None:
        """Until the time is up or the reader is gone. A bookmark is only worth sending when the reader would learn something from it.

        A server that stops in good order sends one, too: its next life begins its history with the revision at which this one ends, and who knows
        that one goes on from there, while all others list again.
        """
        told = watcher.last

        def tell() -> None:
            nonlocal told
            revision = self._store.backend.revision
            if asked.bookmarks and revision > max(told, watcher.last):
                sink.push(shape.bookmark(revision))
                told = revision

        try:
            while True:
                now = trio.current_time()
                last_call = end - LAST_BOOKMARK_S
                due = min(now + BOOKMARK_S * random.uniform(0.8, 1.2), last_call if now < last_call else end) if asked.bookmarks else end
                if not await sink.pause(due) or trio.current_time() >= end:
                    return
                tell()
        except trio.Cancelled:
            tell()
            raise


async def _in_pieces(found: Sequence[T], tell: Callable[[Sequence[T]], None], sink: Sink) -> None:
    for start in range(0, len(found), DRAIN_EVERY):
        tell(found[start : start + DRAIN_EVERY])
        await sink.drain()
