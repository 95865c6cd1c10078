"""Reading rows without SQLite, held against SQLite."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from edgek.server.store import carve


@pytest.mark.parametrize("page_bytes", [512, 4096, 65536])
def test_every_row_that_sqlite_wrote_is_found_with_its_values(tmp_path: Path, page_bytes: int) -> None:
    path = tmp_path / "some.db"
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA page_size = {page_bytes}")
    db.execute("CREATE TABLE things (id INTEGER PRIMARY KEY, number INTEGER, text TEXT, body BLOB)")
    numbers = [0, 1, -1, 127, -128, 128, 40_000, 2**23, -(2**31), 2**40, 2**62]
    sizes = [0, 1, 59, 60, 400, 470, 480, 4040, 4061, 4062, 9000, 70_000]
    expected = {
        2**index + index: (None, number, "é" * index, b"x" * size)
        for index, (number, size) in enumerate((number, size) for number in numbers for size in sizes)
        if index < 62
    }
    db.executemany("INSERT INTO things VALUES (?, ?, ?, ?)", [(id_, *columns[1:]) for id_, columns in expected.items()])
    db.commit()
    db.close()
    found = {id_: columns for id_, columns in carve.rows(path) if len(columns) == 4}
    assert found == expected


def test_garbage_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    header = bytearray(4096)
    header[16:18] = (4096).to_bytes(2, "big")
    path.write_bytes(header + b"\x0d" + b"\xff" * 4095 + bytes([0x0D, 0, 0, 0, 3]) + bytes(range(251)) * 17)
    assert [id_ for id_, columns in carve.rows(path) if len(columns) == 10] == []


def test_a_file_too_short_to_be_a_database_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    path.write_bytes(b"short")
    assert list(carve.rows(path)) == []
