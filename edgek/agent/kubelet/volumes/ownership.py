"""A volume's files for the pod's fsGroup: the group owns them and may do what the owner may, and what is made in a folder belongs to the group, too.

The masks are upstream's (``pkg/volume/volume_linux.go``). Blocks for as long as the volume has files.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from edgek.host import trees

FILE_MODE = 0o660
FOLDER_MODE = 0o110 | stat.S_ISGID


def give(volume: Path, group: int, change_policy: str) -> None:
    """With the policy OnRootMismatch, files are only looked at where the volume's own folder is not as it should be. Raises OSError.

    Another pod may be at work in the volume: a file that it replaces by a link is left alone.
    """
    if change_policy == "OnRootMismatch" and _fits(os.lstat(volume), group):
        return
    # The root last, as ``walk`` has it: as long as it does not fit, an interrupted change is made again.
    for folder, names in trees.walk(volume):
        for name in names:
            _give_file(folder, name, group)
        _give(folder, os.fstat(folder), group)


def _fits(found: os.stat_result, group: int) -> bool:
    wanted = FILE_MODE | FOLDER_MODE
    return found.st_gid == group and stat.S_IMODE(found.st_mode) & wanted == wanted


def _give_file(folder: int, name: str, group: int) -> None:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):  # its mode means nothing
            if found.st_gid != group:
                os.chown(name, -1, group, dir_fd=folder, follow_symlinks=False)
        elif not _is_given(found, group):
            handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            try:
                _give(handle, os.fstat(handle), group)
            finally:
                os.close(handle)
    except FileNotFoundError:
        return  # gone meanwhile


def _give(handle: int, found: os.stat_result, group: int) -> None:
    """What is open, and what it was found to be."""
    if stat.S_ISLNK(found.st_mode) or _is_given(found, group):
        return
    path = f"/proc/self/fd/{handle}"  # for chown(2) takes no descriptor that is a mere place
    if found.st_gid != group:
        os.chown(path, -1, group)
    os.chmod(path, _mode(found))  # after chown, which takes the set-id bits away


def _is_given(found: os.stat_result, group: int) -> bool:
    return found.st_gid == group and stat.S_IMODE(found.st_mode) == _mode(found)


def _mode(found: os.stat_result) -> int:
    return stat.S_IMODE(found.st_mode) | FILE_MODE | (FOLDER_MODE if stat.S_ISDIR(found.st_mode) else 0)
