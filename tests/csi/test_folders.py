from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgek.csi.driver import Differs, InTheWay, NotFound, Refused, Size
from edgek.csi.folders import Folders, Record


def make(folders: Folders, name: str = "one", **more: object) -> Record:
    return folders.create(name, Record(name, str(more.pop("folder", name)), 1 << 20, **more), Size(1 << 20))  # type: ignore[arg-type]


def test_a_copy_has_modes_and_links_of_the_original(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    make(folders)
    inside = tmp_path / "one"
    (inside / "secret").write_text("x")
    (inside / "secret").chmod(0o640)
    os.link(inside / "secret", inside / "again")
    (inside / "link").symlink_to("/etc/passwd")
    make(folders, "two", from_volume="one")
    copy = tmp_path / "two"
    assert (copy / "secret").stat().st_mode & 0o777 == 0o640
    assert (copy / "secret").stat().st_ino == (copy / "again").stat().st_ino != (inside / "again").stat().st_ino
    assert (copy / "link").readlink() == Path("/etc/passwd")


def test_a_snapshot_does_not_change_with_its_volume(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    make(folders)
    (tmp_path / "one" / "file").write_text("then")
    taken = folders.snapshot("s", "one")
    (tmp_path / "one" / "file").write_text("now")
    assert folders.snapshot("s", "one") == taken
    make(folders, "two", from_snapshot="s")
    assert (tmp_path / "two" / "file").read_text() == "then"


def test_a_folder_that_was_there_is_neither_taken_nor_deleted(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "file").write_text("somebody's")
    folders = Folders(tmp_path)
    with pytest.raises(Differs, match="belongs to no volume"):
        make(folders)
    folders.create("one", Record("one", "one", 1), Size(1), adopt=True)
    folders.delete("one")
    assert folders.find("one") is None
    assert (tmp_path / "one" / "file").read_text() == "somebody's"


@pytest.mark.parametrize("folder", ["..", "../x", "/etc", "a/../../x", ".edgek/volumes", "."])
def test_no_folder_leads_out_of_the_tree(tmp_path: Path, folder: str) -> None:
    with pytest.raises(InTheWay):
        Folders(tmp_path / "tree").place(folder)


def test_no_volume_lies_behind_a_symbolic_link(tmp_path: Path) -> None:
    outside, tree = tmp_path / "outside", tmp_path / "tree"
    outside.mkdir()
    tree.mkdir()
    (tree / "way").symlink_to(outside)
    with pytest.raises(InTheWay, match="symbolic link"):
        make(Folders(tree), folder="way/in")
    assert os.listdir(outside) == []


def test_deleting_follows_no_link_out_of_the_volume(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    folders = Folders(tmp_path / "tree")
    make(folders)
    (tmp_path / "tree" / "one" / "way").symlink_to(precious)
    folders.delete("one")
    assert not (tmp_path / "tree" / "one").exists()
    assert (precious / "file").read_text() == "x"


def test_archived_volumes_are_kept_each_under_a_name_of_its_own(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    for number in (1, 2):
        make(folders, on_delete="archive")
        (tmp_path / "one" / "file").write_text(str(number))
        folders.delete("one")
    assert [(tmp_path / name / "file").read_text() for name in ("archived-one", "archived-one-2")] == ["1", "2"]


def test_a_retained_volume_is_forgotten_and_its_content_stays(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    make(folders, on_delete="retain")
    folders.delete("one")
    assert folders.find("one") is None
    assert (tmp_path / "one").is_dir()


def test_a_folder_with_another_volume_inside_stays(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    make(folders, folder="team")
    make(folders, "two", folder="team/two")
    folders.delete("one")
    assert (tmp_path / "team" / "two").is_dir()


def test_a_volume_whose_folder_has_gone_is_not_found(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    make(folders)
    (tmp_path / "one").rmdir()
    with pytest.raises(NotFound, match="is not there"):
        folders.folder("one")


def test_a_record_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    make(folders)
    (tmp_path / ".edgek" / "volumes" / "one.json").write_text("{")
    with pytest.raises(Refused, match=r"one\.json is no record"):
        folders.volumes()


def test_a_snapshots_record_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    record = tmp_path / ".edgek" / "snapshots" / "s" / "snapshot.json"
    record.parent.mkdir(parents=True)
    for content in ("{", '{"id": "s"}'):
        record.write_text(content)
        with pytest.raises(Refused, match=r"snapshot\.json is no record"):
            Folders(tmp_path).snapshots()
