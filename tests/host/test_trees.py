"""Folders that others filled: walked and removed, however deep and whatever is in the way."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from edgek.host import trees
from edgek.host.mount import Kernel

DEEP = 1500  # more than Python calls itself, and than a process has files open by default


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A folder in a folder, and so on; a file in each. Longer than any path may be."""
    top = tmp_path / "deep"
    top.mkdir()
    at = os.open(top, trees.FOLDER)
    for _ in range(DEEP):
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=at))
        os.mkdir("folder", dir_fd=at)
        below = os.open("folder", trees.FOLDER, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    return top


def test_a_deep_tree_is_walked_from_below_and_removed(deep: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    found = [names for _, names in trees.walk(deep)]
    assert found == [[], *[["file"]] * DEEP]
    trees.remove(deep)
    assert not deep.exists()
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_is_not_there_is_removed(tmp_path: Path) -> None:
    trees.remove(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def test_links_go_and_what_they_lead_to_stays(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("x")
    (tmp_path / "tree" / "folder").mkdir(parents=True)
    (tmp_path / "tree" / "folder" / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "tree" / "broken").symlink_to("nowhere")
    assert sorted(name for _, names in trees.walk(tmp_path / "tree") for name in names) == ["broken", "link"]
    trees.remove(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()
    assert (tmp_path / "kept" / "file").read_text() == "x"


def test_a_link_in_the_place_of_the_tree_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to("kept")
    for attempt in (trees.remove, lambda path: list(trees.walk(path))):
        with pytest.raises(OSError, match="link"):
            attempt(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()


def test_a_folder_that_is_moved_while_it_is_looked_at_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "tree" / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    walk = trees.walk(tmp_path / "tree")
    next(walk)
    shutil.move(tmp_path / "tree" / "folder" / "inner", tmp_path / "elsewhere")
    with pytest.raises(OSError, match="moved while it was looked at"):
        list(walk)


def test_a_folder_that_becomes_a_link_meanwhile_is_passed_by(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    for name in ("one", "two"):
        (tmp_path / "tree" / name).mkdir(parents=True)
    seen = []
    for folder, _ in trees.walk(tmp_path / "tree"):
        seen.append(os.readlink(f"/proc/self/fd/{folder}"))
        for other in ("one", "two"):
            if not seen[-1].endswith(other) and len(seen) == 1:
                (tmp_path / "tree" / other).rmdir()
                (tmp_path / "tree" / other).symlink_to(tmp_path / "outside")
    assert len(seen) == 2
    assert str(tmp_path / "outside") not in seen


@pytest.mark.root
def test_what_is_mounted_in_a_tree_is_neither_emptied_nor_removed(tmp_path: Path) -> None:
    mounted, kernel = tmp_path / "tree" / "folder" / "mounted", Kernel()
    mounted.mkdir(parents=True)
    kernel.tmpfs(mounted)
    try:
        (mounted / "precious").write_text("x")
        with pytest.raises(OSError, match="busy"):
            trees.remove(tmp_path / "tree")
        (found,) = (tmp_path / "tree").rglob("precious")
        assert found.read_text() == "x"
    finally:
        kernel.unmount(mounted)
