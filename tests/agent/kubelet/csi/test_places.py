"""What is on the disk for a volume: written, read again, and removed only where nothing is lost by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgek.agent.kubelet.csi.places import RECORD, Places, Record, remove_device, remove_point

RECORDS = [Record("d.example.com", "h/1", "pv", "node-1", "csi-x", context={"a": "b"}, attached=True), Record("d.example.com", "h", "v", inline=True)]


@pytest.mark.parametrize("record", [*RECORDS, Record("d.example.com", "h", "pv", block=True)], ids=["attached", "inline", "block"])
def test_a_record_is_read_as_it_was_written(tmp_path: Path, record: Record) -> None:
    record.write(tmp_path / "at")
    assert Record.read(tmp_path / "at") == record
    assert [each.name for each in (tmp_path / "at").iterdir()] == [RECORD]


@pytest.mark.parametrize("content", [b"", b"\0" * 300], ids=["empty", "zeros"])
def test_a_record_that_a_power_cut_left_empty_is_none_and_goes_with_the_pod(tmp_path: Path, content: bytes) -> None:
    places = Places(tmp_path)
    share = places.share(RECORDS[0], "u1")
    share.write()
    share.target.mkdir()
    (share.folder / RECORD).write_bytes(content)
    assert places.shares("u1") == []
    places.tidy("u1")
    assert not share.folder.parent.exists()


def test_a_record_that_is_damaged_is_not_forgotten(tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text('{"driverName": "d"}')
    with pytest.raises(OSError, match="is damaged"):
        Record.read(tmp_path)


def test_a_target_without_a_record_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    places = Places(tmp_path)
    share = places.share(RECORDS[0], "u1")
    share.write()
    share.target.mkdir()
    (share.target / "precious").write_text("bytes")
    (share.folder / RECORD).write_bytes(b"")
    with pytest.raises(OSError, match="left alone"):
        places.tidy("u1")
    assert (share.target / "precious").read_text() == "bytes"


def test_a_point_that_is_a_file_goes_and_one_that_holds_something_does_not(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").touch()
    remove_point(tmp_path / "file")
    remove_point(tmp_path / "missing")
    with pytest.raises(OSError, match="left alone"):
        remove_point(tmp_path / "full")
    (tmp_path / "image").write_text("a disk")
    with pytest.raises(OSError, match="left alone"):
        remove_device(tmp_path / "image")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["full", "image"]


def test_volumes_and_their_users_are_found_by_what_is_on_the_disk(tmp_path: Path) -> None:
    places = Places(tmp_path)
    volume = places.volume(RECORDS[0])
    RECORDS[0].write(volume.folder)
    volume.add_user("u1")
    volume.add_user("u2")
    assert (list(places.volumes()), places.users(), places.used_by("u2")) == ([volume], {"u1", "u2"}, [volume])
    volume.drop_user("u1")
    volume.drop_user("u2")
    volume.remove()
    assert list(places.volumes()) == []
