"""Looking after the file, while a server may be running on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgek.model import errors
from edgek.server.store import upkeep
from edgek.server.store.sqlite import SqliteBackend
from tests.server.store.drafts import draft, fresh_file, key, said


async def test_a_running_store_can_be_counted_checked_and_copied(tmp_path: Path) -> None:
    path = fresh_file(tmp_path)
    async with SqliteBackend.open(path) as store:
        for number in range(3):
            await store.create(key(f"p{number}"), draft("x" * 100))
        await store.create(key("n", namespace="", resource="nodes"), draft())
        found = upkeep.counts(path)
        assert [(entry["resource"], entry["objects"]) for entry in found["resources"]] == [("nodes", 1), ("pods", 3)]
        assert found["reserved"] > store.revision
        assert upkeep.check(path) == []
        upkeep.backup(path, tmp_path / "copy.db")
        await store.create(key("later"), draft())
    async with SqliteBackend.open(tmp_path / "copy.db") as copy:
        assert [record.key.name for record in copy.list("pods").records] == ["p0", "p1", "p2"]
        assert (tmp_path / "copy.db-wal").exists(), "a copy is written to as any other file"


async def test_compacting_gives_room_back(tmp_path: Path) -> None:
    path = fresh_file(tmp_path)
    async with SqliteBackend.open(path) as store:
        made = [await store.create(key(f"p{number}"), draft("x" * 4000)) for number in range(50)]
        for pod in made[1:]:
            await store.delete(pod.key, draft(), expected=pod.revision)
    before = path.stat().st_size
    upkeep.compact(path)
    assert path.stat().st_size < before / 2
    assert upkeep.counts(path)["resources"] == [{"resource": "pods", "objects": 1, "bytes": 4000 + len(b'{"revision":1001,"say":""}')}]


def test_a_backup_never_replaces_a_file_by_half_a_copy(tmp_path: Path) -> None:
    path, target = fresh_file(tmp_path), tmp_path / "copy.db"
    target.write_bytes(b"the last good backup")
    path.write_bytes(b"not a database " * 1000)
    with pytest.raises(errors.UsageError, match="cannot be read"):
        upkeep.backup(path, target)
    assert target.read_bytes() == b"the last good backup"


async def test_what_replaces_the_file_is_refused_while_a_server_runs(tmp_path: Path) -> None:
    path = fresh_file(tmp_path)
    async with SqliteBackend.open(path):
        upkeep.backup(path, tmp_path / "copy.db")
        with pytest.raises(errors.UsageError, match="another edgek is running"):
            upkeep.compact(path)
        with pytest.raises(errors.UsageError, match="another edgek is running"):
            upkeep.restore(path, tmp_path / "copy.db")


async def test_a_restored_backup_shows_its_objects_at_revisions_nobody_has_seen(tmp_path: Path) -> None:
    path, copy = fresh_file(tmp_path), tmp_path / "copy.db"
    async with SqliteBackend.open(path) as store:
        first = await store.create(key("web"), draft("then"))
        upkeep.backup(path, copy)
        for number in range(5):
            first = await store.update(first.key, draft(str(number)), expected=first.revision)
        seen = store.revision
    upkeep.restore(path, copy)
    async with SqliteBackend.open(path) as store:
        assert [said(record) for record in store.list("pods").records] == ["then"]
        assert store.revision > seen
        with pytest.raises(errors.Expired):
            store.watch("pods", "", seen, lambda events: None)


async def test_a_backup_can_be_put_in_the_place_of_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    path, copy = fresh_file(tmp_path), tmp_path / "copy.db"
    async with SqliteBackend.open(path) as store:
        await store.create(key("web"), draft("then"))
        upkeep.backup(path, copy)
    path.write_bytes(b"not a database " * 1000)
    upkeep.restore(path, copy)
    async with SqliteBackend.open(path) as store:
        assert [said(record) for record in store.list("pods").records] == ["then"]


def test_a_backup_is_for_its_owner_only(tmp_path: Path) -> None:
    upkeep.backup(fresh_file(tmp_path), tmp_path / "copy.db")
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600


def test_a_backup_that_is_none_is_refused(tmp_path: Path) -> None:
    path = fresh_file(tmp_path)
    before = path.read_bytes()
    (tmp_path / "copy.db").write_bytes(b"not a database " * 1000)
    with pytest.raises(errors.UsageError, match="cannot be read"):
        upkeep.restore(path, tmp_path / "copy.db")
    assert path.read_bytes() == before
