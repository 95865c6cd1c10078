"""Volumes on an export: a folder stands for the server, and the kernel binds what it would mount. The real ones are in test_machine_storage.py."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgek.csi.driver import BadRequest, Capability, Differs, InTheWay, NewVolume, NotFound, Size, Source, Use
from edgek.csi.export import Export
from edgek.csi.messages import MULTI_NODE_MULTI_WRITER, MULTI_NODE_READER_ONLY, SINGLE_NODE_SINGLE_WRITER
from edgek.csi.mounts import Direct
from edgek.csi.nfs import Nfs
from tests.fakes.reach import Bound, Folder

MB = 1 << 20
SHARED = Capability(MULTI_NODE_MULTI_WRITER)
OF_PVC = {"csi.storage.k8s.io/pvc/name": "data", "csi.storage.k8s.io/pvc/namespace": "shop", "csi.storage.k8s.io/pv/name": "pvc-1"}


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Path]:
    base = tmp_path.resolve()
    yield base
    direct = Direct()
    for mount in reversed(direct.table()):
        if mount.point.startswith(f"{base}/"):
            direct.unmount(Path(mount.point))


@pytest.fixture
def reach(base: Path) -> Folder:
    return Folder(base / "export")


@pytest.fixture
def driver(base: Path, reach: Folder) -> Nfs:
    return Nfs(Export("files", "/share"), reach, Bound(base / "export"))


def new(name: str, source: Source | None = None, **parameters: str) -> NewVolume:
    return NewVolume(name, Size(MB), [SHARED], parameters, source)


def use(volume: Any, target: Path, staging: Path | None = None, capability: Capability = SHARED, *, read_only: bool = False) -> Use:
    return Use(volume.id, target, capability, volume.context, read_only=read_only, staging=staging)


def points(base: Path) -> list[str]:
    return sorted(mount.point.removeprefix(f"{base}/") for mount in Direct().table() if mount.point.startswith(f"{base}/"))


def test_a_volumes_context_says_where_it_is_as_csi_driver_nfs_does(driver: Nfs, base: Path) -> None:
    found = driver.create(NewVolume("pvc-1", Size(MB), [SHARED], {"subDir": "${pvc.metadata.namespace}/${pvc.metadata.name}", **OF_PVC}))
    assert found.context == {"server": "files", "share": "/share", "subDir": "shop/data"}
    assert found.id == "files#/share##pvc-1"
    assert (base / "export" / "shop" / "data").stat().st_mode & 0o777 == 0o777


def test_permissions_are_those_of_the_class(driver: Nfs, base: Path) -> None:
    driver.create(new("v", mountPermissions="0750"))
    assert (base / "export" / "v").stat().st_mode & 0o7777 == 0o750


def test_versions_that_a_class_asks_for_are_used_to_delete_the_volume_too(driver: Nfs, reach: Folder) -> None:
    wanted = NewVolume("v", Size(MB), [Capability(MULTI_NODE_MULTI_WRITER, mount_flags=("nfsvers=3", "noatime"))], {})
    driver.delete(driver.create(wanted).id)
    assert reach.asked == [Export("files", "/share", "nfsvers=3")] * 2


@pytest.mark.parametrize(("policy", "left"), [("delete", []), ("retain", ["shop"]), ("archive", ["archived-shop-data"])])
def test_what_is_left_of_a_volume_is_what_its_class_says(driver: Nfs, base: Path, policy: str, left: list[str]) -> None:
    volume = driver.create(new("v", subDir="shop/data", onDelete=policy))
    (base / "export" / "shop" / "data" / "file").write_text("bytes")
    for _ in range(2):
        driver.delete(volume.id)
    assert [
        name for name in sorted(os.listdir(base / "export")) if name.startswith("archived") or list((base / "export" / name).rglob("file"))
    ] == left
    assert driver.volumes() == []


def test_a_directory_that_was_there_is_used_and_never_deleted(driver: Nfs, base: Path) -> None:
    (base / "export" / "old").mkdir(parents=True)
    (base / "export" / "old" / "file").write_text("bytes")
    driver.delete(driver.create(new("v", subDir="old")).id)
    assert (base / "export" / "old" / "file").read_text() == "bytes"


def test_volumes_of_one_directory_share_it_and_the_last_leaves_it_to_its_maker(driver: Nfs, base: Path) -> None:
    first, second = (driver.create(new(name, subDir="common")) for name in ("a", "b"))
    (base / "export" / "common" / "file").write_text("bytes")
    driver.delete(first.id)
    assert (base / "export" / "common" / "file").read_text() == "bytes"
    driver.delete(second.id)
    assert (base / "export" / "common" / "file").read_text() == "bytes"


def test_a_clone_and_a_snapshot_carry_the_content_and_name_their_source(driver: Nfs, base: Path) -> None:
    volume = driver.create(new("v"))
    (base / "export" / "v" / "file").write_text("bytes")
    taken = driver.snapshot("s", volume.id)
    (base / "export" / "v" / "file").write_text("later")
    restored, clone = driver.create(new("r", Source(snapshot_id=taken.id))), driver.create(new("c", Source(volume_id=volume.id)))
    assert taken.volume_id == volume.id and driver.snapshots() == [taken]
    assert [(base / "export" / name / "file").read_text() for name in ("r", "c")] == ["bytes", "later"]
    assert (restored.source, clone.source) == (Source(snapshot_id=taken.id), Source(volume_id=volume.id))


def test_a_copy_is_made_on_one_export_and_into_nothing_that_has_content(driver: Nfs, base: Path) -> None:
    volume = driver.create(new("v"))
    with pytest.raises(BadRequest, match="export of its source"):
        driver.create(new("c", Source(volume_id=volume.id), server="other", share="/share"))
    (base / "export" / "old").mkdir()
    with pytest.raises(Differs, match="content of its own"):
        driver.create(new("c", Source(volume_id=volume.id), subDir="old"))


def test_a_server_that_does_not_answer_is_an_error_and_leaves_the_call_to_be_made_again(driver: Nfs, reach: Folder) -> None:
    reach.down = True
    with pytest.raises(TimeoutError):
        driver.create(new("v"))
    reach.down = False
    volume = driver.create(new("v"))
    reach.down = True
    with pytest.raises(TimeoutError):
        driver.delete(volume.id)
    reach.down = False
    assert [each.id for each in driver.volumes()] == [volume.id]


def test_without_an_export_of_its_own_a_driver_lists_nothing_and_wants_to_be_told(reach: Folder) -> None:
    driver = Nfs(None, reach)
    assert (driver.volumes(), driver.snapshots(), reach.asked) == ([], [], [])
    with pytest.raises(BadRequest, match="server is a required parameter"):
        driver.create(new("v"))


@pytest.mark.root
def test_a_volume_is_mounted_once_for_its_node_and_bound_for_each_pod(driver: Nfs, base: Path) -> None:
    volume, staging = driver.create(new("v")), base / "staging"
    for _ in range(2):
        driver.stage(use(volume, staging))
        driver.publish(use(volume, base / "one", staging))
        driver.publish(use(volume, base / "two", staging, read_only=True))
    assert points(base) == ["one", "staging", "two"]
    (base / "one" / "file").write_text("bytes")
    assert (base / "two" / "file").read_text() == "bytes"
    with pytest.raises(OSError, match="Read-only"):
        (base / "two" / "file").write_text("mine")
    for _ in range(2):
        driver.unpublish(volume.id, base / "one")
        driver.unpublish(volume.id, base / "two")
        driver.unstage(volume.id, staging)
    assert points(base) == [] and (base / "export" / "v" / "file").read_text() == "bytes"


@pytest.mark.root
def test_a_volume_that_was_written_by_hand_needs_no_record(driver: Nfs, base: Path, reach: Folder) -> None:
    (base / "export" / "by" / "hand").mkdir(parents=True)
    flags = Capability(MULTI_NODE_MULTI_WRITER, mount_flags=("nfsvers=4.1", "rw", "hard"))
    driver.stage(Use("anything", base / "staging", flags, {"server": "files", "share": "/share/by", "subdir": "hand"}))
    assert points(base) == ["staging"] and reach.asked == []
    assert driver._mounts.options == [["nfsvers=4.1", "hard"]]  # type: ignore[attr-defined]  # a Bound's
    assert driver.usage("anything", base / "staging")[0].total > 0
    driver.delete("anything")
    assert (base / "export" / "by" / "hand").is_dir()


@pytest.mark.root
def test_readers_of_many_nodes_only_read_and_a_single_writer_is_alone(driver: Nfs, base: Path) -> None:
    volume, staging = driver.create(new("v")), base / "staging"
    driver.stage(use(volume, staging))
    driver.publish(use(volume, base / "reader", staging, Capability(MULTI_NODE_READER_ONLY)))
    with pytest.raises(OSError, match="Read-only"):
        (base / "reader" / "file").write_text("bytes")
    with pytest.raises(InTheWay, match=r"published at .*reader"):
        driver.publish(use(volume, base / "writer", staging, Capability(SINGLE_NODE_SINGLE_WRITER)))


@pytest.mark.root
def test_a_place_that_has_another_volume_is_left_alone(driver: Nfs, base: Path) -> None:
    one, two = driver.create(new("one")), driver.create(new("two"))
    driver.stage(use(one, base / "staging"))
    with pytest.raises(Differs, match=r"something else is mounted: files:/share/one"):
        driver.stage(use(two, base / "staging"))
    for elsewhere in ("other", "staging"):
        with pytest.raises(InTheWay, match="is not staged"):
            driver.publish(use(two, base / "target", base / elsewhere))
    with pytest.raises(NotFound):
        driver.usage("other#/share##v", base / "staging")


@pytest.mark.root
def test_a_server_that_does_not_answer_holds_up_no_unpublishing(driver: Nfs, base: Path) -> None:
    volume, staging = driver.create(new("v")), base / "staging"
    driver.stage(use(volume, staging))
    driver.publish(use(volume, base / "target", staging))
    driver._mounts.hung = True  # type: ignore[attr-defined]  # a Bound's
    with pytest.raises(TimeoutError):
        driver.usage(volume.id, base / "target")
    driver.unpublish(volume.id, base / "target")
    driver.unstage(volume.id, staging)
    assert points(base) == []
