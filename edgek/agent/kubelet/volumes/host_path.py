"""hostPath: a file or folder of the node, checked for what it is said to be."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from edgek.agent.kubelet.volumes.lanes import ANSWER_MOST_S
from edgek.agent.kubelet.volumes.volume import Order, Ready, VolumeFailed

CHECKS: dict[str, tuple[Callable[[int], bool], str]] = {
    "Directory": (stat.S_ISDIR, "directory"),
    "DirectoryOrCreate": (stat.S_ISDIR, "directory"),
    "File": (stat.S_ISREG, "file"),
    "FileOrCreate": (stat.S_ISREG, "file"),
    "Socket": (stat.S_ISSOCK, "socket file"),
    "CharDevice": (stat.S_ISCHR, "character device"),
    "BlockDevice": (stat.S_ISBLK, "block device"),
}


class HostPath:
    field: ClassVar[str] = "hostPath"

    async def build(self, order: Order) -> Ready:
        source = order.volume["hostPath"]
        await order.lane.run(check, Path(source["path"]), source.get("type") or "", within_s=ANSWER_MOST_S)
        return Ready(Path(source["path"]), owned=False)


def check(path: Path, kind: str) -> None:
    """Raises VolumeFailed; makes what may be made. Blocks, and for ever where a dead server is mounted."""
    if not kind:
        if not path.exists():
            path.mkdir(parents=True, exist_ok=True, mode=0o755)  # the runtime would make it, too
        return
    if kind not in CHECKS:
        raise VolumeFailed(f"hostPath type {kind!r} is unknown")
    if kind in ("DirectoryOrCreate", "FileOrCreate") and not path.exists():
        _make(path, kind)
    fits, word = CHECKS[kind]
    if not path.exists() or not fits(path.stat().st_mode):
        raise VolumeFailed(f"hostPath type check failed: {path} is not a {word}")


def _make(path: Path, kind: str) -> None:
    try:
        if kind == "DirectoryOrCreate":
            path.mkdir(parents=True, exist_ok=True, mode=0o755)  # two pods may want it at once
        else:
            path.touch(mode=0o644)
    except OSError as exc:
        raise VolumeFailed(f"hostPath type check failed: cannot make {path}: {exc.strerror}") from None
