"""Whose directory may be deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgek.agent.former_storage import delete, is_ours, remove

FOLDER = Path("/var/lib/edgek/storage")


@pytest.mark.parametrize(
    "path", ["/etc", "/var/lib/edgek/storage", "/var/lib/edgek/storage/..", "/var/lib/edgek/storage/a/b", "/var/lib/edgek/storage/../x"]
)
def test_nothing_outside_the_folder_is_ours(path):
    assert not is_ours(Path(path), FOLDER)
    assert is_ours(FOLDER / "pvc-1", FOLDER)


def test_a_link_in_a_volumes_place_is_removed_and_not_followed(tmp_path):
    precious = tmp_path / "precious"
    (precious / "inside").mkdir(parents=True)
    link = tmp_path / "volume"
    link.symlink_to(precious)
    remove(link)
    assert (precious / "inside").exists()
    assert not link.is_symlink()


def test_a_directory_goes_with_all_in_it_and_may_be_gone_already(tmp_path):
    (tmp_path / "volume" / "deep").mkdir(parents=True)
    for _ in range(2):
        remove(tmp_path / "volume")
    assert not (tmp_path / "volume").exists()


def test_what_a_volume_says_of_other_places_is_not_believed(tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    delete("pv", precious, tmp_path / "storage")
    assert precious.exists()
