from __future__ import annotations

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
