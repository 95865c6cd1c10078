"""Files that change all at once: a folder whose visible names lead through one link, ``..data``, that is switched.

The layout is upstream's (``pkg/volume/util/atomic_writer.go``) because programs watch for it: real files in a folder with a dated name, ``..data``
pointing to that, and each visible name pointing into ``..data``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import attrs

from edgek.agent.kubelet.volumes.volume import VolumeFailed
from edgek.host import wallclock


@attrs.frozen
class Entry:
    """A file. ``owner`` is a user id, or None to leave it ours."""

    content: bytes
    mode: int = 0o644
    owner: int | None = None


def write(folder: Path, entries: Mapping[str, Entry], fs_group: int | None = None) -> bool:
    """Make the folder show exactly these files; False when it did already. Raises VolumeFailed for a name that would leave the folder."""
    for name in entries:
        parts = Path(name).parts
        if Path(name).is_absolute() or ".." in parts or not parts or parts[0].startswith(".."):
            raise VolumeFailed(f"invalid path {name!r}: it must stay below the volume and not start with '..'")
    present = folder / "..data"
    if _same(present, entries):
        _link_names(folder, entries)  # an edgek that was killed after the switch has not done that
        return False
    fresh = folder / f"..{wallclock.now_ns()}"
    fresh.mkdir(mode=0o755)
    for name, entry in entries.items():
        _write(fresh, name, entry, fs_group)
    if fs_group is not None:
        for inside in (fresh, *(found for found in fresh.rglob("*") if found.is_dir())):
            os.chown(inside, -1, fs_group)
    switch = folder / "..data_tmp"
    switch.unlink(missing_ok=True)
    switch.symlink_to(fresh.name)
    switch.rename(present)
    _link_names(folder, entries)
    for old in folder.glob("..[0-9]*"):  # the last one, and any of an edgek that was killed while it wrote
        if old != fresh:
            shutil.rmtree(old, ignore_errors=True)
    return True


def _same(present: Path, entries: Mapping[str, Entry]) -> bool:
    if not present.is_symlink():
        return False
    found = {str(file.relative_to(present)): file for file in present.rglob("*") if file.is_file()}
    return found.keys() == entries.keys() and all(file.read_bytes() == entries[name].content for name, file in found.items())


def _write(fresh: Path, name: str, entry: Entry, fs_group: int | None) -> None:
    file = fresh / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.write_bytes(entry.content)
    mode = entry.mode
    if entry.owner is not None or fs_group is not None:
        os.chown(file, -1 if entry.owner is None else entry.owner, -1 if fs_group is None else fs_group)
    if fs_group is not None:
        mode |= 0o440
    file.chmod(mode)


def _link_names(folder: Path, entries: Mapping[str, Entry]) -> None:
    wanted = {Path(name).parts[0] for name in entries}
    for name in wanted:
        link = folder / name
        if not link.is_symlink():
            link.symlink_to(Path("..data") / name)
    for found in folder.iterdir():
        if not found.name.startswith("..") and found.name not in wanted:
            found.unlink()
