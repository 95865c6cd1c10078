"""Folders that somebody else filled, a container perhaps: looked at and removed however deep they are, and without following a link.

Python's own ways call themselves for each level, which a thousand folders inside each other put an end to, and look things up by their whole names,
which may lead elsewhere by the time they are used. Here a folder is opened from the one above it, and two are open at a time.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def walk(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Each folder, those below it first: open until the next is asked for, and what is in it that is no folder. Raises OSError."""
    at = os.open(path, FOLDER)
    above: list[tuple[tuple[int, int], list[str], list[str]]] = []
    try:
        files, folders = _content(at)
        while True:
            if folders:
                below = _enter(at, folders.pop())
                if below is not None:
                    above.append((_identity(at), files, folders))
                    os.close(at)
                    at = below
                    files, folders = _content(at)
                continue
            yield at, files
            if not above:
                return
            parent = os.open("..", FOLDER, dir_fd=at)
            os.close(at)
            at = parent
            known, files, folders = above.pop()
            if _identity(at) != known:
                raise OSError(errno.ESTALE, "a folder was moved while it was looked at", str(path))
    finally:
        os.close(at)


def remove(path: Path) -> None:
    """The folder with all that is in it; success where nothing is. What is mounted in it, or moved into it meanwhile, is an OSError."""
    try:
        top = os.open(path, FOLDER)
    except FileNotFoundError:
        return
    fresh = (f".{token}-{number}" for token in (os.urandom(8).hex(),) for number in itertools.count())
    try:
        left = _without_files(top)
        while left:
            name = left.pop()
            left += _lifted(top, name, fresh)
            os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    path.rmdir()


def _lifted(top: int, name: str, fresh: Iterator[str]) -> list[str]:
    """Empty a folder of ``top``: what is in it and not empty itself becomes a folder of ``top``, so that nothing gets deep. Their names."""
    found = []
    inner = os.open(name, FOLDER, dir_fd=top)
    try:
        for each in _without_files(inner):
            found.append(next(fresh))
            os.rename(each, found[-1], src_dir_fd=inner, dst_dir_fd=top)
    finally:
        os.close(inner)
    return found


def _without_files(folder: int) -> list[str]:
    """Remove what is in it, but for folders that are not empty: their names."""
    left = []
    for name in os.listdir(folder):
        try:
            os.unlink(name, dir_fd=folder)
        except IsADirectoryError:
            if not _removed_empty(folder, name):
                left.append(name)
        except FileNotFoundError:
            continue
    return left


def _removed_empty(folder: int, name: str) -> bool:
    try:
        os.rmdir(name, dir_fd=folder)
    except OSError as exc:
        if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def _content(folder: int) -> tuple[list[str], list[str]]:
    """What is in it: files and the like, and folders."""
    files, folders = list[str](), list[str]()
    with os.scandir(folder) as entries:
        for entry in entries:
            (folders if entry.is_dir(follow_symlinks=False) else files).append(entry.name)
    return files, folders


def _enter(folder: int, name: str) -> int | None:
    """None where it is not there any more, or is no folder any more."""
    try:
        return os.open(name, FOLDER, dir_fd=folder)
    except OSError as exc:
        if exc.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        return None


def _identity(folder: int) -> tuple[int, int]:
    found = os.fstat(folder)
    return found.st_dev, found.st_ino
