"""The directories of volumes that were made before there were storage drivers: hostPath volumes of the provisioner ``edgek.io/local-path``.

None is made any more. Those that are there are used as ever, and deleted here.
"""

from __future__ import annotations

from pathlib import Path

from edgek.host import log, trees


def delete(volume: str, path: Path, folder: Path) -> None:
    """Blocks. One that is gone is deleted; one outside ``folder`` is left alone, whatever the volume says. Raises OSError."""
    if is_ours(path, folder):
        remove(path)
    else:
        log.error("a local-path volume lies outside our folder: its files are left alone", volume=volume, path=path)


def is_ours(path: Path, folder: Path) -> bool:
    """Directly in the folder, and not by way of ``..``."""
    return path.parent == folder and path.name not in ("", ".", "..")


def remove(path: Path) -> None:
    """No link is followed, and one in the directory's own place goes alone."""
    if path.is_symlink():
        path.unlink()
    else:
        trees.remove(path)
