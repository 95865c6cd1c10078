"""nfs.edgek.io: a directory a volume, on an export of an NFS server that somebody else runs.

The server is mounted for each call that makes or unmakes something (``reach.py``), and on a node that uses a volume: that volume's directory and no
more, once, and bound from there for each pod. Whatever waits for the server can be given up. Volumes are the same from every node; the size is a
promise that nobody enforces. The record of a volume lies on the export.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import attrs

from edgek.csi import export as exports
from edgek.csi.driver import BadRequest, Differs, Full, InTheWay, NewVolume, NotFound, Settings, Size, Snapshot, Source, Usage, Use, Volume
from edgek.csi.export import Export
from edgek.csi.folders import DEFAULT_BYTES, HIDDEN, Folders, Record, id_of
from edgek.csi.messages import MODES, SINGLE_NODE_SINGLE_WRITER
from edgek.csi.mounts import HARMLESS, Patient, ServerMounts, appear, at, exact, make_point, reads_only, vanish
from edgek.csi.reach import Mounted, Reach
from edgek.host import files
from edgek.host.mount_table import Mount
from edgek.host.remote_mount import source_of


class Nfs:
    name: ClassVar[str] = "nfs.edgek.io"
    modes: ClassVar[frozenset[int]] = frozenset(MODES)
    expands_on_node: ClassVar[bool] = False

    def __init__(self, default: Export | None = None, reach: Reach | None = None, mounts: ServerMounts | None = None) -> None:
        """``default`` is the export where nothing else is said. Asks no server."""
        self.topology: Mapping[str, str] = {}
        self._default = default
        self._reach = reach or Mounted()
        self._mounts = mounts or Patient()

    @contextmanager
    def _folders(self, export: Export) -> Iterator[Folders]:
        with self._reach.open(export) as base:
            yield Folders(base, guard=functools.partial(files.locked, base / HIDDEN / "lock"))

    # Making

    def _asked(self, wanted: NewVolume) -> exports.Asked:
        flags = wanted.capabilities[0].mount_flags if wanted.capabilities else ()  # a class has one list for all that is asked of it
        return exports.read_class(wanted.parameters, self._default, flags)

    def id_of(self, wanted: NewVolume) -> str:
        return self._asked(wanted).export.id_of(id_of(wanted.name))

    def create(self, wanted: NewVolume) -> Volume:
        asked, name = self._asked(wanted), id_of(wanted.name)
        source = _inner(wanted.source, asked.export)
        capacity = wanted.size.chosen(DEFAULT_BYTES)
        record = Record(
            wanted.name,
            asked.folder or name,
            capacity,
            dict(asked.words),
            source.volume_id,
            source.snapshot_id,
            on_delete=asked.on_delete,
            mode=asked.mode,
        )
        with self._folders(asked.export) as folders:
            if folders.find(name) is None and capacity > (free := folders.free_bytes()):
                raise Full(f"{capacity} bytes are wanted, {free} are free on {asked.export.server}:{asked.export.share}")
            return _volume(asked.export, name, folders.create(name, record, wanted.size, adopt=bool(asked.folder)))

    def delete(self, volume_id: str) -> None:
        found = exports.read_id(volume_id)
        if found is None:
            return  # none of ours
        with self._folders(found[0]) as folders:
            folders.delete(found[1])

    def find(self, volume_id: str) -> Volume | None:
        found = exports.read_id(volume_id)
        if found is None:
            return None
        with self._folders(found[0]) as folders:
            record = folders.find(found[1])
        return None if record is None else _volume(found[0], found[1], record)

    def volumes(self) -> list[Volume]:
        """Of the default export: others are known by their ids only."""
        if self._default is None:
            return []
        with self._folders(self._default) as folders:
            return [_volume(self._default, name, record) for name, record in folders.volumes()]

    def expand(self, volume_id: str, size: Size) -> Volume:
        export, name = _ours(volume_id)
        with self._folders(export) as folders:
            growth = size.required_bytes - folders.get(name).capacity_bytes
            if growth > 0 and growth > (free := folders.free_bytes()):
                raise Full(f"{growth} bytes more are wanted, {free} are free on {export.server}:{export.share}")
            return _volume(export, name, folders.expand(name, size))

    def available_bytes(self, parameters: Mapping[str, str]) -> int:
        with self._folders(exports.read_class(parameters, self._default).export) as folders:
            return folders.free_bytes()

    def snapshot_id_of(self, name: str, volume_id: str) -> str:
        found = exports.read_id(volume_id)
        return found[0].id_of(id_of(name)) if found else id_of(name)

    def snapshot(self, name: str, volume_id: str) -> Snapshot:
        export, inner = _ours(volume_id)
        with self._folders(export) as folders:
            return _snapshot(export, folders.snapshot(name, inner))

    def delete_snapshot(self, snapshot_id: str) -> None:
        found = exports.read_id(snapshot_id)
        if found is not None:
            with self._folders(found[0]) as folders:
                folders.delete_snapshot(found[1])

    def snapshots(self) -> list[Snapshot]:
        """Of the default export."""
        if self._default is None:
            return []
        with self._folders(self._default) as folders:
            return [_snapshot(self._default, each) for each in folders.snapshots()]

    # Using

    def stage(self, use: Use) -> None:
        """Mounts the volume's directory for the node."""
        server, path = _place(use) or self._recorded(use.volume_id)
        target = exact(use.target)
        options = [word for word in use.capability.mount_flags if word not in HARMLESS]
        there = at(self._mounts.table(), target)
        if there is None:
            make_point(target)
            self._mounts.mount_nfs(server, path, target, options)
        elif not there.served or there.source != source_of(server, path):
            raise Differs(f"at {target} something else is mounted: {there.source}")

    def _recorded(self, volume_id: str) -> tuple[str, str]:
        export, name = _ours(volume_id)
        with self._folders(export) as folders:
            return export.server, export.path_of(folders.get(name).folder)

    def unstage(self, volume_id: str, staging: Path) -> None:
        """The staging folder itself is its maker's."""
        self._mounts.unmount(exact(staging))

    def publish(self, use: Use) -> None:
        if use.staging is None:
            raise InTheWay("staging_target_path is not set")
        staging, target, table = exact(use.staging), exact(use.target), self._mounts.table()
        staged = at(table, staging)
        place = _place(use)
        if staged is None or not staged.served or (place is not None and staged.source != source_of(*place)):
            raise InTheWay(f"volume {use.volume_id!r} is not staged at {staging}")
        is_ours = functools.partial(_same, staged)
        if use.capability.mode == SINGLE_NODE_SINGLE_WRITER:
            other = next((each.point for each in table if is_ours(each) and each.point not in (str(staging), str(target))), None)
            if other is not None:
                raise InTheWay(f"volume {use.volume_id!r} is for a single writer, and published at {other}")
        appear(self._mounts, staging, target, is_ours, read_only=use.read_only or reads_only(use.capability))

    def unpublish(self, volume_id: str, target: Path) -> None:
        vanish(self._mounts, exact(target))

    def usage(self, volume_id: str, path: Path) -> tuple[Usage, Usage]:
        """Of the export: its volumes share what there is."""
        self._published(volume_id, path)
        seen = self._mounts.space(path)
        return (
            Usage(seen.total_bytes, seen.used_bytes, seen.available_bytes),
            Usage(seen.files, seen.files_used, seen.files - seen.files_used),
        )

    def expand_on_node(self, volume_id: str, path: Path) -> int:
        """There is nothing to do."""
        self._published(volume_id, path)
        found = self.find(volume_id)
        if found is None:
            raise NotFound(f"volume {volume_id!r} is not there")
        return found.capacity_bytes

    def _published(self, volume_id: str, path: Path) -> None:
        """Raises NotFound unless that is what is mounted at ``path``, as far as the table tells."""
        there = at(self._mounts.table(), exact(path)) if path.is_absolute() else None
        found = exports.read_id(volume_id)
        start = source_of(found[0].server, found[0].share).rstrip("/") if found else ""
        if there is None or not there.served or not f"{there.source}/".startswith(f"{start}/" if start else ""):
            raise NotFound(f"volume {volume_id!r} is not at {path}")


def _place(use: Use) -> tuple[str, str] | None:
    """Server and path, by the volume's context, which one that was written by hand has, too."""
    context = {key.lower(): value for key, value in use.context.items()}
    if not context.get("server"):
        return None
    export = exports.export_of(context["server"], context.get("share", ""))
    return export.server, export.path_of(exports.folder_of(context.get("subdir", ""), use.context))


def _same(staged: Mount, mount: Mount) -> bool:
    """A bind mount keeps all of these."""
    return (mount.device, mount.root, mount.source) == (staged.device, staged.root, staged.source)


def _ours(id_: str) -> tuple[Export, str]:
    found = exports.read_id(id_)
    if found is None:
        raise NotFound(f"{id_!r} is not there")
    return found


def _inner(source: Source | None, export: Export) -> Source:
    """By names on the export, where it must lie, too."""
    if source is None:
        return Source()
    other, name = _ours(source.volume_id or source.snapshot_id)
    if (other.server, other.share) != (export.server, export.share):
        raise BadRequest(f"the source lies on {other.server}:{other.share}: a copy stays on the export of its source")
    return Source(name if source.volume_id else "", name if source.snapshot_id else "")


def _volume(export: Export, name: str, record: Record) -> Volume:
    source = None
    if record.source is not None:
        source = Source(*(export.id_of(inner) if inner else "" for inner in (record.from_volume, record.from_snapshot)))
    context = {"server": export.server, "share": export.share, "subDir": record.folder}
    return Volume(export.id_of(name), record.capacity_bytes, context, source)


def _snapshot(export: Export, found: Snapshot) -> Snapshot:
    return attrs.evolve(found, id=export.id_of(found.id), volume_id=export.id_of(found.volume_id))


def from_settings(settings: Settings) -> Nfs:
    return Nfs(exports.export_of(settings.server, settings.share) if settings.server else None)
