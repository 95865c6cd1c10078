"""subPath: a part of a volume, bound so that nobody can swap it for a link on the way.

The path is resolved once, must stay inside the volume, and is then walked folder by folder without following links; what was opened is what gets
mounted, by its descriptor. Folders that are missing get the volume's own mode, so that whoever may write in the one may write in the others.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from edgek.agent.kubelet.volumes.volume import VolumeFailed
from edgek.host.mount import Mounter

FOLDER = os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC


def bind(volume: Path, sub_path: str, target: Path, mounter: Mounter) -> Path:
    """Mount ``sub_path`` of ``volume`` on ``target`` (a folder is made where nothing is). Raises VolumeFailed, OSError."""
    if os.path.isabs(sub_path) or ".." in Path(sub_path).parts:
        raise VolumeFailed(f"subPath {sub_path!r} must be relative and must not contain '..'")
    if mounter.is_mounted(target):
        return target
    base = Path(os.path.realpath(volume))
    inside = Path(os.path.realpath(base / sub_path))
    if not inside.is_relative_to(base):
        raise VolumeFailed(f"subPath {sub_path!r} leads out of the volume")
    descriptor = _walk(base, inside.relative_to(base).parts, stat.S_IMODE(os.stat(base).st_mode))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            target.mkdir(exist_ok=True)
        else:
            target.touch()
        mounter.bind(f"/proc/{os.getpid()}/fd/{descriptor}", target)
    finally:
        os.close(descriptor)
    return target


def _walk(base: Path, parts: tuple[str, ...], mode: int) -> int:
    at = os.open(base, FOLDER)
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        try:
            below = _open(at, part, mode, last=last)
        finally:
            os.close(at)
        at = below
    return at


def _open(at: int, part: str, mode: int, *, last: bool) -> int:
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC if last else FOLDER
    try:
        found = os.open(part, flags, dir_fd=at)
    except FileNotFoundError:
        os.mkdir(part, mode, dir_fd=at)
        made = os.open(part, FOLDER, dir_fd=at)
        os.chmod(f"/proc/self/fd/{made}", mode)  # mkdir minds our umask
        return made
    if stat.S_ISLNK(os.fstat(found).st_mode):
        os.close(found)
        raise VolumeFailed(f"{part!r} became a link while it was looked at")
    return found
