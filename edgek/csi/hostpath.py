"""hostpath.edgek.io: a directory a volume, on this node's disk.

Volumes lie in one tree (``folders.py``) and are reached on this node only, which their topology says. A limit is held by project quota where the file
system counts by project; elsewhere the size is a promise that nobody enforces, and the volume's context says so: ``quota: none``.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from edgek.csi.driver import BadRequest, Full, InTheWay, NewVolume, NotFound, Settings, Size, Snapshot, Usage, Use, Volume
from edgek.csi.folders import DEFAULT_BYTES, Folders, Record, id_of
from edgek.csi.messages import SINGLE_NODE_MULTI_WRITER, SINGLE_NODE_READER_ONLY, SINGLE_NODE_SINGLE_WRITER, SINGLE_NODE_WRITER
from edgek.csi.mounts import Direct, Mounts, appear, at, exact, flags_of, reads_only, vanish
from edgek.host.mount_table import Mount
from edgek.host.quota import ProjectQuota

TOPOLOGY_KEY = "topology.hostpath.edgek.io/node"
OF_KUBERNETES = "csi.storage.k8s.io/"  # parameters that tell whose volume it is
FIRST_PROJECT, PROJECTS = 1 << 28, 1 << 28  # quota numbers below are other people's


class HostPath:
    name: ClassVar[str] = "hostpath.edgek.io"
    modes: ClassVar[frozenset[int]] = frozenset(
        {SINGLE_NODE_WRITER, SINGLE_NODE_READER_ONLY, SINGLE_NODE_SINGLE_WRITER, SINGLE_NODE_MULTI_WRITER},
    )
    expands_on_node: ClassVar[bool] = True

    def __init__(self, root: Path, node_id: str, mounts: Mounts | None = None) -> None:
        """Makes ``root`` where it is missing, for root alone: whoever may write to a volume reaches it by its mount. Raises OSError."""
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root = root.resolve()
        self.topology: Mapping[str, str] = {TOPOLOGY_KEY: node_id}
        self._mounts = mounts or Direct()
        self._quota = ProjectQuota()
        self._counts = self._quota.works_on(self._root)
        self._folders = Folders(self._root, self._confine)

    # Making

    def id_of(self, wanted: NewVolume) -> str:
        return id_of(wanted.name)

    def create(self, wanted: NewVolume) -> Volume:
        for name in wanted.parameters:
            if not name.startswith(OF_KUBERNETES):
                raise BadRequest(f"{self.name} knows no parameter {name!r}")
        id_ = self.id_of(wanted)
        capacity = wanted.size.chosen(DEFAULT_BYTES)
        if self._folders.find(id_) is None and capacity > (free := self.available_bytes(wanted.parameters)):
            raise Full(f"{capacity} bytes are wanted, {free} are free below {self._root}")
        source = wanted.source
        record = Record(
            wanted.name,
            id_,
            capacity,
            dict(wanted.parameters),
            source.volume_id if source else "",
            source.snapshot_id if source else "",
            project=self._project(id_) if self._counts else 0,
        )
        return _volume(id_, self._folders.create(id_, record, wanted.size))

    def _project(self, id_: str) -> int:
        """A number that no other volume has; mostly the same for the same volume, so that two at once do not meet."""
        taken = {record.project for _, record in self._folders.volumes()}
        number = zlib.crc32(id_.encode()) % PROJECTS
        while FIRST_PROJECT + number in taken:
            number = (number + 1) % PROJECTS
        return FIRST_PROJECT + number

    def _confine(self, folder: Path, record: Record) -> None:
        if record.project:
            self._quota.limit(folder, record.project, record.capacity_bytes)

    def delete(self, volume_id: str) -> None:
        record = self._folders.find(volume_id)
        if record is not None:
            self._refuse_in_use(self._folders.place(record.folder))
        self._folders.delete(volume_id)

    def _refuse_in_use(self, folder: Path) -> None:
        """A mount of it, or one inside it, whose content would go, too."""
        table = self._mounts.table()
        is_ours = IsMountOf(folder, table)
        for mount in table:
            if is_ours(mount) or mount.point.startswith(f"{folder}/"):
                raise InTheWay(f"volume {folder.name!r} is in use: mounted at {mount.point}")

    def find(self, volume_id: str) -> Volume | None:
        record = self._folders.find(volume_id)
        return None if record is None else _volume(volume_id, record)

    def volumes(self) -> list[Volume]:
        return [_volume(id_, record) for id_, record in self._folders.volumes()]

    def expand(self, volume_id: str, size: Size) -> Volume:
        growth = size.required_bytes - self._folders.get(volume_id).capacity_bytes
        if growth > 0 and growth > (free := self.available_bytes({})):
            raise Full(f"{growth} bytes more are wanted, {free} are free below {self._root}")
        return _volume(volume_id, self._folders.expand(volume_id, size))

    def available_bytes(self, parameters: Mapping[str, str]) -> int:
        seen = os.statvfs(self._root)
        return seen.f_bavail * seen.f_frsize

    def snapshot_id_of(self, name: str, volume_id: str) -> str:
        return id_of(name)

    def snapshot(self, name: str, volume_id: str) -> Snapshot:
        return self._folders.snapshot(name, volume_id)

    def delete_snapshot(self, snapshot_id: str) -> None:
        self._folders.delete_snapshot(snapshot_id)

    def snapshots(self) -> list[Snapshot]:
        return self._folders.snapshots()

    # Using

    def stage(self, use: Use) -> None:
        folder, target = self._folders.folder(use.volume_id), exact(use.target)
        flags_of(use.capability.mount_flags)  # a bad one is better refused here than for each pod
        appear(self._mounts, folder, target, IsMountOf(folder, self._mounts.table()))

    def unstage(self, volume_id: str, staging: Path) -> None:
        """The staging folder itself is its maker's."""
        self._mounts.unmount(exact(staging))

    def publish(self, use: Use) -> None:
        folder, target = self._folders.folder(use.volume_id), exact(use.target)
        table = self._mounts.table()
        is_ours = IsMountOf(folder, table)
        if use.staging is None:
            raise InTheWay("staging_target_path is not set")
        staging = exact(use.staging)
        staged = at(table, staging)
        if staged is None or not is_ours(staged):
            raise InTheWay(f"volume {use.volume_id!r} is not staged at {staging}")
        if use.capability.mode == SINGLE_NODE_SINGLE_WRITER:
            other = next((each.point for each in table if is_ours(each) and each.point not in (str(staging), str(target))), None)
            if other is not None:
                raise InTheWay(f"volume {use.volume_id!r} is for a single writer, and published at {other}")
        read_only = use.read_only or reads_only(use.capability)
        appear(self._mounts, folder, target, is_ours, read_only=read_only, flags=flags_of(use.capability.mount_flags))

    def unpublish(self, volume_id: str, target: Path) -> None:
        vanish(self._mounts, exact(target))

    def usage(self, volume_id: str, path: Path) -> tuple[Usage, Usage]:
        """Of the volume where it has a quota, else of the file system that it shares."""
        folder = self._published(volume_id, path)
        seen = os.statvfs(folder)
        unit = seen.f_frsize
        return (
            Usage(seen.f_blocks * unit, (seen.f_blocks - seen.f_bfree) * unit, seen.f_bavail * unit),
            Usage(seen.f_files, seen.f_files - seen.f_ffree, seen.f_favail),
        )

    def expand_on_node(self, volume_id: str, path: Path) -> int:
        folder = self._published(volume_id, path)
        record = self._folders.get(volume_id)
        self._confine(folder, record)
        return record.capacity_bytes

    def _published(self, volume_id: str, path: Path) -> Path:
        """The volume's folder, if that is what is mounted at ``path``. Raises NotFound."""
        folder = self._folders.folder(volume_id)
        table = self._mounts.table()
        there = at(table, exact(path)) if path.is_absolute() else None
        if there is None or not IsMountOf(folder, table)(there):
            raise NotFound(f"volume {volume_id!r} is not at {path}")
        return folder


class IsMountOf:
    """Tells mounts of one folder from others: by the device, and by the path within the file system, which a bind mount keeps."""

    def __init__(self, folder: Path, table: list[Mount]) -> None:
        below = [each for each in table if folder.is_relative_to(each.point)]
        host = max(enumerate(below), key=lambda pair: (len(pair[1].point), pair[0]))[1]
        self._device = host.device
        self._root = str(Path(host.root) / folder.relative_to(host.point))

    def __call__(self, mount: Mount) -> bool:
        return (mount.device, mount.root) == (self._device, self._root)


def _volume(id_: str, record: Record) -> Volume:
    return Volume(id_, record.capacity_bytes, {"quota": "project" if record.project else "none"}, record.source)


def from_settings(settings: Settings) -> HostPath:
    if settings.root is None:
        raise BadRequest("the driver hostpath.edgek.io needs a root folder")
    return HostPath(settings.root, settings.node_id)
