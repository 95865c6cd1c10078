"""The store's laws under any order of events: Hypothesis chooses the trouble, a model that fits a screen says what must be seen.

A state machine cannot wait, a store must: the event loop runs as a guest (``Loop``) and is given one call at a time.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import outcome
import pytest
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edgek.model import errors, kinds
from edgek.server.store.backend import Event, Key, Record
from edgek.server.store.memory import MemoryBackend
from edgek.server.store.sqlite import SqliteBackend
from tests.server.store.drafts import draft, fresh_file, key, said

RESOURCES = ("pods", "leases.coordination.k8s.io")
KEYS = st.builds(
    lambda resource, namespace, name: key(name, namespace=namespace, resource=resource),
    st.sampled_from(RESOURCES),
    st.sampled_from("xy"),
    st.sampled_from("abcd"),
)
Change = tuple[int, str, Key, str]  # revision, type, key, what it says


class Loop:
    """A trio run that a plain function can give calls to."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._send, receive = trio.open_memory_channel[Any](1)
        self._ended: list[outcome.Outcome[None]] = []
        self._token: list[trio.lowlevel.TrioToken] = []
        trio.lowlevel.start_guest_run(self._serve, receive, run_sync_soon_threadsafe=self._jobs.put, done_callback=self._ended.append)
        self._pump(self._token)

    def call(self, function: Callable[..., Awaitable[Any]], *args: object) -> Any:
        answer: list[outcome.Outcome[Any]] = []
        self._token[0].run_sync_soon(self._send.send_nowait, (function, args, answer))
        self._pump(answer)
        return answer[0].unwrap()

    def close(self) -> None:
        self._token[0].run_sync_soon(self._send.close)
        self._pump(self._ended)
        self._ended[0].unwrap()

    async def _serve(self, receive: trio.MemoryReceiveChannel[Any]) -> None:
        self._token.append(trio.lowlevel.current_trio_token())
        async for function, args, answer in receive:
            answer.append(await outcome.acapture(function, *args))

    def _pump(self, until: list[Any]) -> None:
        while not until:
            self._jobs.get()()


class StoreLaws(RuleBasedStateMachine):
    """``changes`` is all that was ever acknowledged; what must be readable follows from it."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = Loop()
        self.folder = Path(tempfile.mkdtemp(prefix="edgek-laws-"))
        self.changes: list[Change] = []
        self.now: dict[Key, Record] = {}
        self.stale: list[Record] = []
        self.watches: list[tuple[str, str, int, list[Event]]] = []
        self.begin = 0  # nothing before this revision can be asked for
        self.start()

    def start(self) -> None:
        self.stack = AsyncExitStack()
        self.store: MemoryBackend | SqliteBackend = self.loop.call(self._open)
        self.first = self.store.revision
        self.begin = max(self.begin, self.first)
        self.watches.clear()

    async def _open(self) -> Any:
        return MemoryBackend()

    def teardown(self) -> None:
        self.loop.call(self.stack.aclose)
        self.loop.close()
        shutil.rmtree(self.folder)

    # What clients do.

    @rule(where=KEYS, say=st.text(max_size=3))
    def create(self, where: Key, say: str) -> None:
        if where in self.now:
            with pytest.raises(errors.AlreadyExists):
                self.loop.call(self.store.create, where, draft(say))
        else:
            self.note("ADDED", self.loop.call(self.store.create, where, draft(say)))

    @rule(where=KEYS, say=st.text(max_size=3), deletes=st.booleans())
    def change(self, where: Key, say: str, deletes: bool) -> None:
        current = self.now.get(where)
        if current is None:
            with pytest.raises(errors.NotFound):
                self.loop.call(self._write, where, say, 1, deletes)
        else:
            self.note("DELETED" if deletes else "MODIFIED", self.loop.call(self._write, where, say, current.revision, deletes))

    @precondition(lambda self: self.stale)
    @rule(chosen=st.integers(0, 99), deletes=st.booleans())
    def change_what_is_no_more(self, chosen: int, deletes: bool) -> None:
        old = self.stale[chosen % len(self.stale)]
        with pytest.raises((errors.Conflict, errors.NotFound)):
            self.loop.call(self._write, old.key, "late", old.revision, deletes)

    @rule(say=st.text(max_size=3), wheres=st.lists(KEYS, min_size=2, max_size=8))
    def race(self, say: str, wheres: list[Key]) -> None:
        """Everybody writes at once: creates where nothing is, updates what is there. One per key gets through."""
        for type_, record in self.loop.call(self._race, say, wheres):
            self.note(type_, record)

    @rule(resource=st.sampled_from(RESOURCES), namespace=st.sampled_from(["", "x"]), back=st.integers(0, 30))
    def watch(self, resource: str, namespace: str, back: int) -> None:
        after = max(1, self.store.revision - back)
        events: list[Event] = []
        if after < self.begin:
            with pytest.raises(errors.Expired):
                self.loop.call(self._watch, resource, namespace, after, events)
        else:
            self.loop.call(self._watch, resource, namespace, after, events)
            self.watches.append((resource, namespace, after, events))

    @rule(resource=st.sampled_from(RESOURCES), namespace=st.sampled_from(["", "x"]), limit=st.integers(1, 5), back=st.integers(0, 30))
    def list_in_pages(self, resource: str, namespace: str, limit: int, back: int) -> None:
        revision = max(1, self.store.revision - back)
        if revision < self.begin:
            with pytest.raises(errors.Expired):
                self.loop.call(self._pages, resource, namespace, limit, revision)
        else:
            assert self.loop.call(self._pages, resource, namespace, limit, revision) == self.model(resource, namespace, revision)

    @rule(back=st.integers(0, 10))
    def compact(self, back: int) -> None:
        revision = max(1, self.store.revision - back)
        self.store.compact(revision)
        self.begin = max(self.begin, revision)

    # What must hold after each.

    @invariant()
    def the_present_is_what_was_acknowledged(self) -> None:
        for resource in RESOURCES:
            assert self.pages(resource, "", 0, 0) == self.model(resource, "", self.store.revision)
        assert all(self.store.get(where) is record for where, record in self.now.items())

    @invariant()
    def every_watch_heard_each_change_once_and_in_order(self) -> None:
        for resource, namespace, after, events in self.watches:
            got = [(event.record.revision, event.type, event.record.key, said(event.record)) for event in events]
            assert got == [
                change for change in self.changes if change[0] > after and change[2].resource == resource and namespace in ("", change[2].namespace)
            ]

    def note(self, type_: str, record: Record) -> None:
        assert record.revision > (self.changes[-1][0] if self.changes else 0)
        assert record.revision <= self.store.revision
        self.changes.append((record.revision, type_, record.key, said(record)))
        if (former := self.now.pop(record.key, None)) is not None:
            self.stale.append(former)
        if type_ != "DELETED":
            self.now[record.key] = record

    def model(self, resource: str, namespace: str, revision: int) -> list[tuple[str, str, str]]:
        there: dict[tuple[str, str], str] = {}
        for changed_at, type_, where, say in self.changes:
            if changed_at <= revision and where.resource == resource and namespace in ("", where.namespace):
                there.pop((where.namespace, where.name), None)
                if type_ != "DELETED":
                    there[where.namespace, where.name] = say
        return sorted((*place, say) for place, say in there.items())

    async def _write(self, where: Key, say: str, expected: int, deletes: bool) -> Record:
        if deletes:
            return await self.store.delete(where, draft(say), expected=expected)
        return await self.store.update(where, draft(say), expected=expected)

    async def _race(self, say: str, wheres: list[Key]) -> list[tuple[str, Record]]:
        done: list[tuple[str, Record]] = []

        async def write(where: Key) -> None:
            current = self.now.get(where)
            try:
                if current is None:
                    done.append(("ADDED", await self.store.create(where, draft(say))))
                else:
                    done.append(("MODIFIED", await self.store.update(where, draft(say), expected=current.revision)))
            except (errors.AlreadyExists, errors.Conflict):
                assert self.store.get(where) is not current

        async with trio.open_nursery() as nursery:
            for where in wheres:
                nursery.start_soon(write, where)
        assert len(done) == len(set(wheres))
        return sorted(done, key=lambda entry: entry[1].revision)

    async def _watch(self, resource: str, namespace: str, after: int, events: list[Event]) -> None:
        self.store.watch(resource, namespace, after, events.extend)

    async def _pages(self, resource: str, namespace: str, limit: int, revision: int) -> list[tuple[str, str, str]]:
        return self.pages(resource, namespace, limit, revision)  # an old revision needs the loop: its clock says what is too old

    def pages(self, resource: str, namespace: str, limit: int, revision: int) -> list[tuple[str, str, str]]:
        """A whole list in pages, whose counts must agree with what comes."""
        found: list[Record] = []
        promised = None
        while True:
            start = (found[-1].key.namespace, found[-1].key.name) if found else ("", "")
            page = self.store.list(resource, namespace, start=start, limit=limit, revision=revision)
            found += page.records
            assert page.more == (page.remaining > 0)
            assert promised in (None, len(page.records) + page.remaining)
            promised = page.remaining
            if not page.more:
                break
        return [(record.key.namespace, record.key.name, said(record)) for record in found]


class LastingStoreLaws(StoreLaws):
    """The same, with a disk that outlives the process."""

    async def _open(self) -> Any:
        return await self.stack.enter_async_context(SqliteBackend.open(fresh_file(self.folder)))

    @rule()
    def restart(self) -> None:
        revision = self.store.revision
        self.loop.call(self.stack.aclose)
        self.start()
        assert self.store.revision == revision, "who has seen all resumes without listing again"
        self._read_again()

    @rule()
    def crash(self) -> None:
        """The files as they are at this moment are all that is left."""
        revision = self.store.revision
        left = Path(tempfile.mkdtemp(prefix="edgek-laws-"))
        for file in self.folder.glob("state.db*"):
            shutil.copy(file, left)
        self.loop.call(self.stack.aclose)
        shutil.rmtree(self.folder)
        self.folder = left
        self.start()
        assert self.store.revision >= revision
        self._lose_what_was_volatile()
        self._read_again()

    def _lose_what_was_volatile(self) -> None:
        """Each such object is gone or as it was at some time; the model goes on from what is there."""
        ever = {(where, say) for _, type_, where, say in self.changes if type_ != "DELETED"}
        self.changes = [change for change in self.changes if change[2].resource not in kinds.VOLATILE]
        for where in [where for where in self.now if where.resource in kinds.VOLATILE]:
            self.stale.append(self.now.pop(where))
        for resource in kinds.VOLATILE:
            for record in self.store.list(resource).records:
                assert (record.key, said(record)) in ever
                self.changes.append((record.revision, "ADDED", record.key, said(record)))
        self.changes.sort(key=lambda change: change[0])

    def _read_again(self) -> None:
        there = {record.key: record for resource in RESOURCES for record in self.store.list(resource).records}
        self.stale = [record for record in self.stale if record.key not in there or there[record.key].revision != record.revision]
        for where, former in self.now.items():
            assert there[where].revision == former.revision
            assert there[where].body == former.body
        self.now = there


quick = settings(max_examples=50, stateful_step_count=30, derandomize=True, deadline=None)
TestMemoryLaws = StoreLaws.TestCase
TestMemoryLaws.settings = quick
TestSqliteLaws = LastingStoreLaws.TestCase
TestSqliteLaws.settings = quick
