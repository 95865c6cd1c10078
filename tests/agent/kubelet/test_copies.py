from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgek.agent.kubelet.copies import Copies
from edgek.model import kinds
from edgek.model.objects import Object


def a_pod(phase: str = "Running", revision: str = "1", **meta: object) -> Object:
    return {
        "metadata": {"name": "web", "namespace": "default", "uid": "u1", "resourceVersion": revision, **meta},
        "spec": {"containers": [{"name": "c"}]},
        "status": {"phase": phase, "startTime": "2026-11-20T10:00:00Z"},
    }


def test_a_pod_is_kept_with_what_lasts(tmp_path: Path) -> None:
    Copies(tmp_path / "c").keep_pod(a_pod())
    (found,) = Copies(tmp_path / "c").pods()
    assert found["spec"] == {"containers": [{"name": "c"}]}
    assert found["status"] == {"startTime": "2026-11-20T10:00:00Z"}
    assert "resourceVersion" not in found["metadata"]


def test_only_changes_are_written(tmp_path: Path) -> None:
    copies, file = Copies(tmp_path), tmp_path / "pods/u1.json"
    copies.keep_pod(a_pod())
    before = file.stat().st_ino
    copies.keep_pod(a_pod("Pending", "2"))
    Copies(tmp_path).keep_pod(a_pod(revision="3"))
    assert file.stat().st_ino == before
    copies.keep_pod(a_pod(labels={"a": "b"}))
    assert file.stat().st_ino != before


@pytest.mark.parametrize("over", [a_pod("Succeeded"), a_pod("Failed"), a_pod(deletionTimestamp="2026-11-20T10:00:00Z")])
def test_a_pod_that_is_over_is_not_kept(tmp_path: Path, over: Object) -> None:
    copies = Copies(tmp_path)
    copies.keep_pod(a_pod())
    copies.keep_pod(over)
    assert copies.pods() == []


def test_secrets_are_for_root_alone(tmp_path: Path) -> None:
    copies = Copies(tmp_path / "c")
    copies.keep_object(kinds.SECRET, {"metadata": {"name": "s", "namespace": "default"}, "data": {}})
    (file,) = (tmp_path / "c/objects").iterdir()
    assert (file.stat().st_mode & 0o777, (tmp_path / "c").stat().st_mode & 0o777) == (0o600, 0o700)
    assert copies.find_object(kinds.SECRET, "default", "s") is not None
    assert copies.find_object(kinds.CONFIG_MAP, "default", "s") is None
    copies.drop_object(kinds.SECRET, "default", "s")
    assert copies.find_object(kinds.SECRET, "default", "s") is None


def test_a_disk_that_cannot_be_written_stops_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c").write_text("a file where the folder should be")
    copies = Copies(tmp_path / "c")
    copies.keep_pod(a_pod())
    copies.drop_pod("u1")
    assert "cannot keep a copy" in capsys.readouterr().err


def test_a_broken_copy_is_left_out(tmp_path: Path) -> None:
    os.makedirs(tmp_path / "pods")
    (tmp_path / "pods/x.json").write_text("{")
    Copies(tmp_path).keep_pod(a_pod())
    assert len(Copies(tmp_path).pods()) == 1
