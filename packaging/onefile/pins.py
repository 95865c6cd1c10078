"""``bundled.toml``: what is in the file, in which version, with which checksum, under which licence."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("bundled.toml")


class BuildError(Exception):
    """It cannot be built; the message says what to do."""


class Pins:
    """``python`` and ``modules`` by name; ``sources`` are archives of C code; ``debian`` and ``tools`` are what is built with, by the name of the
    architecture."""

    def __init__(self, tables: dict[str, Any]) -> None:
        self.python = tables["python"]
        self.modules = tables["go"]
        self.sources = tables["source"]
        self.libraries = tables["library"]
        self.go_version = str(tables["toolchain"]["go"])
        self.tools: dict[str, dict[str, str]] = tables["tools"]
        self.debian: dict[str, dict[str, dict[str, str]]] = tables["debian"]

    def requirements(self) -> str:
        """In pip's words, each with its checksums."""
        lines = []
        for name, pin in self.python.items():
            hashes = " ".join(f"--hash=sha256:{each}" for each in pin["sha256"])  # type: ignore[attr-defined]
            lines.append(f"{name}=={pin['version']} {hashes}")
        return "\n".join(lines) + "\n"


def load(file: Path = FILE) -> Pins:
    return Pins(tomllib.loads(file.read_text()))
