"""Where volumes lie on this node, and the small records beside them from which an edgek that knows nothing takes everything down again.

Paths and ``vol_data.json`` are upstream's (``pkg/volume/csi``). Of a volume that is shared by its pods, stands in one folder:

    plugins/kubernetes.io/csi/<driver>/<sha256 of the handle>/
        vol_data.json   what it is: written before anything is done with it
        users/<uid>     a pod that has it, or is about to: as long as one is there, the volume stays
        globalmount/    where it is staged; made just before that is tried
        staged          it has succeeded, and how the place looked then

And of what one pod has of it, at ``pods/<uid>/volumes/kubernetes.io~csi/<name>/``: ``vol_data.json``, ``mount/``, ``published``. A block volume has
a device instead: at ``plugins/kubernetes.io/csi/volumeDevices/publish/<name>/<uid>``, and the pod's folder ``volumeDevices`` leads there.

A mark holds how its place looked when it was made. After a reboot, or where a mount has vanished, it looks different, and the mark counts for
nothing. Records outlive edgek, not a power cut: what they speak of does not either, so nobody waits for the disk. One that came out empty is none.

Everything here blocks, looks only at folders of our own, and never removes what is not empty.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import attrs
import orjson

PLUGIN = "kubernetes.io/csi"
POD_PLUGIN = "kubernetes.io~csi"
RECORD = "vol_data.json"
RECORD_MODE = 0o600
FOLDER_MODE = 0o750


@attrs.frozen
class Record:
    """What ``vol_data.json`` says. ``name`` is the PersistentVolume's, or for an inline volume the pod's own.

    ``attachment`` is the VolumeAttachment's name, and ``context`` what stood in it when it was last seen ``attached``.
    """

    driver: str
    handle: str
    name: str
    node: str = ""
    attachment: str = ""
    inline: bool = False
    block: bool = False
    context: dict[str, str] = attrs.field(factory=dict)
    attached: bool = False

    def write(self, folder: Path) -> None:
        raw = {
            "driverName": self.driver,
            "volumeHandle": self.handle,
            "specVolID": self.name,
            "nodeName": self.node,
            "attachmentID": self.attachment,
            "volumeLifecycleMode": "Ephemeral" if self.inline else "Persistent",
            "volumeMode": "Block" if self.block else "Filesystem",
            "publishContext": self.context,
            "attached": self.attached,
        }
        folder.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        part = folder / f".{RECORD}.{os.getpid()}"
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, RECORD_MODE), "wb") as out:
            out.write(orjson.dumps(raw))
        part.rename(folder / RECORD)

    @classmethod
    def read(cls, folder: Path) -> Record | None:
        """Raises OSError for one that cannot be read: what it spoke of must not be forgotten."""
        try:
            content = (folder / RECORD).read_bytes()
            if not content.strip(b"\0"):
                return None
            raw = orjson.loads(content)
            return cls(
                raw["driverName"],
                raw["volumeHandle"],
                raw["specVolID"],
                raw.get("nodeName") or "",
                raw.get("attachmentID") or "",
                raw.get("volumeLifecycleMode") == "Ephemeral",
                raw.get("volumeMode") == "Block",
                raw.get("publishContext") or {},
                bool(raw.get("attached")),
            )
        except FileNotFoundError:
            return None
        except (orjson.JSONDecodeError, KeyError, TypeError) as exc:
            raise OSError(errno.EIO, f"{folder / RECORD} is damaged ({exc!r}): mend or remove it by hand") from None


@attrs.frozen
class Mark:
    """That something succeeded, as long as the place looks as it did then. Not durable: without it the driver is asked again, which does no harm."""

    path: Path

    def put(self, look: str) -> None:
        self.path.write_text(look)

    def counts(self, look: str) -> bool:
        try:
            return self.path.read_text() == look
        except FileNotFoundError:
            return False

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


@attrs.frozen
class Volume:
    """The folder of one volume on this node."""

    folder: Path

    @property
    def record(self) -> Record | None:
        return Record.read(self.folder)

    @property
    def staged(self) -> Mark:
        return Mark(self.folder / "staged")

    def users(self) -> list[str]:
        try:
            return sorted(os.listdir(self.folder / "users"))
        except FileNotFoundError:
            return []

    def add_user(self, uid: str) -> None:
        (self.folder / "users").mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        (self.folder / "users" / uid).touch()

    def drop_user(self, uid: str) -> None:
        (self.folder / "users" / uid).unlink(missing_ok=True)

    def remove(self) -> None:
        """Once nobody has it and it is unstaged: the record goes last."""
        self.staged.remove()
        remove_empty(self.folder / "users")
        remove_point(self.folder / "globalmount")
        remove_record(self.folder)


@attrs.frozen
class Share:
    """What one pod has of a volume: ``folder`` holds the record, ``target`` is what the driver publishes, ``path`` what containers get."""

    record: Record
    uid: str
    folder: Path
    target: Path
    link: Path | None = None  # of a block volume

    @property
    def path(self) -> Path:
        return self.link or self.target

    @property
    def published(self) -> Mark:
        return Mark(self.folder / (f"published-{self.uid}" if self.link else "published"))

    def write(self) -> None:
        if self.link:
            self.link.parent.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
            if not self.link.is_symlink():
                self.link.symlink_to(self.target)
        self.target.parent.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        if Record.read(self.folder) != self.record:
            self.record.write(self.folder)

    def remove(self) -> None:
        """After it is unpublished. Raises OSError where something is left that is not empty."""
        self.published.remove()
        if self.link:
            remove_device(self.target)
            remove_empty(self.target.parent)
            if not self.target.parent.exists():  # no other pod has it
                remove_record(self.folder)
                remove_empty(self.folder.parent)
            self.link.unlink(missing_ok=True)
            remove_empty(self.link.parent)
            return
        remove_point(self.target)
        remove_record(self.folder)
        remove_empty(self.folder.parent)


@attrs.frozen
class Places:
    kubelet_dir: Path

    @property
    def _base(self) -> Path:
        return self.kubelet_dir / "plugins" / PLUGIN

    @property
    def _devices(self) -> Path:
        return self._base / "volumeDevices"

    def volume(self, record: Record) -> Volume:
        return Volume(self._base / record.driver / hashlib.sha256(record.handle.encode()).hexdigest())

    def staging(self, record: Record) -> Path:
        return self._devices / "staging" / record.name if record.block else self.volume(record).folder / "globalmount"

    def share(self, record: Record, uid: str) -> Share:
        if record.block:
            target = self._devices / "publish" / record.name / uid
            return Share(record, uid, self._devices / record.name / "data", target, self._links(uid) / record.name)
        folder = self.kubelet_dir / "pods" / uid / "volumes" / POD_PLUGIN / record.name
        return Share(record, uid, folder, folder / "mount")

    def _links(self, uid: str) -> Path:
        return self.kubelet_dir / "pods" / uid / "volumeDevices" / POD_PLUGIN

    def shares(self, uid: str) -> list[Share]:
        """All that a pod has, by the records. Raises OSError."""
        folders = _folders(self.kubelet_dir / "pods" / uid / "volumes" / POD_PLUGIN)
        folders += [self._devices / link.name / "data" for link in _folders(self._links(uid))]
        return [self.share(record, uid) for folder in folders if (record := Record.read(folder))]

    def tidy(self, uid: str) -> None:
        """What an edgek left that was killed before it wrote a record: nothing was published then."""
        folders, links = self.kubelet_dir / "pods" / uid / "volumes" / POD_PLUGIN, self._links(uid)
        for folder in _folders(folders):
            if folder.is_dir() and Record.read(folder) is None:
                Mark(folder / "published").remove()
                remove_point(folder / "mount")  # the kernel refuses it where something is mounted
                remove_record(folder)
        for link in _folders(links):
            folder = self._devices / link.name
            if Record.read(folder / "data") is None:
                remove_record(folder / "data")
                remove_empty(folder)
                remove_empty(self._devices / "publish" / link.name)
                link.unlink()
        remove_empty(folders)
        remove_empty(links)

    def volumes(self) -> Iterator[Volume]:
        """All that are or may be on this node and are shared by their pods."""
        for driver in _folders(self._base):
            if driver != self._devices:
                yield from map(Volume, _folders(driver))

    def users(self) -> set[str]:
        return {uid for volume in self.volumes() for uid in volume.users()}

    def used_by(self, uid: str) -> list[Volume]:
        return [volume for volume in self.volumes() if (volume.folder / "users" / uid).exists()]


def remove_point(target: Path) -> None:
    """What was mounted on is empty, or it is not what we think. Only after the kernel says that nothing is mounted there."""
    try:
        target.rmdir()
    except FileNotFoundError:
        return
    except NotADirectoryError:
        remove_device(target)
    except OSError as exc:
        if exc.errno == errno.ENOTEMPTY:
            raise OSError(errno.ENOTEMPTY, f"{target} is not empty though nothing is mounted there: it is left alone") from None
        raise


def remove_device(target: Path) -> None:
    """What is there instead of a folder: a device, a link to one, or the empty file on which one was mounted."""
    try:
        found = target.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISREG(found.st_mode) and found.st_size:
        raise OSError(errno.ENOTEMPTY, f"{target} is a file that is not empty: it is left alone")
    target.unlink()


def remove_record(folder: Path) -> None:
    """And the folder with it, if that is all there is."""
    for part in (folder / RECORD, *folder.glob(f".{RECORD}.*")):  # one that was being written
        part.unlink(missing_ok=True)
    remove_empty(folder)


def remove_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return
    except OSError as exc:
        if exc.errno != errno.ENOTEMPTY:
            raise


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
