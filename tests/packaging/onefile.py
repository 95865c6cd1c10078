"""The modules of the build, and small trees packed as the real one is."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ONEFILE = Path(__file__).parents[2] / "packaging" / "onefile"
ECHO = '#!/bin/sh\necho "$(basename "$0") called ${CONTAINERD_NAMESPACE:-} $*"\n'


def load(name: str) -> ModuleType:
    """The build is no package: its modules import each other by their plain names."""
    sys.path.insert(0, str(ONEFILE))
    try:
        spec = importlib.util.spec_from_file_location(name, ONEFILE / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(ONEFILE))
    return module


archive = load("archive")
release = load("release")


def make_tree(folder: Path, edgek: str = ECHO) -> Path:
    for name, text in {"edgek": edgek, "bin/containerd": ECHO, "_internal/deep/er/data": "x" * 200_000}.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755 if name != "_internal/deep/er/data" else 0o644)
    (folder / "bin" / "ctr").symlink_to("containerd")
    return folder


def pack(tree: Path, launcher: Path, target: Path) -> Path:
    archive.pack(tree, launcher, target, level=1)
    return target
