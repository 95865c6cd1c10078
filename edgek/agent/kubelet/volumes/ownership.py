"""A volume's files for the pod's fsGroup: the group owns them and may do what the owner may, and what is made in a folder belongs to the group, too.

The masks are upstream's (``pkg/volume/volume_linux.go``). Blocks for as long as the volume has files.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

FILE_MODE = 0o660
FOLDER_MODE = 0o110 | stat.S_ISGID


def give(volume: Path, group: int, change_policy: str) -> None:
    """With the policy OnRootMismatch, files are only looked at where the volume's own folder is not as it should be. Raises OSError."""
    if change_policy == "OnRootMismatch" and _fits(os.lstat(volume), group):
        return
    # The root last: as long as it does not fit, an interrupted change is made again.
    for folder, names, files in os.walk(volume, topdown=False):
        for name in files:
            _give(os.path.join(folder, name), group)
        for name in names:
            if os.path.islink(os.path.join(folder, name)):
                _give(os.path.join(folder, name), group)
        _give(folder, group)


def _fits(found: os.stat_result, group: int) -> bool:
    wanted = FILE_MODE | FOLDER_MODE
    return found.st_gid == group and stat.S_IMODE(found.st_mode) & wanted == wanted


def _give(path: str, group: int) -> None:
    found = os.lstat(path)
    if found.st_gid != group:
        os.lchown(path, -1, group)
    if stat.S_ISLNK(found.st_mode):
        return  # its mode means nothing
    mode = stat.S_IMODE(found.st_mode)
    wanted = mode | FILE_MODE | (FOLDER_MODE if stat.S_ISDIR(found.st_mode) else 0)
    if wanted != mode or found.st_gid != group:
        os.chmod(path, wanted)  # chown took the set-id bits away
