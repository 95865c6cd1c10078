"""Getting at an export to make and unmake volumes on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from edgek.csi.export import Export
from edgek.host import remote_mount
from edgek.host.mount_namespace import private_mounts

POINT = Path("/run/edgek/nfs")

# A server that does not answer for half a minute is an error to us, who are called again; pods get the kernel's patience. No cached absence: what is
# there may have been made by another node just now. Locks of version 3 would need a daemon here; there they hold on this node only.
OPTIONS = ("soft", "timeo=50", "retrans=2", "lookupcache=positive", "nosuid", "nodev", "noexec", "nolock")


class Reach(Protocol):
    def open(self, export: Export) -> AbstractContextManager[Path]:
        """The export as a folder of the calling thread and its programs, until the block ends. Raises OSError."""
        ...


class Mounted:
    """By a mount that only this thread sees, at ``point``. Nothing but the kernel is needed for it on a node that makes volumes."""

    def __init__(self, point: Path = POINT) -> None:
        self._point = point

    @contextmanager
    def open(self, export: Export) -> Iterator[Path]:
        self._point.mkdir(mode=0o700, parents=True, exist_ok=True)
        words = [*(export.options.split(",") if export.options else ()), *OPTIONS]
        with private_mounts():
            remote_mount.mount_nfs(export.server, export.share, self._point, words, helper=False)
            yield self._point
