"""Mounts in memory: what is mounted where, and nothing else happens."""

from __future__ import annotations

from pathlib import Path


class FakeMounter:
    def __init__(self) -> None:
        self.mounted: dict[Path, str] = {}

    def tmpfs(self, path: Path, size_bytes: int = 0) -> None:
        self.mounted[path] = f"tmpfs size={size_bytes}"

    def bind(self, source: str | Path, target: Path) -> None:
        self.mounted[target] = str(source)

    def unmount(self, path: Path) -> None:
        self.mounted.pop(path, None)

    def is_mounted(self, path: Path) -> bool:
        return path in self.mounted
