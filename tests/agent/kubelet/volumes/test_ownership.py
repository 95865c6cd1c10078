"""A volume's files for the pod's group."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from edgek.agent.kubelet.volumes import ownership

GROUP = 4321
pytestmark = pytest.mark.root


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    made = tmp_path / "volume"
    (made / "folder").mkdir(parents=True)
    made.chmod(0o755)
    (made / "folder" / "file").write_text("x")
    (made / "folder" / "file").chmod(0o600)
    (made / "program").write_text("x")
    (made / "program").chmod(0o4755)
    (made / "out").symlink_to(tmp_path / "outside")
    (tmp_path / "outside").write_text("not ours")
    return made


def seen(path: Path) -> tuple[int, str]:
    found = path.lstat()
    return found.st_gid, oct(found.st_mode & 0o7777)


def test_all_files_are_given_to_the_group_and_links_are_not_followed(volume: Path) -> None:
    ownership.give(volume, GROUP, "Always")
    assert seen(volume) == (GROUP, "0o2775")
    assert seen(volume / "folder") == (GROUP, "0o2775")
    assert seen(volume / "folder" / "file") == (GROUP, "0o660")
    assert seen(volume / "program") == (GROUP, "0o4775")
    assert (volume / "out").lstat().st_gid == GROUP
    assert (volume.parent / "outside").stat().st_gid == os.getgid()


def test_on_root_mismatch_a_volume_that_fits_is_left_alone(volume: Path) -> None:
    ownership.give(volume, GROUP, "OnRootMismatch")
    assert seen(volume / "folder" / "file") == (GROUP, "0o660")
    (volume / "new").write_text("x")
    os.chown(volume / "new", -1, 0)
    (volume / "new").chmod(0o600)
    ownership.give(volume, GROUP, "OnRootMismatch")
    assert seen(volume / "new") == (0, "0o600")
    ownership.give(volume, GROUP, "Always")
    assert seen(volume / "new") == (GROUP, "0o660")


def test_a_change_that_was_interrupted_is_made_again(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give, left = os.chown, [2]

    def broken(path: str, user: int, group: int, **how: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError("power cut")
        give(path, user, group, **how)

    monkeypatch.setattr(os, "chown", broken)
    with pytest.raises(OSError, match="power cut"):
        ownership.give(volume, GROUP, "OnRootMismatch")
    monkeypatch.undo()
    ownership.give(volume, GROUP, "OnRootMismatch")
    assert seen(volume / "folder" / "file") == (GROUP, "0o660")
    assert seen(volume) == (GROUP, "0o2775")


def test_a_file_that_another_pod_replaces_by_a_link_leads_nowhere(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside, opened = volume.parent / "outside", os.open
    outside.chmod(0o600)

    def late(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == "program":
            (volume / "program").unlink()
            (volume / "program").symlink_to(outside)
        return opened(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", late)
    ownership.give(volume, GROUP, "Always")
    assert (volume / "program").is_symlink()
    assert seen(outside) == (os.getgid(), "0o600")
    assert seen(volume / "folder" / "file") == (GROUP, "0o660")
