"""Mounts of a file server, which may not answer: whatever could wait for it runs in a child process that is given up after a while.

A child that is given up is killed; one that even that does not end is left to the kernel. What it was to mount may then appear late: who goes on
looks in the kernel's table of mounts, and removes folders that were mounted on with ``rmdir`` and nothing else. Never forced: that would break off
the writes of others to the same server.
"""

from __future__ import annotations

import errno
import ipaddress
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import attrs

from edgek.host import process
from edgek.host.mount_table import OPTIONS, mount_points, mounts

HELPER = "/sbin/mount.nfs"  # of the distribution's package; it finds out which versions the server has, and starts what NFSv3 needs for locks
VERSIONS = ("4.2", "4.1", "4.0", "3")  # that are tried without it
OTHER_VERSION = os.strerror(errno.EPROTONOSUPPORT)

MOUNT_S = 30.0  # for a server to answer: its network or itself may be on the way up
LOCAL_S = 10.0  # for what asks it little or nothing


class MountRefused(OSError):
    """The message is the kubelet's, as upstream has it."""


@attrs.frozen
class Space:
    total_bytes: int
    used_bytes: int
    available_bytes: int
    files: int
    files_used: int


def source_of(server: str, path: str) -> str:
    """As mount(8) and the kernel's table have it."""
    return f"[{server}]:{path}" if ":" in server and not server.startswith("[") else f"{server}:{path}"


def mount_nfs(server: str, path: str, target: Path, options: Sequence[str] = (), *, timeout_s: float = MOUNT_S, helper: bool | None = None) -> None:
    """``target`` is a folder on which nothing is mounted. Without the distribution's ``helper`` the kernel is asked itself.

    Raises MountRefused; TimeoutError.
    """
    if server.startswith("-") or not server:
        raise MountRefused(errno.EINVAL, f"mount failed: {server!r} is no server")
    if os.path.exists(HELPER) if helper is None else helper:
        patience = () if any(option.startswith("retry=") for option in options) else ("retry=0",)  # it is who asks that tries again
        _mount(["-t", "nfs"], [*options, *patience], source_of(server, path), target, timeout_s)
        return
    address = f"addr={_address(server)}"
    said = any(option.startswith(("vers=", "nfsvers=")) for option in options)
    refusals = []
    for version in ("",) if said else VERSIONS:
        chosen = [*options, *([f"vers={version}"] if version else ()), *(["nolock"] if version == "3" else ()), address]  # locks need rpc.statd
        try:
            _mount(["-i", "-t", "nfs"], chosen, source_of(server, path), target, timeout_s)
        except MountRefused as exc:
            refusals.append(exc)
        else:
            return
    raise next((each for each in refusals if OTHER_VERSION not in str(each)), refusals[0])


def _address(server: str) -> str:
    bare = server.strip("[]")
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        found = process.run_or_leave(["getent", "ahosts", bare], timeout_s=LOCAL_S).stdout.split()
        if not found:
            raise MountRefused(errno.EHOSTUNREACH, f"mount failed: Failed to resolve server {server}: Name or service not known") from None
        return found[0].decode()


def bind(source: Path, target: Path, flags: int) -> None:
    """Raises MountRefused; TimeoutError. Killed in between, the mount is there without ``flags``: ``restrict`` it."""
    _mount(["--bind"], [], str(source), target, LOCAL_S)
    if flags:
        restrict(target, flags)


def restrict(target: Path, flags: int) -> None:
    """Give a bind mount these flags, besides those that it has."""
    has = next((each.options for each in reversed(mounts()) if each.point == str(target)), ())
    names = [name for name, flag in OPTIONS.items() if flags & flag or name in has]
    _mount([], ["remount", "bind", *names], "none", target, LOCAL_S)


def _mount(kind: Sequence[str], options: Sequence[str], source: str, target: Path, timeout_s: float) -> None:
    arguments = [*kind, *(["-o", ",".join(options)] if options else ()), source, str(target)]
    try:
        done = process.run_or_leave(["mount", "-c", *arguments], timeout_s=timeout_s)
    except TimeoutError:
        raise TimeoutError(errno.ETIMEDOUT, f"mount failed: {_asked(arguments)}\nOutput: no answer within {timeout_s:g} s\n") from None
    if done.returncode != 0:
        output = (done.stdout + done.stderr).decode(errors="replace")
        raise MountRefused(errno.EIO, f"mount failed: exit status {done.returncode}\n{_asked(arguments)}\nOutput: {output}")


def _asked(arguments: Sequence[str]) -> str:
    return f"Mounting command: mount\nMounting arguments: {' '.join(arguments)}"


def unmount(target: Path) -> None:
    """All that is mounted there, lazily: gone from the table at once; the server hears of it when it answers again. Raises OSError."""
    while layers := _layers(target):
        said = f"not done within {LOCAL_S:g} s"
        with suppress(TimeoutError):  # it may wait for the server with the mount gone from the table, where we look
            said = process.run_or_leave(["umount", "-c", "-l", "-i", target], timeout_s=LOCAL_S).stderr.decode(errors="replace").strip()
        if _layers(target) >= layers:
            raise OSError(errno.EBUSY, f"unmount {target}: {said}")


def _layers(target: Path) -> int:
    return mount_points().count(str(target))


def space(path: Path) -> Space:
    """Of the file system at ``path``. Raises TimeoutError when its server does not answer, and OSError."""
    done = process.run_or_leave(["stat", "-f", "-c", "%S %b %f %a %c %d", path], timeout_s=LOCAL_S)
    if done.returncode != 0:
        raise OSError(errno.EIO, done.stderr.decode(errors="replace").strip())
    unit, blocks, free, available, files, files_free = map(int, done.stdout.split())
    return Space(blocks * unit, (blocks - free) * unit, available * unit, files, files - files_free)
