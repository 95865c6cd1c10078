"""Whose directory may be deleted, and when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgek.agent.local_storage import Doomed, _remove, doomed, is_ours
from edgek.model.local_storage import FINALIZER, IN_USE_FINALIZER

FOLDER = Path("/var/lib/edgek/storage")


def volume(*finalizers: str, deleting: bool = True) -> dict[str, Any]:
    stamp = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleting else {}
    return {"metadata": {"name": "pv", "finalizers": list(finalizers), **stamp}, "spec": {"hostPath": {"path": f"{FOLDER}/pv_default_data"}}}


def test_a_deleted_volume_that_only_we_hold_goes():
    assert doomed(volume("other", FINALIZER)) == Doomed("pv", FOLDER / "pv_default_data", 1)


@pytest.mark.parametrize(
    "kept",
    [volume(FINALIZER, deleting=False), volume(IN_USE_FINALIZER, FINALIZER), volume("other")],
    ids=["a volume that is wanted", "one that a claim still uses", "one that is not ours any more"],
)
def test_it_stays(kept):
    assert doomed(kept) is None


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
    _remove(link)
    assert (precious / "inside").exists()
    assert not link.is_symlink()


def test_a_directory_goes_with_all_in_it_and_may_be_gone_already(tmp_path):
    (tmp_path / "volume" / "deep").mkdir(parents=True)
    for _ in range(2):
        _remove(tmp_path / "volume")
    assert not (tmp_path / "volume").exists()
