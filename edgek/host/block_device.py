"""A file system on a block device: which one there is, made where there is none, mounted. By the distribution's blkid, fsck and mkfs.

Nothing that holds anything is ever formatted: what is there is asked of the device itself, and whatever cannot be told for sure is refused.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from edgek.host import process
from edgek.host.mount_table import mounts

DEFAULT = "ext4"
PROBED_BYTES = 1 << 20  # a device whose beginning cannot be read is not blank, it is broken
FORMAT_S = 600.0
NOTHING_FOUND = 2  # blkid's code
NOT_CORRECTED = 4  # a bit of fsck's code
ARGUMENTS = {"ext3": ("-F", "-m0"), "ext4": ("-F", "-m0"), "xfs": ("-f",)}  # upstream's

_under_way: set[int] = set()
_guard = threading.Lock()


def bring(device: Path, wanted: str, mount: Callable[[str], None]) -> None:
    """Have the device's file system mounted by ``mount(its type)``; a blank device gets one, of type ``wanted`` or DEFAULT. Raises OSError."""
    number = os.stat(device).st_rdev
    with _guard:
        if number in _under_way:
            raise OSError(errno.EBUSY, f"{device} is being looked at already")
        _under_way.add(number)
    try:
        found = file_system(device)
        if not found:
            found = wanted or DEFAULT
            _run([f"mkfs.{found}", *ARGUMENTS.get(found, ()), device], f"format of disk {device} failed: type:({found!r})")
        elif wanted and found != wanted:
            raise OSError(errno.EINVAL, f"failed to mount the volume as {wanted!r}, it already contains {found}")
        elif not _is_in_use(number):
            _check(device)
        mount(found)
    finally:
        with _guard:
            _under_way.discard(number)


def file_system(device: Path) -> str:
    """Its type; empty for a device on which nothing is found. Raises OSError."""
    with device.open("rb") as file:
        file.read(PROBED_BYTES)
    done = _done(["blkid", "-p", "-s", "TYPE", "-s", "PTTYPE", "-o", "export", device])
    said = dict(line.split("=", 1) for line in done.stdout.decode(errors="replace").splitlines() if "=" in line)
    if done.returncode == NOTHING_FOUND and not said:
        return ""
    if done.returncode or not said.get("TYPE"):
        what = f"a partition table ({said['PTTYPE']})" if "PTTYPE" in said else f"something unknown (blkid ended with {done.returncode})"
        raise OSError(errno.EINVAL, f"{device} holds {what}: it is not formatted, and cannot be mounted")
    return said["TYPE"]


def _check(device: Path) -> None:
    """What a power cut left half done is repaired, as at boot."""
    try:
        done = process.run_now(["fsck", "-a", device], timeout_s=FORMAT_S)
    except FileNotFoundError:
        return
    if done.returncode & NOT_CORRECTED:
        text = done.stdout.decode(errors="replace").strip()
        raise OSError(errno.EUCLEAN, f"'fsck' found errors on device {device} but could not correct them: {text}")


def _is_in_use(number: int) -> bool:
    return any(each.device == f"{os.major(number)}:{os.minor(number)}" for each in mounts())


def _run(argv: Sequence[str | Path], why: str) -> None:
    done = _done(argv)
    if done.returncode:
        raise OSError(errno.EIO, f"{why}: {(done.stderr or done.stdout).decode(errors='replace').strip()}")


def _done(argv: Sequence[str | Path]) -> process.Finished:
    try:
        return process.run_now(argv, timeout_s=FORMAT_S)
    except FileNotFoundError:
        raise OSError(errno.ENOENT, f"{argv[-1]} cannot be mounted: the program {argv[0]} is not on this machine") from None
