"""The tree as one file: the launcher, the archive, and the trailer that ``launch.c`` reads. The same tree gives the same bytes."""

from __future__ import annotations

import hashlib
import io
import shutil
import struct
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

MAGIC = b"edgek-packed-2\n\0"
TRAILER = struct.Struct("<QQQQ64s16s")  # offset and size of the archive, how many entries and bytes are in it, its SHA-256 in hex, MAGIC


def pack(tree: Path, launcher: Path, target: Path, *, level: int) -> None:
    packed = target.with_name(f".{target.name}.archive")
    target.parent.mkdir(exist_ok=True)
    command = ["zstd", "--quiet", "--force", "--check", f"-{level}", "-T2", "-o", packed]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        assert child.stdin is not None
        with tarfile.open(fileobj=child.stdin, mode="w|", format=tarfile.USTAR_FORMAT) as archive:
            for file in _in_order(tree):
                _add(archive, tree, file)
        child.stdin.close()
        if child.wait():
            raise subprocess.CalledProcessError(child.returncode, command)
    fresh = target.with_name(f".{target.name}.new")
    with fresh.open("wb") as out:
        out.write(launcher.read_bytes())
        offset = out.tell()
        with packed.open("rb") as content:
            shutil.copyfileobj(content, out)
        out.write(TRAILER.pack(offset, out.tell() - offset, *_counted(tree), digest(packed).encode(), MAGIC))
    packed.unlink()
    fresh.chmod(0o755)
    fresh.rename(target)


def digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _in_order(tree: Path) -> Iterator[Path]:
    """Programs last: the tree counts as unpacked when ``edgek`` is there."""
    return iter(sorted(tree.rglob("*"), key=lambda file: (file == tree / "edgek", str(file.relative_to(tree)))))


def _counted(tree: Path) -> tuple[int, int]:
    """Entries, and bytes in files: less is no longer all of it."""
    found = list(_in_order(tree))
    return len(found), sum(file.stat().st_size for file in found if file.is_file() and not file.is_symlink())


def _add(archive: tarfile.TarFile, tree: Path, file: Path) -> None:
    entry = tarfile.TarInfo(str(file.relative_to(tree)))
    if file.is_symlink():
        entry.type, entry.linkname = tarfile.SYMTYPE, str(file.readlink())
        archive.addfile(entry)
    elif file.is_dir():
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(entry)
    else:
        content = file.read_bytes()
        entry.size, entry.mode = len(content), 0o755 if file.stat().st_mode & 0o111 else 0o644
        archive.addfile(entry, io.BytesIO(content))
