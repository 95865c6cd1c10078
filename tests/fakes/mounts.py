"""Mounts in memory: what is mounted where, and nothing else happens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class FakeMounter:
    def __init__(self) -> None:
        self.mounted: dict[Path, str] = {}
        self.refusals: dict[str, OSError] = {}  # by server

    def tmpfs(self, path: Path, size_bytes: int = 0) -> None:
        self.mounted[path] = f"tmpfs size={size_bytes}"

    def bind(self, source: str | Path, target: Path) -> None:
        self.mounted[target] = str(source)

    def nfs(self, server: str, path: str, target: Path, options: Sequence[str]) -> None:
        if server in self.refusals:
            raise self.refusals[server]
        self.mounted[target] = " ".join([f"nfs {server}:{path}", *options])

    def device(self, device: Path, target: Path, kind: str, options: Sequence[str]) -> None:
        self.mounted[target] = " ".join([f"{kind or 'default'} {device}", *options])

    def unmount(self, path: Path) -> None:
        self.mounted.pop(path, None)

    def is_mounted(self, path: Path) -> bool:
        return path in self.mounted
