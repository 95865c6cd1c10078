"""A damaged file: what is lost is named, the rest is kept, and the damaged file stays for a closer look."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from edgek.model import errors
from edgek.server.store import salvage, schema, upkeep
from edgek.server.store.disk import PAGE_BYTES
from edgek.server.store.sqlite import SqliteBackend
from tests.server.store.drafts import draft, fresh_file, key, said

COUNT = 60


async def filled(path: Path) -> int:
    """So many pods of almost a page each; the newest revision."""
    async with SqliteBackend.open(path) as store:
        for number in range(COUNT - 1):
            await store.create(key(f"p{number:02}"), draft("x" * 3500))
        await store.create(key("q-large"), draft("y" * 30_000))
        return store.revision


def page_of(path: Path, needle: bytes) -> int:
    """The first byte of the page where this stands."""
    return path.read_bytes().index(needle) // PAGE_BYTES * PAGE_BYTES


def overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("rb+") as file:
        file.seek(offset)
        file.write(content)


def zero_root(path: Path, tree: str) -> None:
    db = sqlite3.connect(path)
    (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", [tree]).fetchone()
    db.close()
    overwrite(path, (root - 1) * PAGE_BYTES, bytes(PAGE_BYTES))


def lost_page(path: Path) -> None:
    """A leaf of the table is all zeros, as after a torn write. It holds one pod, said to be p30."""
    overwrite(path, page_of(path, b"defaultp30uid"), bytes(PAGE_BYTES))


def flipped_byte(path: Path) -> None:
    """SQLite cannot notice this one."""
    overwrite(path, path.read_bytes().index(b"defaultp30uid") + 1000, b"?")


@pytest.mark.parametrize("damage", [lost_page, flipped_byte])
async def test_the_damaged_object_is_named_and_the_rest_is_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None]
) -> None:
    path = fresh_file(tmp_path)
    seen = await filled(path)
    damage(path)
    async with SqliteBackend.open(path) as store:
        names = [record.key.name for record in store.list("pods").records]
        assert len(names) == COUNT - 1
        assert "p30" not in names
        assert store.revision > seen
        with pytest.raises(errors.Expired):
            store.watch("pods", "", seen, lambda events: None)
        await store.create(key("p30"), draft("again"))
    told = capsys.readouterr().err
    assert 'object lost object="pods default/p30"' in told
    assert f"kept={COUNT - 1} lost=1" in told
    assert sum("state.db.damaged-" in name for name in os.listdir(tmp_path)) == 1, "the log was moved into the file, nothing is left of it"
    assert upkeep.check(path) == []
    async with SqliteBackend.open(path) as store:
        assert [said(record) for record in store.list("pods").records if record.key.name == "p30"] == ["again"]


@pytest.mark.parametrize("tree", ["objects", "objects_place"])
async def test_a_broken_tree_loses_nothing_that_stands_below_it(tmp_path: Path, capsys: pytest.CaptureFixture[str], tree: str) -> None:
    path = fresh_file(tmp_path)
    await filled(path)
    zero_root(path, tree)
    async with SqliteBackend.open(path) as store:
        assert [said(record) for record in store.list("pods").records] == ["x" * 3500] * (COUNT - 1) + ["y" * 30_000]
    assert f"kept={COUNT} lost=0" in capsys.readouterr().err


async def test_what_was_deleted_is_not_found_again_in_pages_that_were_given_up(tmp_path: Path) -> None:
    path = fresh_file(tmp_path)
    await filled(path)
    async with SqliteBackend.open(path) as store:
        for record in store.list("pods").records[5:40]:
            await store.delete(record.key, draft(), expected=record.revision)
        left = [record.key for record in store.list("pods").records]
    zero_root(path, "objects")
    async with SqliteBackend.open(path) as store:
        assert [record.key for record in store.list("pods").records] == left


async def test_a_file_in_which_nothing_can_be_found_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = fresh_file(tmp_path)
    await filled(path)
    for tree in ("objects", "objects_place"):
        zero_root(path, tree)
    with pytest.raises(errors.UsageError, match="not one object can be found"):
        async with SqliteBackend.open(path):
            pass
    assert not any(name.startswith(("state.db.damaged", "state.db.salvaged", "state.db.part")) for name in os.listdir(tmp_path))


async def test_a_lost_counter_leaps_over_every_revision_that_was_seen(tmp_path: Path) -> None:
    path = fresh_file(tmp_path)
    seen = await filled(path)
    zero_root(path, "counter")
    async with SqliteBackend.open(path) as store:
        assert store.revision == seen + salvage.LEAP
        assert len(store.list("pods").records) == COUNT


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"not a database " * 1000)
    with pytest.raises(errors.UsageError, match="is no readable database: put a backup in its place"):
        async with SqliteBackend.open(path):
            pass
    assert path.read_bytes() == b"not a database " * 1000


async def test_a_swap_that_was_cut_is_completed_by_the_next_start(tmp_path: Path) -> None:
    """The fresh copy was finished, the old file and its log still stand in its place."""
    path = fresh_file(tmp_path)
    await filled(path)
    (tmp_path / "fresh").mkdir()
    fresh_file(tmp_path / "fresh").rename(path.with_name("state.db.salvaged"))
    path.with_name("state.db-wal").write_bytes(b"a log of the old file")
    async with SqliteBackend.open(path) as store:
        assert store.list("pods").records == []
    assert not path.with_name("state.db.salvaged").exists()


async def test_the_damaged_files_of_one_second_do_not_replace_each_other(tmp_path: Path) -> None:
    path = fresh_file(tmp_path)
    await filled(path)
    results = [salvage.rescue(path, schema.migrate) for _ in range(2)]
    assert len({result.damaged for result in results}) == 2
    assert all(os.stat(result.damaged).st_size for result in results)
