"""mount(2) and umount2(2), by way of the C library: what the kubelet's volumes and storage drivers need of the kernel."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import attrs

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_NOATIME = 1024
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

OPTIONS = {"ro": MS_RDONLY, "nosuid": MS_NOSUID, "nodev": MS_NODEV, "noexec": MS_NOEXEC, "noatime": MS_NOATIME}  # what a bind mount has of its own
SERVED = frozenset({"nfs", "nfs4"})


class Mounter(Protocol):
    """What volumes ask of the kernel. Every call may be repeated: mounting what is mounted and unmounting what is not are success."""

    def tmpfs(self, path: Path, size_bytes: int = 0) -> None: ...

    def bind(self, source: str | Path, target: Path) -> None: ...

    def nfs(self, server: str, path: str, target: Path, options: Sequence[str]) -> None:
        """Raises OSError when the server does not answer for a while."""
        ...

    def device(self, device: Path, target: Path, kind: str, options: Sequence[str]) -> None:
        """A blank device is formatted, as ``kind`` or the default; one that holds anything else than ``kind`` is refused."""
        ...

    def unmount(self, path: Path) -> None: ...

    def is_mounted(self, path: Path) -> bool: ...


class Kernel:
    """The real one. Raises OSError."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)

    def mount(self, source: str, target: Path, kind: str, flags: int = 0, options: str = "") -> None:
        done = self._libc.mount(source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), options.encode())
        if done != 0:
            code = ctypes.get_errno()
            raise OSError(code, f"mount {kind or 'bind'} {source} on {target}: {os.strerror(code)}")

    def tmpfs(self, path: Path, size_bytes: int = 0) -> None:
        if not self.is_mounted(path):
            self.mount("tmpfs", path, "tmpfs", 0, f"size={size_bytes}" if size_bytes else "")

    def bind(self, source: str | Path, target: Path) -> None:
        if not self.is_mounted(target):
            self.mount(str(source), target, "", MS_BIND | MS_REC)

    def bind_alone(self, source: str | Path, target: Path, *, read_only: bool = False, flags: int = 0) -> None:
        """Bind without the mounts below ``source``.

        The kernel takes flags in a second step only: who is killed between the two finds the target bound and writable, and should call ``restrict``.
        """
        self.mount(str(source), target, "", MS_BIND)
        if read_only or flags:
            self.restrict(target, flags | (MS_RDONLY if read_only else 0))

    def restrict(self, target: Path, flags: int) -> None:
        """Give a bind mount flags of its own, MS_RDONLY, MS_NOEXEC ..., besides those that it has from its source."""
        has = next((each.options for each in reversed(mounts()) if each.point == str(target)), ())
        for name, flag in OPTIONS.items():
            flags |= flag if name in has else 0
        self.mount("none", target, "", MS_REMOUNT | MS_BIND | flags)

    def nfs(self, server: str, path: str, target: Path, options: Sequence[str]) -> None:
        from edgek.host import remote_mount

        if not self.is_mounted(target):
            remote_mount.mount_nfs(server, path, target, options)

    def device(self, device: Path, target: Path, kind: str, options: Sequence[str]) -> None:
        from edgek.host import block_device

        words = [word for option in options for word in option.split(",") if word not in ("", "rw", "defaults")]
        flags = sum({OPTIONS[word] for word in words if word in OPTIONS})
        rest = ",".join(word for word in words if word not in OPTIONS)
        if not self.is_mounted(target):
            block_device.bring(device, kind, lambda found: self.mount(str(device), target, found, flags, rest))

    def make_shared(self, path: Path) -> None:
        """Let mounts below ``path`` be seen by containers that ask for it; ``path`` becomes a mount of its own where it is none."""
        self.bind(path, path)
        self.mount("none", path, "", MS_SHARED | MS_REC)

    def unmount(self, path: Path) -> None:
        """Lazily: who still uses it keeps it, and it vanishes when they are done. Waits a while at most for a file server."""
        if any(each.served for each in mounts() if each.point == str(path)):
            from edgek.host import remote_mount

            remote_mount.unmount(path)
        while self.is_mounted(path):
            if self._libc.umount2(os.fsencode(path), MNT_DETACH | UMOUNT_NOFOLLOW) != 0:
                code = ctypes.get_errno()
                raise OSError(code, f"unmount {path}: {os.strerror(code)}")

    def is_mounted(self, path: Path) -> bool:
        return str(path) in mount_points()


@attrs.frozen
class Mount:
    """A line of mountinfo. ``root`` is what of the file system is mounted there; ``device`` is ``major:minor``."""

    point: str
    root: str
    device: str
    options: tuple[str, ...]
    kind: str
    source: str

    @property
    def read_only(self) -> bool:
        return "ro" in self.options

    @property
    def served(self) -> bool:
        """By a file server, which may not answer."""
        return self.kind in SERVED


def mounts() -> list[Mount]:
    """Everything that is mounted, in the order in which it was. Asks no file system: a dead server does not hold it up."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        return [_mount(line) for line in lines]


def _mount(line: str) -> Mount:
    """See proc(5): optional fields end at a lone dash."""
    own, _, of_all = line.rstrip("\n").partition(" - ")
    _, _, device, root, point, options = own.split(" ")[:6]
    kind, source = of_all.split(" ")[:2]
    return Mount(_unescaped(point), _unescaped(root), device, tuple(options.split(",")), kind, _unescaped(source))


def mount_points() -> list[str]:
    """Where something is mounted, in the order in which it was."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        return [_unescaped(line.split(" ", 5)[4]) for line in lines]


def _unescaped(path: str) -> str:
    """The kernel writes blanks as ``\\040``."""
    if "\\" not in path:
        return path
    return path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
