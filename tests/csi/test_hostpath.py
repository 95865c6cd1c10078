"""Where a volume appears, and what it refuses: with the kernel's own mounts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgek.csi.driver import BadRequest, Capability, Differs, Full, InTheWay, NewVolume, NotFound, Size, Use
from edgek.csi.hostpath import TOPOLOGY_KEY, HostPath
from edgek.csi.messages import SINGLE_NODE_READER_ONLY, SINGLE_NODE_SINGLE_WRITER, SINGLE_NODE_WRITER
from edgek.csi.mounts import Direct, exact, flags_of

MB = 1 << 20
WRITER = Capability(SINGLE_NODE_WRITER)


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Path]:
    base = tmp_path.resolve()
    yield base
    direct = Direct()
    for mount in reversed(direct.table()):
        if mount.point.startswith(f"{base}/"):
            direct.unmount(Path(mount.point))


@pytest.fixture
def driver(base: Path) -> HostPath:
    driver = HostPath(base / "root", "n1")
    driver.create(NewVolume("v", Size(MB), [WRITER], {}))
    return driver


def staged(driver: HostPath, base: Path, volume_id: str = "v") -> Path:
    place = base / f"staging-{volume_id}"
    driver.stage(Use(volume_id, place, WRITER))
    return place


def use(base: Path, staging: Path, target: str = "target", capability: Capability = WRITER, *, read_only: bool = False) -> Use:
    return Use("v", base / target, capability, read_only=read_only, staging=staging)


def points(base: Path) -> list[str]:
    return sorted(mount.point.removeprefix(f"{base}/") for mount in Direct().table() if mount.point.startswith(f"{base}/"))


def test_a_root_that_it_makes_is_for_root_alone_and_its_volumes_for_any_user(driver: HostPath, base: Path) -> None:
    assert (base / "root").stat().st_mode & 0o777 == 0o700
    assert (base / "root" / "v").stat().st_mode & 0o777 == 0o777


def test_a_volume_is_at_its_node_and_says_who_holds_its_size(driver: HostPath) -> None:
    found = driver.find("v")
    assert found is not None and found.context["quota"] in ("none", "project")
    assert driver.topology == {TOPOLOGY_KEY: "n1"}


def test_a_root_that_is_a_link_is_followed_once_by_its_operators_wish(driver: HostPath, base: Path) -> None:
    (base / "link").symlink_to(base / "root")
    assert [volume.id for volume in HostPath(base / "link", "n1").volumes()] == ["v"]


def test_more_than_is_free_is_refused(driver: HostPath) -> None:
    too_much = driver.available_bytes({}) + (1 << 50)
    with pytest.raises(Full):
        driver.create(NewVolume("big", Size(too_much), [WRITER], {}))
    with pytest.raises(Full):
        driver.expand("v", Size(too_much))
    assert [volume.id for volume in driver.volumes()] == ["v"]


@pytest.mark.root
def test_a_volume_comes_once_and_goes_for_good(driver: HostPath, base: Path) -> None:
    staging = staged(driver, base)
    for _ in range(2):
        driver.stage(Use("v", staging, WRITER))
        driver.publish(use(base, staging))
    assert points(base) == ["staging-v", "target"]
    (base / "target" / "file").write_text("bytes")
    assert (base / "root" / "v" / "file").read_text() == "bytes"
    for _ in range(2):
        driver.unpublish("v", base / "target")
        driver.unstage("v", staging)
    assert points(base) == [] and not (base / "target").exists()
    driver.delete("v")
    assert not (base / "root" / "v").exists()


@pytest.mark.root
@pytest.mark.parametrize("capability", [Capability(SINGLE_NODE_READER_ONLY), Capability(SINGLE_NODE_WRITER, mount_flags=("ro", "noexec"))])
def test_who_may_only_read_cannot_write(driver: HostPath, base: Path, capability: Capability) -> None:
    driver.publish(use(base, staged(driver, base), capability=capability))
    with pytest.raises(OSError, match="Read-only"):
        (base / "target" / "file").write_text("bytes")
    (base / "root" / "v" / "file").write_text("ours")
    assert (base / "target" / "file").read_text() == "ours"


@pytest.mark.root
def test_a_published_volume_is_not_published_there_with_other_rights(driver: HostPath, base: Path) -> None:
    staging = staged(driver, base)
    driver.publish(use(base, staging, read_only=True))
    with pytest.raises(Differs, match="read-only"):
        driver.publish(use(base, staging))


@pytest.mark.root
def test_a_single_writer_is_alone(driver: HostPath, base: Path) -> None:
    staging, alone = staged(driver, base), Capability(SINGLE_NODE_SINGLE_WRITER)
    for _ in range(2):
        driver.publish(use(base, staging, capability=alone))
    with pytest.raises(InTheWay, match=r"published at .*target"):
        driver.publish(use(base, staging, "second", alone))
    assert not (base / "second").exists()


@pytest.mark.root
def test_a_place_that_has_something_else_is_left_alone(driver: HostPath, base: Path) -> None:
    driver.create(NewVolume("w", Size(MB), [WRITER], {}))
    staging, other = staged(driver, base), staged(driver, base, "w")
    with pytest.raises(Differs, match="something else"):
        driver.stage(Use("v", other, WRITER))
    with pytest.raises(InTheWay, match="is not staged"):
        driver.publish(use(base, other))
    (base / "file").write_text("")
    with pytest.raises(InTheWay, match="no directory"):
        driver.publish(use(base, staging, "file"))
    (base / "full").mkdir()
    (base / "full" / "precious").write_text("bytes")
    with pytest.raises(InTheWay, match="not empty"):
        driver.unpublish("v", base / "full")
    assert (base / "full" / "precious").read_text() == "bytes"


@pytest.mark.root
def test_a_volume_in_use_is_not_deleted(driver: HostPath, base: Path) -> None:
    staging = staged(driver, base)
    with pytest.raises(InTheWay, match="in use"):
        driver.delete("v")
    driver.unstage("v", staging)
    (base / "root" / "v" / "inner").mkdir()
    Direct().bind(base, base / "root" / "v" / "inner", read_only=False, flags=0)
    with pytest.raises(InTheWay, match="inner"):
        driver.delete("v")
    assert (base / "root" / "v").is_dir()


@pytest.mark.root
def test_usage_and_growth_are_of_a_volume_that_is_there(driver: HostPath, base: Path) -> None:
    staging = staged(driver, base)
    driver.expand("v", Size(2 * MB))
    assert driver.expand_on_node("v", staging) == 2 * MB
    space, files = driver.usage("v", staging)
    assert 0 < space.used <= space.total and space.available > 0 and files.total >= files.used
    for elsewhere in (base, base / "none", Path("relative")):
        with pytest.raises(NotFound):
            driver.usage("v", elsewhere)


@pytest.mark.parametrize("path", ["relative", "", "/", "/a/.."])
def test_a_target_is_an_absolute_path(path: str) -> None:
    with pytest.raises(BadRequest):
        exact(Path(path))


def test_a_target_is_taken_by_its_real_folder_and_its_own_name(base: Path) -> None:
    os.symlink(base, base / "link")
    assert exact(base / "link" / "target") == base / "target"


def test_an_unknown_mount_option_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(BadRequest, match="'nfsvers=4' is not supported here; these are: ro, nosuid"):
        flags_of(["rw", "noatime", "nfsvers=4"])
