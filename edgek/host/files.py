"""Files that are never half written, and secrets that nobody else reads."""

from __future__ import annotations

import ctypes
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SECRET_MODE = 0o600
_HERE, _RENAME_EXCHANGE = -100, 2  # AT_FDCWD; see renameat2(2)


def write_atomically(path: Path, content: bytes | str, mode: int = 0o644) -> None:
    """Replace the file so that a reader, or a power cut, sees the old content or the new. Makes missing folders."""
    raw = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _write_whole(part, raw, mode)
        part.rename(path)
    except BaseException:
        part.unlink(missing_ok=True)  # on a full disk it would take up what is left
        raise
    sync(path.parent)


def _write_whole(path: Path, raw: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        os.fchmod(descriptor, mode)  # the umask must not widen or narrow it
        view = memoryview(raw)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync(path: Path) -> None:
    """Have the disk keep what was written to this file, or what was renamed in this folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def in_memory(folder: Path) -> bool:
    """Whether what is written there never reaches a disk: the folder, or the one that it will be made in, lies in a tmpfs."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    device = folder.stat().st_dev
    place = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return False
    return any(line.split(" ")[2] == place and line.partition(" - ")[2].startswith("tmpfs ") for line in mounts)


def put_in_place(fresh: Path, path: Path) -> bool:
    """Let ``fresh`` take the place of ``path`` in one step; whether there was something, which has the name ``fresh`` from then on."""
    libc = ctypes.CDLL(None, use_errno=True)
    exchanged = path.exists()
    if exchanged and libc.renameat2(_HERE, os.fsencode(fresh), _HERE, os.fsencode(path), _RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
    if not exchanged:
        fresh.rename(path)
    sync(path.parent)
    return exchanged


def make_private(path: Path) -> None:
    """A folder that only we may enter."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.chmod(0o700)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """While nobody else is in such a block, in this process or another: on a file system of NFS version 4 on another node, too. Waits for them.

    The lock goes with its holder, however that ends; the file stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
