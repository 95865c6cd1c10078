"""The file by itself: batches, and what becomes of the single changes in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgek.model import errors
from edgek.server.store.disk import BLOCK, Change, Disk, OutdatedSchema
from edgek.server.store.rows import Damaged, Row
from tests.server.store.drafts import fresh_file, key


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    opened = Disk(fresh_file(tmp_path))
    opened.load()
    yield opened
    opened.close()


def row(id_: int, name: str, revision: int) -> Row:
    return Row(key(name), "uid", revision, b"{}", {}, {}, id_)


def names(disk: Disk) -> list[tuple[str, int]]:
    return [(found.key.name, found.revision) for found in disk.load().rows]


def test_a_failed_change_does_not_break_its_batch_mates(disk: Disk) -> None:
    outcome = disk.write(
        [
            Change(2, 2, row(2, "a", 2)),
            Change(3, 3, row(3, "a", 3)),  # the name is taken
            Change(4, 4, row(4, "b", 4)),
            Change(9, 5, row(9, "none", 5), replaces=8),  # there is no such row
            Change(2, 6, row(2, "a", 6), replaces=2),
        ]
    )
    assert sorted(outcome.failed) == [1, 3]
    assert all(isinstance(error, errors.ServiceUnavailable) for error in outcome.failed.values())
    assert names(disk) == [("a", 6), ("b", 4)]


def test_what_rests_on_a_failed_change_is_not_written(disk: Disk) -> None:
    disk.write([Change(2, 2, row(2, "a", 2))])
    outcome = disk.write(
        [
            Change(3, 3, row(3, "a", 3)),  # fails: the name is taken
            Change(3, 4, row(3, "a", 4), replaces=3),
            Change(3, 5, None, replaces=4),
        ]
    )
    assert sorted(outcome.failed) == [0, 1, 2]
    assert "rested on" in str(outcome.failed[2])
    assert names(disk) == [("a", 2)]


def test_an_update_that_rests_on_a_failed_update_is_not_written(disk: Disk) -> None:
    disk.write([Change(2, 2, row(2, "a", 2))])
    outcome = disk.write([Change(2, 3, row(2, "a", 3), replaces=1), Change(2, 4, row(2, "a", 4), replaces=3)])
    assert sorted(outcome.failed) == [0, 1]
    assert names(disk) == [("a", 2)]


def test_riders_that_cannot_be_written_leave_their_change_alone(disk: Disk) -> None:
    disk.write([Change(2, 2, row(2, "a", 2))])
    outcome = disk.write([Change(4, 4, row(4, "b", 4), riders={3: row(3, "a", 3)}), Change(5, 5, row(5, "c", 5), riders={2: None})])
    assert not outcome.failed
    assert 0 in outcome.stranded
    assert 1 not in outcome.stranded
    assert names(disk) == [("b", 4), ("c", 5)]


def test_revisions_are_reserved_in_blocks_and_noted_exactly_at_the_end(disk: Disk) -> None:
    assert disk.write([Change(2, 2, row(2, "a", 2))]).reserved == 2 + BLOCK
    assert disk.write([Change(2, 3, row(2, "a", 3), replaces=2)]).reserved == 2 + BLOCK
    half = 4 + BLOCK // 2
    assert disk.write([Change(2, half, row(2, "a", half), replaces=3)]).reserved == half + BLOCK
    assert disk.write([Change(0, half, statement=False, last=True)]).reserved == half
    assert disk.load().reserved == half


def test_a_file_of_another_version_is_not_touched(tmp_path: Path) -> None:
    with pytest.raises(OutdatedSchema):
        Disk(tmp_path / "new.db")


def test_a_row_that_is_not_what_was_written_is_noticed(disk: Disk) -> None:
    disk.write([Change(2, 2, row(2, "a", 2))])
    disk._db.execute("UPDATE objects SET uid = 'other'")
    with pytest.raises(Damaged, match="pods default/a is not what was written"):
        disk.load()
