from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

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


@pytest.mark.parametrize("swapped", ["a", "a/b", "a/b/c"])
@pytest.mark.parametrize("moment", range(5))
def test_whatever_is_swapped_for_a_link_and_whenever_nothing_outside_is_mounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swapped: str, moment: int
) -> None:
    """Before every step of the walk, and before what it found is mounted."""
    volume, outside = tmp_path / "volume", tmp_path / "outside"
    (volume / "a/b/c").mkdir(parents=True)
    (outside / "b/c").mkdir(parents=True)
    (outside / "c").mkdir()
    inside = {(seen.st_dev, seen.st_ino) for seen in (os.stat(volume / part) for part in ("a", "a/b", "a/b/c"))}
    steps, really_open = 0, os.open

    def step() -> None:
        nonlocal steps
        if steps == moment:
            (volume / swapped).rename(tmp_path / "former")
            (volume / swapped).symlink_to(outside)
        steps += 1

    def opening(*args: Any, **how: Any) -> int:
        step()
        return really_open(*args, **how)

    class Kernel(FakeMounter):
        def bind(self, source: str | Path, target: Path) -> None:
            step()
            seen = os.stat(source)
            assert (seen.st_dev, seen.st_ino) in inside
            super().bind(source, target)

    monkeypatch.setattr(os, "open", opening)
    with contextlib.suppress(VolumeFailed, OSError):
        bind(volume, "a/b/c", tmp_path / "target", Kernel())
    assert steps > moment  # four folders are opened, then there is the mount: each was disturbed
    assert {str(path.relative_to(outside)) for path in outside.rglob("*")} == {"b", "b/c", "c"}
