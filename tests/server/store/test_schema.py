"""Versions of the file, and looking after it while a server may be running."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from edgek.model import errors
from edgek.server.store import schema
from edgek.server.store.sqlite import SqliteBackend
from tests.server.store.drafts import draft, fresh_file, key

ROOT = Path(__file__).parents[3]


def test_a_migrated_file_is_left_as_it_is(tmp_path: Path) -> None:
    path = fresh_file(tmp_path)
    before = path.read_bytes()
    schema.migrate(path)
    assert path.read_bytes() == before


def test_a_migration_that_fails_leaves_the_version_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(db: sqlite3.Connection) -> None:
        db.execute("CREATE TABLE half (id)")
        raise sqlite3.OperationalError("no more room")

    path = fresh_file(tmp_path)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, half))
    with pytest.raises(sqlite3.OperationalError):
        schema.migrate(path)
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone() == (1,)
    assert db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'half'").fetchone() == (0,)
    db.close()


async def test_the_file_of_a_newer_edgek_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = fresh_file(tmp_path)
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    db.close()
    with pytest.raises(errors.UsageError, match="run the newer edgek again, or restore a backup"):
        async with SqliteBackend.open(path):
            pass


async def test_a_running_store_can_be_counted_checked_and_copied(tmp_path: Path) -> None:
    path = fresh_file(tmp_path)
    async with SqliteBackend.open(path) as store:
        for number in range(3):
            await store.create(key(f"p{number}"), draft("x" * 100))
        await store.create(key("n", namespace="", resource="nodes"), draft())
        found = schema.counts(path)
        assert [(entry["resource"], entry["objects"]) for entry in found["resources"]] == [("nodes", 1), ("pods", 3)]
        assert found["reserved"] > store.revision
        assert schema.check(path) == []
        schema.backup(path, tmp_path / "copy.db")
        await store.create(key("later"), draft())
    async with SqliteBackend.open(tmp_path / "copy.db") as copy:
        assert [record.key.name for record in copy.list("pods").records] == ["p0", "p1", "p2"]


async def test_compacting_gives_room_back(tmp_path: Path) -> None:
    path = fresh_file(tmp_path)
    async with SqliteBackend.open(path) as store:
        made = [await store.create(key(f"p{number}"), draft("x" * 4000)) for number in range(50)]
        for pod in made[1:]:
            await store.delete(pod.key, draft(), expected=pod.revision)
    before = path.stat().st_size
    schema.compact(path)
    assert path.stat().st_size < before / 2
    assert schema.counts(path)["resources"] == [{"resource": "pods", "objects": 1, "bytes": 4000 + len(b'{"revision":2,"say":""}')}]


def test_a_backup_never_replaces_a_file_by_half_a_copy(tmp_path: Path) -> None:
    path, target = fresh_file(tmp_path), tmp_path / "copy.db"
    target.write_bytes(b"the last good backup")
    path.write_bytes(b"not a database " * 1000)
    with pytest.raises(sqlite3.DatabaseError):
        schema.backup(path, target)
    assert target.read_bytes() == b"the last good backup"


def test_a_serving_process_never_loads_what_only_the_child_needs() -> None:
    code = "import sys, edgek.server.store.sqlite; sys.exit('sqlite_utils' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
