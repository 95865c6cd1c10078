"""What the lasting store adds to the contract: the disk, its failures, and what an idle node does not write."""

from __future__ import annotations

import resource
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from edgek.model import errors
from edgek.server.store.backend import Event, Record
from edgek.server.store.disk import BLOCK, Change, Disk, Loaded, Outcome
from edgek.server.store.readable import FIRST_REVISION
from edgek.server.store.sqlite import RIDE_EVERY_S, SqliteBackend
from tests.server.store.drafts import draft, fresh_file, key, said

LEASES = "leases.coordination.k8s.io"
EVENTS = "events"


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """The kernel refuses to write beyond this offset of any file: an I/O error that needs no broken disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def written(path: Path) -> list[tuple[str, int, int]]:
    """When each file of the database was last written, and its size."""
    return sorted((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in path.parent.glob(f"{path.name}*") if "-shm" not in file.name)


async def test_a_missing_database_is_made_in_a_private_folder(tmp_path: Path) -> None:
    path = tmp_path / "server" / "db" / "state.db"
    async with SqliteBackend.open(path) as store:
        assert store.revision == store.oldest == FIRST_REVISION
        await store.create(key("web"), draft())
    assert path.parent.stat().st_mode & 0o777 == 0o700


async def test_a_second_process_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = fresh_file(tmp_path)
    async with SqliteBackend.open(path):
        with pytest.raises(errors.UsageError, match=r"another edgek is running on .*--data-dir"):
            async with SqliteBackend.open(path):
                pass


async def test_an_orderly_restart_keeps_everything_and_the_exact_revision(tmp_path: Path) -> None:
    path = fresh_file(tmp_path)
    async with SqliteBackend.open(path) as store:
        pod = await store.create(key("web"), draft("pod", labels={"app": "web"}, fields={"spec.nodeName": "n1"}))
        await store.create(key("lease", resource=LEASES), draft("lease"))
        revision = store.revision
    async with SqliteBackend.open(path) as store:
        found = store.get(key("web"))
        assert found is not None
        assert (found.key, found.uid, found.revision, found.body) == (pod.key, pod.uid, pod.revision, pod.body)
        assert (found.labels, found.fields) == ({"app": "web"}, {"spec.nodeName": "n1"})
        assert [said(record) for record in store.list(LEASES).records] == ["lease"]
        assert store.revision == store.oldest == revision
        events: list[Event] = []
        store.watch("pods", "", revision, events.extend)
        await store.update(key("web"), draft("again"), expected=pod.revision)
        assert [event.type for event in events] == ["MODIFIED"]


async def test_writes_that_wait_when_the_store_closes_are_written_first(tmp_path: Path) -> None:
    path = fresh_file(tmp_path)
    made: list[int] = []

    async def write(number: int) -> None:
        made.append((await store.create(key(f"p{number}"), draft())).revision)

    async with trio.open_nursery() as nursery, SqliteBackend.open(path) as store:
        for number in range(100):
            nursery.start_soon(write, number)
        for _ in range(2):  # once through the run queue, in any order, and they have all called
            await trio.lowlevel.checkpoint()
    assert len(made) == 100
    with pytest.raises(errors.ServiceUnavailable, match="the store is closed"):
        await store.create(key("late"), draft())
    async with SqliteBackend.open(path) as store:
        assert len(store.list("pods").records) == 100


async def test_a_cancelled_caller_does_not_undo_its_write(tmp_path: Path) -> None:
    async with SqliteBackend.open(fresh_file(tmp_path)) as store:
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.create(key("web"), draft())
        assert scope.cancelled_caught
        await store.wait_for(FIRST_REVISION + 1)
        assert store.get(key("web")) is not None


async def test_volatile_writes_touch_no_disk_until_the_end(tmp_path: Path) -> None:
    path = fresh_file(tmp_path)
    async with SqliteBackend.open(path) as store:
        lease = await store.create(key("node", resource=LEASES), draft("0"))  # reserves revisions, once
        before = written(path)
        for number in range(50):
            lease = await store.update(lease.key, draft(str(number)), expected=lease.revision)
            event = await store.create(key(f"e{number}", resource=EVENTS), draft())
            if number % 2:
                await store.delete(event.key, draft(), expected=event.revision)
        assert written(path) == before
    async with SqliteBackend.open(path) as store:
        assert said(store.list(LEASES).records[0]) == "49"
        assert len(store.list(EVENTS).records) == 25


async def test_opening_and_closing_again_writes_nothing(tmp_path: Path) -> None:
    path = fresh_file(tmp_path)
    async with SqliteBackend.open(path) as store:
        await store.create(key("web"), draft())
    before = written(path)
    async with SqliteBackend.open(path):
        pass
    assert written(path) == before


async def test_volatile_objects_ride_along_with_a_write_that_is_made_anyway(tmp_path: Path, mock_clock: trio.testing.MockClock) -> None:
    path = fresh_file(tmp_path)
    left = tmp_path / "after the crash"
    async with SqliteBackend.open(path) as store:
        gone = await store.create(key("gone", resource=EVENTS), draft("gone"))
        await store.create(key("kept", resource=EVENTS), draft("kept"))
        await store.create(key("first"), draft())
        copy_files(path, left / "early")
        mock_clock.jump(RIDE_EVERY_S)
        await store.create(key("second"), draft())
        await store.delete(gone.key, draft(), expected=gone.revision)
        copy_files(path, left / "between")
        mock_clock.jump(RIDE_EVERY_S)
        await store.create(key("third"), draft())
        copy_files(path, left / "late")
    found = {}
    for moment in ("early", "between", "late"):
        async with SqliteBackend.open(left / moment / path.name) as store:
            found[moment] = [said(record) for record in store.list(EVENTS).records]
    assert found == {"early": [], "between": ["gone", "kept"], "late": ["kept"]}


async def test_after_a_crash_counting_goes_on_behind_every_revision_that_was_seen(tmp_path: Path) -> None:
    path = fresh_file(tmp_path)
    async with SqliteBackend.open(path) as store:
        await store.create(key("web"), draft())
        for number in range(20):
            await store.create(key(f"e{number}", resource=EVENTS), draft())
        seen = store.revision
        copy_files(path, tmp_path / "left")
    async with SqliteBackend.open(tmp_path / "left" / path.name) as store:
        assert seen < store.revision <= seen + BLOCK
        with pytest.raises(errors.Expired):
            store.watch("pods", "", seen, lambda events: None)


async def test_a_volatile_write_waits_for_its_revisions_to_be_reserved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgek.server.store.disk.BLOCK", 4)
    path = fresh_file(tmp_path)
    async with SqliteBackend.open(path) as store:
        for number in range(10):
            made = await store.create(key(f"e{number}", resource=EVENTS), draft())
        copy_files(path, tmp_path / "left")
    async with SqliteBackend.open(tmp_path / "left" / path.name) as store:
        assert store.revision >= made.revision


async def test_a_full_disk_refuses_writes_with_help_and_goes_on_reading(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = fresh_file(tmp_path)
    async with SqliteBackend.open(path, max_bytes=200_000) as store:
        events: list[Event] = []
        store.watch("pods", "", store.revision, events.extend)
        with pytest.raises(errors.ServiceUnavailable, match=rf"{path}: database or disk is full; free some space on the disk of {tmp_path}"):
            await fill(store)
        count = len(events)
        pods = store.list("pods").records
        assert len(pods) == count > 10
        assert store.get(key(f"p{count}")) is None
        await store.delete(pods[0].key, draft(), expected=pods[0].revision)
        again = await store.create(key("again"), draft("x" * 3000))
        assert events[-1].record is again
        assert [event.record.revision for event in events] == sorted(event.record.revision for event in events)
    said_so = capsys.readouterr().err
    assert said_so.count("store cannot write") == said_so.count("store writes again") == 1
    async with SqliteBackend.open(path) as store:
        assert len(store.list("pods").records) == count
        assert store.revision == again.revision


async def test_an_io_error_at_the_commit_fails_the_whole_batch_and_leaves_what_was(tmp_path: Path) -> None:
    path = fresh_file(tmp_path)
    outcomes: list[str] = []

    async def write(number: int) -> None:
        try:
            await store.update(key("web"), draft("x" * 20_000 + str(number)), expected=first.revision)
        except errors.ApiError as error:
            outcomes.append(str(error))

    async with SqliteBackend.open(path) as store:
        first = await store.create(key("web"), draft("first"))
        with files_end_at(20_000):
            async with trio.open_nursery() as nursery:
                for number in range(3):
                    nursery.start_soon(write, number)
        assert len(outcomes) == 3
        assert all("disk I/O error; look at the disk" in outcome for outcome in outcomes)
        assert store.get(key("web")) is first
        second = await store.update(key("web"), draft("second"), expected=first.revision)
        assert store.get(key("web")) is second
    async with SqliteBackend.open(path) as store:
        assert [said(record) for record in store.list("pods").records] == ["second"]


async def test_what_rests_on_a_write_that_fails_fails_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two updates on their way, the second decided against the first: neither may be seen when the first does not reach the disk."""
    path = fresh_file(tmp_path)
    results: dict[str, object] = {}

    async def write(say: str, expected: int) -> None:
        try:
            results[say] = await store.update(key("web"), draft(say), expected=expected)
        except errors.ApiError as error:
            results[say] = type(error)

    may_write, really_write = threading.Event(), Disk.write

    def write_when_both_are_there(disk: Disk, changes: Sequence[Change]) -> Outcome:
        may_write.wait()
        return really_write(disk, changes)

    monkeypatch.setattr(Disk, "write", write_when_both_are_there)
    may_write.set()
    async with SqliteBackend.open(path) as store:
        first = await store.create(key("web"), draft("first"))
        may_write.clear()
        with files_end_at(0):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(write, "second", first.revision)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(write, "third", first.revision + 1)
                await trio.testing.wait_all_tasks_blocked()
                may_write.set()
        assert results == {"second": errors.ServiceUnavailable, "third": errors.ServiceUnavailable}
        assert store.revision == first.revision


async def test_a_volatile_write_that_rests_on_a_failed_one_fails_with_it() -> None:
    """No revision could be reserved for the first; by the time of the second the disk works again."""
    store, handed = by_hand()
    refused: list[str] = []

    async def write(call: Callable[[], Awaitable[Record]]) -> None:
        try:
            await call()
        except errors.ServiceUnavailable as error:
            refused.append(error.message)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write, lambda: store.create(key("node", resource=LEASES), draft()))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(write, lambda: store.update(key("node", resource=LEASES), draft(), expected=2))
        await trio.testing.wait_all_tasks_blocked()
        store._settle(handed[:1], Outcome(1, {0: errors.ServiceUnavailable("no room")}))
        store._settle(handed[1:], Outcome(100))
    assert refused == ["no room"] * 2
    assert store.list(LEASES).records == []
    assert store.revision == 1


async def test_riders_that_were_left_behind_are_written_at_the_end() -> None:
    store, handed = by_hand()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.create, key("node", resource=LEASES), draft("kept"))
        await trio.testing.wait_all_tasks_blocked()
        store._settle(handed, Outcome(100))
        handed.clear()
        nursery.start_soon(store.create, key("web"), draft())
        await trio.testing.wait_all_tasks_blocked()
        assert list(handed[0].riders) == [2]
        store._settle(handed, Outcome(100, stranded=[0]))
    last = store._last()
    assert last is not None
    assert list(last.riders) == [2]


async def test_too_many_waiting_writes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgek.server.store.sqlite.MAX_WAITING", 3)
    refused: list[errors.TooManyRequests] = []

    async def write(number: int) -> None:
        try:
            await store.create(key(f"p{number}"), draft())
        except errors.TooManyRequests as error:
            refused.append(error)

    async with SqliteBackend.open(fresh_file(tmp_path)) as store:
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(write, number)
        assert len(refused) == 2
        assert refused[0].retry_after_s == 1


async def test_the_log_is_moved_into_the_file_and_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgek.server.store.disk.CHECKPOINT_BYTES", 100_000)
    path = fresh_file(tmp_path)
    async with SqliteBackend.open(path) as store:
        pod = await store.create(key("web"), draft("x" * 3000))
        for _ in range(300):
            pod = await store.update(pod.key, draft("y" * 3000), expected=pod.revision)
        assert path.with_name("state.db-wal").stat().st_size < 300_000


def by_hand() -> tuple[SqliteBackend, list[Change]]:
    """A store whose disk is the test: what it hands over, to be settled as the test likes."""
    store = SqliteBackend(Path("state.db"), Loaded((), 1))
    handed: list[Change] = []
    store._hand_over = handed.append
    return store, handed


async def fill(store: SqliteBackend) -> None:
    for number in range(1000):
        await store.create(key(f"p{number}"), draft("x" * 3000))


def copy_files(path: Path, folder: Path) -> None:
    """The database as a crash at this moment leaves it."""
    folder.mkdir(parents=True)
    for suffix in ("", "-wal"):
        (folder / (path.name + suffix)).write_bytes(path.with_name(path.name + suffix).read_bytes())


async def test_the_file_and_its_log_are_for_their_owner_alone_whoever_made_them(tmp_path: Path) -> None:
    path = tmp_path / "db" / "state.db"
    async with SqliteBackend.open(path):
        assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
    path.chmod(0o644)
    async with SqliteBackend.open(path) as store:
        await store.create(key("web"), draft())
        assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
