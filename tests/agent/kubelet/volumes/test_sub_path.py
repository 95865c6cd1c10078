from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgek.agent.kubelet.volumes.sub_path import bind
from edgek.agent.kubelet.volumes.volume import VolumeFailed
from tests.fakes.mounts import FakeMounter


def test_a_folder_of_a_volume_is_made_and_bound(tmp_path: Path) -> None:
    volume, mounter = tmp_path / "volume", FakeMounter()
    volume.mkdir()
    target = bind(volume, "a/b", tmp_path / "target", mounter)
    assert (volume / "a/b").is_dir()
    assert target in mounter.mounted


def test_a_file_is_bound_as_a_file_also_behind_links_of_the_volume(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    (volume / "..1").mkdir(parents=True)
    (volume / "..1/key").write_text("x")
    (volume / "..data").symlink_to("..1")
    (volume / "key").symlink_to("..data/key")
    assert bind(volume, "key", tmp_path / "target", FakeMounter()).is_file()


@pytest.mark.parametrize("path", ["../out", "/out", "a/../../out"])
def test_a_path_that_climbs_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(VolumeFailed, match="must be relative"):
        bind(tmp_path, path, tmp_path / "target", FakeMounter())


def test_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "trap").symlink_to("/etc")
    with pytest.raises(VolumeFailed, match="leads out of the volume"):
        bind(volume, "trap", tmp_path / "target", FakeMounter())


def test_folders_that_are_made_may_be_written_by_whoever_may_write_the_volume(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    volume.chmod(0o2777)
    bind(volume, "a/b", tmp_path / "target", FakeMounter())
    assert [(volume / part).stat().st_mode & 0o7777 for part in ("a", "a/b")] == [0o2777, 0o2777]


def test_a_folder_that_becomes_a_link_while_it_is_looked_at_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The swap happens after the path was resolved and before it is walked: the moment that an attacker waits for."""
    volume = tmp_path / "volume"
    (volume / "a").mkdir(parents=True)
    resolve = os.path.realpath

    def swap(path: str | Path, **how: object) -> str:
        found = str(resolve(path))
        if found.endswith("/a"):
            (volume / "a").rename(volume / "former")
            (volume / "a").symlink_to("/etc")
        return found

    monkeypatch.setattr(os.path, "realpath", swap)
    mounter = FakeMounter()
    with pytest.raises((VolumeFailed, OSError)):
        bind(volume, "a", tmp_path / "target", mounter)
    assert mounter.mounted == {}
