"""mount(2) and umount2(2), by way of the C library: what the kubelet's volumes and storage drivers need of the kernel."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from edgek.host import block_device, remote_mount
from edgek.host.mount_table import MS_RDONLY, OPTIONS, mount_points, mounts

MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8


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
        if not self.is_mounted(target):
            remote_mount.mount_nfs(server, path, target, options)

    def device(self, device: Path, target: Path, kind: str, options: Sequence[str]) -> None:
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
            remote_mount.unmount(path)
        while self.is_mounted(path):
            if self._libc.umount2(os.fsencode(path), MNT_DETACH | UMOUNT_NOFOLLOW) != 0:
                code = ctypes.get_errno()
                raise OSError(code, f"unmount {path}: {os.strerror(code)}")

    def is_mounted(self, path: Path) -> bool:
        return str(path) in mount_points()
