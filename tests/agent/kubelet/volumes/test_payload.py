from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgek.agent.kubelet.volumes.payload import Entry, write
from edgek.agent.kubelet.volumes.volume import VolumeFailed


def shown(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file() and not f.parts[len(folder.parts)].startswith("..")}


def test_files_are_what_was_asked_for(tmp_path: Path) -> None:
    assert write(tmp_path, {"a": Entry(b"1", 0o400), "b/c": Entry(b"2")})
    assert (tmp_path / "a").read_bytes() == b"1"
    assert (tmp_path / "b/c").read_bytes() == b"2"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o400
    assert os.readlink(tmp_path / "a") == "..data/a"


def test_everything_changes_at_once(tmp_path: Path) -> None:
    write(tmp_path, {"a": Entry(b"1"), "gone": Entry(b"x")})
    before = os.readlink(tmp_path / "..data")
    descriptor = os.open(tmp_path / "a", os.O_RDONLY)
    assert write(tmp_path, {"a": Entry(b"2"), "new": Entry(b"3")})
    assert os.read(descriptor, 10) == b"1"  # who has the old file open reads on in it
    os.close(descriptor)
    assert (tmp_path / "a").read_bytes() == b"2"
    assert sorted(os.listdir(tmp_path)) == sorted(["..data", os.readlink(tmp_path / "..data"), "a", "new"])
    assert not (tmp_path / before).exists()


def test_the_same_again_touches_nothing(tmp_path: Path) -> None:
    write(tmp_path, {"a": Entry(b"1")})
    before = os.readlink(tmp_path / "..data")
    assert not write(tmp_path, {"a": Entry(b"1")})
    assert os.readlink(tmp_path / "..data") == before


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "..data", "..x/y"])
def test_a_name_cannot_lead_out(tmp_path: Path, name: str) -> None:
    with pytest.raises(VolumeFailed, match="invalid path"):
        write(tmp_path, {name: Entry(b"")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("last", ["mkdir", "write_bytes", "symlink_to", "rename"])
def test_what_an_edgek_left_that_was_killed_is_made_whole_and_cleared_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str) -> None:
    write(tmp_path, {"a": Entry(b"1")})
    step = getattr(Path, last)

    class Killed(BaseException):
        pass

    def do(self: Path, *args: object, **more: object) -> None:
        step(self, *args, **more)
        raise Killed

    monkeypatch.setattr(Path, last, do)
    with pytest.raises(Killed):
        write(tmp_path, {"a": Entry(b"2"), "b": Entry(b"3")})
    monkeypatch.undo()
    write(tmp_path, {"a": Entry(b"2"), "b": Entry(b"3")})
    write(tmp_path, {"a": Entry(b"4"), "b": Entry(b"3")})
    assert ((tmp_path / "a").read_bytes(), (tmp_path / "b").read_bytes()) == (b"4", b"3")
    assert sorted(os.listdir(tmp_path)) == sorted(["..data", os.readlink(tmp_path / "..data"), "a", "b"])
