"""A folder that stands for every export of every file server."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import attrs

from edgek.csi.export import Export
from edgek.csi.mounts import Direct
from edgek.host.mount_table import Mount
from edgek.host.remote_mount import Space, source_of


class Folder:
    """``down``: the server does not answer. ``asked``: what was reached, in order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.down = False
        self.asked: list[Export] = []

    @contextmanager
    def open(self, export: Export) -> Iterator[Path]:
        self.asked.append(export)
        if self.down:
            raise TimeoutError(f"{export.server} does not answer")
        self.path.mkdir(parents=True, exist_ok=True)
        yield self.path


class Bound(Direct):
    """The mounts of a node on which a folder stands for ``files:/share``: bound instead, and shown in the table as a server's."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder.resolve()
        self.options: list[list[str]] = []
        self.hung = False

    def mount_nfs(self, server: str, path: str, target: Path, options: Sequence[str]) -> None:
        if self.hung:
            raise TimeoutError(f"{server} does not answer")
        self.options.append(list(options))
        super().bind(self.folder / PurePosixPath(path).relative_to("/share"), target, read_only="ro" in options, flags=0)

    def table(self) -> list[Mount]:
        found = super().table()
        host = max((each for each in found if self.folder.is_relative_to(each.point)), key=lambda each: len(each.point))
        inner = Path(host.root) / self.folder.relative_to(host.point)
        return [self._shown(each, inner) if each.device == host.device and Path(each.root).is_relative_to(inner) else each for each in found]

    def _shown(self, mount: Mount, inner: Path) -> Mount:
        return attrs.evolve(mount, kind="nfs4", source=source_of("files", str("/share" / Path(mount.root).relative_to(inner))))

    def space(self, path: Path) -> Space:
        if self.hung:
            raise TimeoutError("files does not answer")
        seen = os.statvfs(path)
        return Space(seen.f_blocks, seen.f_blocks - seen.f_bfree, seen.f_bavail, seen.f_files, seen.f_files - seen.f_ffree)
