"""Volumes as directories of one tree, wherever the tree is: on this node's disk, or on an export of a file server.

    <base>/<folder>                       what a volume holds
    <base>/.edgek/volumes/<id>.json       what it is: its Record
    <base>/.edgek/snapshots/<id>/         data/ and snapshot.json
    <base>/.edgek/making/ deleting/       on the way in and out

Everything blocks, and may be killed between any two steps: a volume comes into sight whole, by a rename, after its record; it goes out of sight by a
rename, and its record last. Called again, each function goes on where it was. Nothing outside the tree is touched: no ``..``, no symbolic link on the
way. Nothing that was there before us is ever deleted.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path, PurePosixPath

import attrs
import orjson

from edgek.csi.driver import Differs, Full, InTheWay, NotFound, OutOfRange, Refused, Size, Snapshot, Source
from edgek.host import files, process, trees, wallclock

HIDDEN = ".edgek"
DEFAULT_BYTES = 1 << 30  # of a volume for which no size was asked
COPY_S = 24 * 3600.0  # for the content of a clone: longer than that it hangs

_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_HASHED = "v-"  # ids that begin like this stand for names that cannot be file names


@attrs.frozen
class Record:
    """``folder`` is below the tree. ``ours``: we made it; what we found is never deleted. ``project`` is that of its quota, 0 where there is none."""

    name: str
    folder: str
    capacity_bytes: int
    parameters: dict[str, str] = attrs.field(factory=dict)
    from_volume: str = ""
    from_snapshot: str = ""
    on_delete: str = "delete"
    ours: bool = True
    project: int = 0
    mode: int = 0o777  # for whatever user a pod runs as

    @property
    def source(self) -> Source | None:
        return Source(self.from_volume, self.from_snapshot) if self.from_volume or self.from_snapshot else None


def id_of(name: str) -> str:
    """The same id for the same name, always; one that is a file name."""
    if _SAFE_ID.fullmatch(name) and not name.startswith(_HASHED):
        return name
    return _HASHED + hashlib.sha256(name.encode()).hexdigest()[:40]


class Folders:
    """``confine(folder, record)`` is called on a new volume's folder before anything is in it, and may limit it.

    ``guard()`` is held for a moment where several volumes may share a folder: while one is found to be free, taken into use, or taken out of it.
    """

    def __init__(
        self,
        base: Path,
        confine: Callable[[Path, Record], None] = lambda folder, record: None,
        guard: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.base = base
        self._hidden = base / HIDDEN
        self._confine = confine
        self._guard = guard

    def free_bytes(self) -> int:
        seen = os.statvfs(self.base)
        return seen.f_bavail * seen.f_frsize

    # Volumes

    def create(self, id_: str, wanted: Record, size: Size, *, adopt: bool = False) -> Record:
        """``wanted.ours`` is found out here. With ``adopt`` a folder that is there already is used; else it is refused."""
        if self._deleted(id_).exists():
            self.delete(id_)  # it was under way when we were killed
        known = self.find(id_)
        if known is None:
            known = self._reserve(id_, wanted, size, adopt=adopt)
        elif not size.holds(known.capacity_bytes) or _kind(known) != _kind(wanted):
            raise Differs(f"volume {known.name!r} exists with {known.capacity_bytes} bytes and other parameters than these, or another source")
        if not os.path.lexists(self.place(known.folder)):
            self._make(id_, known)
        return known

    def _reserve(self, id_: str, wanted: Record, size: Size, *, adopt: bool) -> Record:
        capacity = max(wanted.capacity_bytes, self._source_bytes(wanted))
        if not size.holds(capacity):
            raise OutOfRange(f"the source has {capacity} bytes: a volume of at most {size.limit_bytes} cannot hold it")
        with self._guard():
            found = os.path.lexists(self.place(wanted.folder))
            if found and not adopt:
                raise Differs(f"the folder {wanted.folder} is there and belongs to no volume: move it away first")
            if found and wanted.source is not None:
                raise Differs(f"the folder {wanted.folder} is there: nothing is copied into what has content of its own")
            record = attrs.evolve(wanted, capacity_bytes=capacity, ours=not found)
            self._write(id_, record)
        return record

    def _source_bytes(self, wanted: Record) -> int:
        if wanted.from_volume:
            return self.get(wanted.from_volume).capacity_bytes
        return self.get_snapshot(wanted.from_snapshot).size_bytes if wanted.from_snapshot else 0

    def _make(self, id_: str, record: Record) -> None:
        part, target = self._fresh("volumes", id_), self.place(record.folder)
        self._confine(part, record)
        if record.from_volume:
            _copy(self.place(self.get(record.from_volume).folder), part)
        elif record.from_snapshot:
            _copy(self._snapshot(record.from_snapshot) / "data", part)
        else:
            part.chmod(record.mode)
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._guard():
            if not os.path.lexists(target):  # else another volume, of the same folder, was quicker
                part.rename(target)
        files.sync(target.parent)  # a rename that was reported must outlive a power cut
        trees.remove(part.parent)

    def _fresh(self, kind: str, id_: str) -> Path:
        """A folder to make something in. A new one each time: a copy that outlived the one of us who began it goes on elsewhere, and fails."""
        place = self._hidden / "making" / kind / id_
        trees.remove(place)
        place.mkdir(parents=True)
        return Path(tempfile.mkdtemp(dir=place))

    def delete(self, id_: str) -> None:
        if not _SAFE_ID.fullmatch(id_):
            return  # none of ours
        record = self.find(id_)
        trees.remove(self._hidden / "making" / "volumes" / id_)
        if record is not None:
            with self._guard():
                self._take_away(id_, record)
        trees.remove(self._deleted(id_))
        self._record(id_).unlink(missing_ok=True)

    def _take_away(self, id_: str, record: Record) -> None:
        folder = self.place(record.folder)
        if not record.ours or not os.path.lexists(folder) or self._shared(id_, record):
            return
        if record.on_delete == "delete":
            self._out_of_sight(folder, self._deleted(id_))
        elif record.on_delete == "archive":
            folder.rename(self._archive(record))

    def _out_of_sight(self, folder: Path, going: Path) -> None:
        trees.remove(going)
        going.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(going)

    def _shared(self, id_: str, record: Record) -> bool:
        """Whether another volume lies in the same folder, or below it."""
        mine = PurePosixPath(record.folder)
        return any(other != id_ and PurePosixPath(found.folder).is_relative_to(mine) for other, found in self.volumes())

    def _archive(self, record: Record) -> Path:
        """A name that is free: what was archived before is kept."""
        flat = f"archived-{record.folder.replace('/', '-')}"
        number = 1
        while os.path.lexists(place := self.base / (flat if number == 1 else f"{flat}-{number}")):
            number += 1
        return place

    def expand(self, id_: str, size: Size) -> Record:
        record = self.get(id_)
        wanted = max(record.capacity_bytes, size.chosen(DEFAULT_BYTES))
        if not size.holds(wanted):
            raise OutOfRange(f"volume {record.name!r} has {record.capacity_bytes} bytes already and cannot become smaller")
        grown = attrs.evolve(record, capacity_bytes=wanted)
        if grown != record:
            self._write(id_, grown)
        self._confine(self.folder(id_), grown)
        return grown

    def find(self, id_: str) -> Record | None:
        if not _SAFE_ID.fullmatch(id_):
            return None
        try:
            return Record(**orjson.loads(self._record(id_).read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as exc:
            raise Refused(f"{self._record(id_)} is no record of a volume: {exc}") from None

    def get(self, id_: str) -> Record:
        record = self.find(id_)
        if record is None:
            raise NotFound(f"volume {id_!r} is not there")
        return record

    def folder(self, id_: str) -> Path:
        """Where the volume's content is. Raises NotFound when it has gone, too."""
        folder = self.place(self.get(id_).folder)
        try:
            kind = os.lstat(folder).st_mode
        except FileNotFoundError:
            raise NotFound(f"the folder {folder} of volume {id_!r} is not there") from None
        if not stat.S_ISDIR(kind):
            raise InTheWay(f"{folder}, of volume {id_!r}, is no directory")
        return folder

    def volumes(self) -> list[tuple[str, Record]]:
        """By id."""
        names = sorted(_names(self._hidden / "volumes"))
        found = [(id_, self.find(id_)) for id_ in (name.removesuffix(".json") for name in names if name.endswith(".json"))]
        return [(id_, record) for id_, record in found if record is not None]

    # Snapshots

    def snapshot(self, name: str, volume_id: str) -> Snapshot:
        """A copy of the volume as it is now. Files that are being written are caught as they are."""
        id_ = id_of(name)
        if (self._snapshot(id_)).exists():
            known = self.get_snapshot(id_)
            if known.volume_id != volume_id:
                raise Differs(f"snapshot {name!r} exists, of volume {known.volume_id!r}")
            return known
        record = self.get(volume_id)
        taken = Snapshot(id_, volume_id, record.capacity_bytes, wallclock.now())
        part = self._fresh("snapshots", id_)
        (part / "data").mkdir()
        _copy(self.folder(volume_id), part / "data")
        files.write_atomically(part / "snapshot.json", orjson.dumps(attrs.asdict(taken)))
        self._snapshot(id_).parent.mkdir(parents=True, exist_ok=True)
        part.rename(self._snapshot(id_))
        files.sync(self._snapshot(id_).parent)
        trees.remove(part.parent)
        return taken

    def delete_snapshot(self, id_: str) -> None:
        if not _SAFE_ID.fullmatch(id_):
            return
        going = self._hidden / "deleting" / "snapshots" / id_
        trees.remove(self._hidden / "making" / "snapshots" / id_)
        if self._snapshot(id_).exists():
            self._out_of_sight(self._snapshot(id_), going)
        trees.remove(going)

    def get_snapshot(self, id_: str) -> Snapshot:
        path = self._snapshot(id_) / "snapshot.json"
        if not _SAFE_ID.fullmatch(id_) or not path.exists():
            raise NotFound(f"snapshot {id_!r} is not there")
        try:
            return Snapshot(**orjson.loads(path.read_bytes()))
        except (ValueError, TypeError) as exc:
            raise Refused(f"{path} is no record of a snapshot: {exc}") from None

    def snapshots(self) -> list[Snapshot]:
        """By id."""
        found = []
        for id_ in sorted(_names(self._hidden / "snapshots")):
            with suppress(NotFound, FileNotFoundError):  # it went meanwhile
                found.append(self.get_snapshot(id_))
        return found

    # Places

    def place(self, folder: str) -> Path:
        """The path of a folder of the tree. Raises InTheWay for one that leads out of it."""
        parts = PurePosixPath(folder).parts
        if not parts or folder.startswith("/") or ".." in parts or parts[0] == HIDDEN:
            raise InTheWay(f"{folder!r} is no folder below {self.base}")
        path = self.base
        for part in parts:
            path = path / part
            if path.is_symlink():
                raise InTheWay(f"{path} is a symbolic link: volumes are not kept behind one")
        return path

    def _record(self, id_: str) -> Path:
        return self._hidden / "volumes" / f"{id_}.json"

    def _snapshot(self, id_: str) -> Path:
        return self._hidden / "snapshots" / id_

    def _deleted(self, id_: str) -> Path:
        return self._hidden / "deleting" / "volumes" / id_

    def _write(self, id_: str, record: Record) -> None:
        files.write_atomically(self._record(id_), orjson.dumps(attrs.asdict(record)))


def _kind(record: Record) -> tuple[object, ...]:
    """What must be the same for a volume to be the one that is wanted."""
    return record.name, record.folder, record.parameters, record.from_volume, record.from_snapshot, record.on_delete


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def _copy(source: Path, target: Path) -> None:
    """Everything below ``source``, as a reflink where the file system can, with owners, modes, times, attributes and links; devices and all.

    By cp(1), which does that well, in a process that can be killed.
    """
    if not source.is_dir():
        raise NotFound(f"{source}, which is to be copied, is not there")
    done = process.run_now(["cp", "-a", "--", f"{source}/.", target], timeout_s=COPY_S)
    if done.returncode == 0:  # and onto the disk: the copy is about to be promised
        done = process.run_now(["sync", "-f", target], timeout_s=COPY_S)
    if done.returncode != 0:
        message = done.stderr.decode(errors="replace").strip() or f"cp ended with {done.returncode}"
        trees.remove(target)
        raise (Full if os.strerror(errno.ENOSPC) in message or os.strerror(errno.EDQUOT) in message else Refused)(f"cannot copy {source}: {message}")
