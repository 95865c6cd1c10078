"""Checks inside the emulated machine, for machine_storage.sh: the drivers with the kernel's NFS client and its project quotas."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from edgek.csi.driver import Capability, NewVolume, Size, Source, Use
from edgek.csi.export import Export
from edgek.csi.hostpath import HostPath
from edgek.csi.messages import MULTI_NODE_MULTI_WRITER, SINGLE_NODE_WRITER
from edgek.csi.mounts import Direct
from edgek.csi.nfs import Nfs
from edgek.host import remote_mount

MB = 1 << 20
SHARED = Capability(MULTI_NODE_MULTI_WRITER)
HERE = Export("127.0.0.1", "/srv/share")
STAGED, TARGET = Path("/tmp/staged"), Path("/tmp/target")


def quota() -> None:
    """A volume on ext4 with project quotas ends where its size says, for whoever is not allowed to overstep limits; and grows."""
    disk, folder = Path("/tmp/disk"), Path("/mnt/quota")
    folder.mkdir()
    with disk.open("wb") as file:
        file.truncate(128 * MB)
    subprocess.run(["mkfs.ext4", "-q", "-O", "quota,project", "-E", "quotatype=prjquota", disk], check=True)
    subprocess.run(["mount", "-o", "loop,prjquota", disk, folder], check=True)
    driver = HostPath(folder / "root", "box")
    for name in ("v", "w"):
        volume = driver.create(NewVolume(name, Size(8 * MB), [Capability(SINGLE_NODE_WRITER)], {}))
        assert volume.context["quota"] == "project", volume
    driver.stage(Use("v", STAGED, Capability(SINGLE_NODE_WRITER)))
    driver.publish(Use("v", TARGET, Capability(SINGLE_NODE_WRITER), staging=STAGED))
    assert "quota exceeded" in filled(16).lower() or "no space" in filled(16).lower(), filled(16)
    assert 7 * MB <= (TARGET / "file").stat().st_size <= 8 * MB
    space, _ = driver.usage("v", TARGET)
    assert space.total == 8 * MB and space.available < MB, space
    (folder / "root" / "w" / "other").write_bytes(bytes(MB))  # the neighbour has its own
    driver.expand("v", Size(24 * MB))
    driver.expand_on_node("v", TARGET)
    assert filled(16) == ""
    driver.snapshot("s", "v")
    driver.unpublish("v", TARGET)
    driver.unstage("v", STAGED)
    for name in ("v", "w"):
        driver.delete(name)
    driver.delete_snapshot("s")
    subprocess.run(["umount", folder], check=True)


def filled(megabytes: int) -> str:
    """What a user that is not root is told who writes that much."""
    argv = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"]
    argv += ["dd", "if=/dev/zero", f"of={TARGET}/file", "bs=1M", f"count={megabytes}", "status=none"]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stderr


def versions() -> None:
    """Each version is what is mounted, with the distribution's helper and by the kernel alone."""
    for flags, kind, helper in (
        (("nfsvers=3",), "nfs", True),
        (("nfsvers=4.1",), "nfs4", True),
        ((), "nfs4", True),
        (("vers=3", "nolock"), "nfs", False),
    ):
        capability = Capability(MULTI_NODE_MULTI_WRITER, mount_flags=flags)
        driver = Nfs(HERE)
        volume = driver.create(NewVolume("v", Size(MB), [capability], {"onDelete": "archive", "subDir": "a b/v"}))
        if helper:
            driver.stage(Use(volume.id, STAGED, capability, volume.context))
        else:
            STAGED.mkdir(exist_ok=True)
            remote_mount.mount_nfs("127.0.0.1", "/srv/share/a b/v", STAGED, flags, helper=False)
        for _ in range(2):
            driver.stage(Use(volume.id, STAGED, capability, volume.context))
            driver.publish(Use(volume.id, TARGET, capability, volume.context, staging=STAGED, read_only=True))
        there = [each for each in Direct().table() if each.point in (str(STAGED), str(TARGET))]
        assert [(each.kind, each.read_only) for each in there] == [(kind, False), (kind, True)], there
        (STAGED / "file").write_text("bytes")
        assert (TARGET / "file").read_text() == "bytes"
        assert driver.usage(volume.id, TARGET)[0].total > 0
        driver.unpublish(volume.id, TARGET)
        driver.unstage(volume.id, STAGED)
        driver.delete(volume.id)
        assert driver.find(volume.id) is None
    archives = list(Path("/srv/share").glob("archived-a b-v*"))
    assert [(each / "file").read_text() for each in archives] == ["bytes"] * 4, archives
    for each in archives:
        shutil.rmtree(each)


def copies() -> None:
    """A volume grows; what was in it is in its clone, and what was in it before in a snapshot and in what is made of that; and all of them go."""
    driver = Nfs(HERE)
    volume = driver.create(NewVolume("v", Size(MB), [SHARED], {}))
    driver.stage(Use(volume.id, STAGED, SHARED, volume.context))
    (STAGED / "file").write_text("before")
    snapshot = driver.snapshot("s", volume.id)
    (STAGED / "file").write_text("after")
    (STAGED / "link").symlink_to("file")
    clone = driver.create(NewVolume("clone", Size(MB), [SHARED], {}, Source(volume_id=volume.id)))
    restored = driver.create(NewVolume("restored", Size(MB), [SHARED], {}, Source(snapshot_id=snapshot.id)))
    assert [Path("/srv/share", name, "file").read_text() for name in ("v", "clone", "restored")] == ["after", "after", "before"]
    assert Path("/srv/share/clone/link").readlink() == Path("file")
    driver.expand(volume.id, Size(2 * MB))
    assert driver.expand_on_node(volume.id, STAGED) == 2 * MB
    driver.unstage(volume.id, STAGED)
    made = {each.id for each in (volume, clone, restored)}
    assert made <= {each.id for each in driver.volumes()}
    for _ in range(2):
        for each in made:
            driver.delete(each)
        driver.delete_snapshot(snapshot.id)
    assert not made & {each.id for each in driver.volumes()}  # there may be those of claims
    assert driver.snapshots() == []
    assert not [name for name in ("v", "clone", "restored") if Path("/srv/share", name).exists()]
    why = ""
    try:
        Nfs().create(NewVolume("v", Size(MB), [SHARED], {"server": "127.0.0.1", "share": "/srv/nowhere"}))
    except OSError as exc:
        why = str(exc)
    assert "127.0.0.1:/srv/nowhere" in why, why


def keep() -> None:
    """One volume stays mounted, for ``dead``."""
    driver = Nfs(HERE)
    driver.stage(Use("kept", STAGED, SHARED, {"server": HERE.server, "share": HERE.share}))
    driver.publish(Use("kept", TARGET, SHARED, staging=STAGED))


def dead() -> None:
    """No call waits for a server that is away for longer than it says, and what is mounted goes."""
    driver = Nfs(HERE)
    for call in (lambda: driver.usage("kept", TARGET), lambda: driver.create(NewVolume("late", Size(MB), [SHARED], {}))):
        began = time.monotonic()
        try:
            call()
        except OSError as exc:
            print(f"given up after {time.monotonic() - began:.1f} s: {str(exc).splitlines()[-1]}")
        else:
            raise AssertionError("a dead server answered")
        assert time.monotonic() - began < 2 * remote_mount.MOUNT_S
    driver.unpublish("kept", TARGET)
    driver.unstage("kept", STAGED)
    assert not [each for each in Direct().table() if each.point in (str(STAGED), str(TARGET))]


def alive() -> None:
    driver = Nfs(HERE)
    driver.delete(driver.create(NewVolume("late", Size(MB), [SHARED], {})).id)
    assert not os.path.lexists("/srv/share/late")


if __name__ == "__main__":
    {"quota": quota, "versions": versions, "copies": copies, "keep": keep, "dead": dead, "alive": alive}[sys.argv[1]]()
