import os
import stat
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from edgek.host import files
from edgek.host.worker import Worker


def test_a_file_is_replaced_whole_with_the_mode_asked_for(tmp_path):
    path = tmp_path / "deep" / "secret"
    files.write_atomically(path, "old", 0o644)
    files.write_atomically(path, b"new", files.SECRET_MODE)
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "kept"
    files.write_atomically(path, "old")
    with pytest.raises(TypeError):
        files.write_atomically(path, 7)  # type: ignore[arg-type]
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


async def test_a_lock_lets_one_in_at_a_time_and_goes_with_an_error(tmp_path):
    inside, most = 0, 0

    def work():
        nonlocal inside, most
        for _ in range(50):
            with suppress(KeyError), files.locked(tmp_path / "deep" / "lock"):
                inside += 1
                most = max(most, inside)
                os.sched_yield()
                inside -= 1
                raise KeyError

    worker = Worker(3)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(worker.run, work)
    assert most == 1


def test_a_folder_in_memory_is_told_from_one_on_a_disk(tmp_path):
    assert files.in_memory(Path("/dev/shm/there/is/nothing"))
    assert not files.in_memory(Path("/usr/lib"))
