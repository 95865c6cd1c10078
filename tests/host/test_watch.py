from __future__ import annotations

from pathlib import Path

import pytest
import trio

from edgek.host import watch


async def test_a_file_that_is_written_and_one_that_is_moved_in_are_told(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with trio.fail_after(20), watch.folder(tmp_path / "in") as changes:
        (tmp_path / "in/written").write_text("x")
        (tmp_path / "moved").write_text("x")
        (tmp_path / "moved").rename(tmp_path / "in/moved")
        assert [(await anext(changes)).name, (await anext(changes)).name] == ["written", "moved"]


async def test_a_reader_waits_for_the_next_change(tmp_path: Path) -> None:
    told = []

    async def listen(task_status: trio.TaskStatus[None]) -> None:
        with watch.folder(tmp_path) as changes:
            task_status.started()
            told.append((await anext(changes)).name)

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(listen)
            assert told == []
            await trio.Path(tmp_path / "late").write_text("x")
    assert told == ["late"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"), watch.folder(tmp_path / "nowhere"):
        pass
