"""Mounts as storage drivers need them: what is mounted at a path, telling one's own from somebody else's, and making it come and go.

Paths are looked up in the kernel's table of mounts, never by stat: what is mounted there may belong to a server that does not answer.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from edgek.csi.driver import BadRequest, Capability, Differs, InTheWay
from edgek.csi.messages import MULTI_NODE_READER_ONLY, SINGLE_NODE_READER_ONLY
from edgek.host import mount, mount_table, remote_mount
from edgek.host.mount_table import Mount
from edgek.host.remote_mount import Space

HARMLESS = frozenset({"rw", "defaults", "bind"})
READ_ONLY_MODES = frozenset({SINGLE_NODE_READER_ONLY, MULTI_NODE_READER_ONLY})


class Mounts(Protocol):
    """Raises OSError."""

    def table(self) -> list[Mount]: ...

    def bind(self, source: Path, target: Path, *, read_only: bool, flags: int) -> None: ...

    def restrict(self, target: Path, flags: int) -> None:
        """Give the mount at ``target`` these flags, MS_RDONLY among them."""
        ...

    def unmount(self, target: Path) -> None:
        """All that is mounted there. Success when nothing is."""
        ...


class Direct:
    """System calls: quick, and right where what is mounted is a disk of this node."""

    def __init__(self) -> None:
        self._kernel = mount.Kernel()

    def table(self) -> list[Mount]:
        return mount_table.mounts()

    def bind(self, source: Path, target: Path, *, read_only: bool, flags: int) -> None:
        self._kernel.bind_alone(source, target, read_only=read_only, flags=flags)

    def restrict(self, target: Path, flags: int) -> None:
        self._kernel.restrict(target, flags)

    def unmount(self, target: Path) -> None:
        """Lazily, and without a look at what is mounted: a dead server does not hold it up."""
        self._kernel.unmount(target)


class ServerMounts(Mounts, Protocol):
    """And of a file server. A TimeoutError is an OSError."""

    def mount_nfs(self, server: str, path: str, target: Path, options: Sequence[str]) -> None: ...

    def space(self, path: Path) -> Space: ...


class Patient:
    """In child processes that can be given up: for what is mounted from a server that may not answer."""

    def table(self) -> list[Mount]:
        return mount_table.mounts()

    def mount_nfs(self, server: str, path: str, target: Path, options: Sequence[str]) -> None:
        remote_mount.mount_nfs(server, path, target, options)

    def bind(self, source: Path, target: Path, *, read_only: bool, flags: int) -> None:
        remote_mount.bind(source, target, flags | (mount_table.MS_RDONLY if read_only else 0))

    def restrict(self, target: Path, flags: int) -> None:
        remote_mount.restrict(target, flags)

    def unmount(self, target: Path) -> None:
        remote_mount.unmount(target)

    def space(self, path: Path) -> Space:
        return remote_mount.space(path)


def exact(path: Path) -> Path:
    """As the kernel's table has it. Only the folders above are looked at."""
    if not path.is_absolute() or path.name in ("", ".."):
        raise BadRequest(f"{str(path)!r} is no absolute path")
    return path.parent.resolve() / path.name


def at(table: Iterable[Mount], target: Path) -> Mount | None:
    """What is on top there."""
    found = [each for each in table if each.point == str(target)]
    return found[-1] if found else None


def flags_of(names: Iterable[str]) -> int:
    """Of a bind mount. Raises BadRequest for what cannot be one."""
    flags = 0
    for name in names:
        if name in mount_table.OPTIONS:
            flags |= mount_table.OPTIONS[name]
        elif name not in HARMLESS:
            raise BadRequest(f"mount option {name!r} is not supported here; these are: {', '.join(mount_table.OPTIONS)}")
    return flags


def reads_only(capability: Capability) -> bool:
    return capability.mode in READ_ONLY_MODES or "ro" in capability.mount_flags


def appear(mounts: Mounts, source: Path, target: Path, is_ours: Callable[[Mount], bool], *, read_only: bool = False, flags: int = 0) -> None:
    """Bind ``source`` to ``target``, unless it is there. Raises Differs when something else is, or the same with more rights taken away."""
    flags = flags | (mount_table.MS_RDONLY if read_only else 0)
    there = at(mounts.table(), target)
    if there is None:
        make_point(target)
        mounts.bind(source, target, read_only=bool(flags & mount_table.MS_RDONLY), flags=flags)
        return
    if not is_ours(there):
        raise Differs(f"at {target} something else is mounted: {there.root} of {there.source}")
    read_only = bool(flags & mount_table.MS_RDONLY)
    if there.read_only and not read_only:
        raise Differs(f"{target} is there, read-only; it was to be writable")
    if any(name not in there.options for name in _names(flags)):
        mounts.restrict(target, flags)  # we were killed between binding and restricting it, so nobody has been told of it


def vanish(mounts: Mounts, target: Path) -> None:
    """Unmount, and remove the mount point: only if it is empty, for it may be on a disk that has something else there."""
    mounts.unmount(target)
    try:
        target.rmdir()
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise InTheWay(f"{target} is no directory: it is left alone") from None
    except OSError as exc:
        if exc.errno == errno.ENOTEMPTY:
            raise InTheWay(f"{target} is not empty though nothing is mounted there: it is left alone") from None
        raise


def make_point(target: Path) -> None:
    """A folder to mount on. Only for a target at which nothing is mounted: one that hangs would hold us."""
    try:
        os.makedirs(target, mode=0o750)
    except FileExistsError:
        if target.is_symlink() or not target.is_dir():
            raise InTheWay(f"{target} is there and is no directory") from None


def _names(flags: int) -> list[str]:
    return [name for name, flag in mount_table.OPTIONS.items() if flags & flag]
