"""The versions of the file."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from edgek.model import errors
from edgek.server.store import schema
from edgek.server.store.sqlite import SqliteBackend
from tests.server.store.drafts import fresh_file

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


def test_a_serving_process_never_loads_what_only_the_child_needs() -> None:
    code = "import sys, edgek.server.store.sqlite; sys.exit('sqlite_utils' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
