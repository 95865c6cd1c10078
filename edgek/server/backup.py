"""A whole server in one file: its database, its keys and authorities, its tokens. Restored on any machine, its agents find their cluster there.

A gzipped tar, sealed with a passphrase where one is given; its first member names the others, with checksums. Making one disturbs no running server.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import os
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import attrs

from edgek import __version__
from edgek.host import files, sealed, wallclock
from edgek.model.errors import UsageError
from edgek.server.store import upkeep

PREFIX, SUFFIX = "edgek-", ".backup"
_MANIFEST = "manifest.json"
_FORMAT = 1
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_DATABASE = "db/state.db"


@attrs.frozen
class Contents:
    """What a backup says of itself: which edgek made it, when (RFC 3339), and the SHA-256 of each file by its name."""

    edgek: str
    made: str
    files: dict[str, str]


def new_file(folder: Path) -> Path:
    """A name for the next one."""
    files.make_private(folder)
    return folder / f"{PREFIX}{wallclock.now_rfc3339().replace(':', '')}{SUFFIX}"


def make(server_dir: Path, target: Path, passphrase: str = "") -> None:
    """Raises UsageError. The target appears whole or not at all."""
    if not (server_dir / _DATABASE).exists():
        raise UsageError(f"{server_dir} holds no server to back up")
    with tempfile.TemporaryDirectory(dir=server_dir, prefix=".backup-") as name:
        copy = Path(name) / "state.db"
        upkeep.backup(server_dir / _DATABASE, copy)
        members = {_DATABASE: copy, **_small_files(server_dir)}
        part = target.with_name(f".{target.name}.part")
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, files.SECRET_MODE)
            with open(descriptor, "wb") as file:
                _write(file, members, passphrase)
                file.flush()
                os.fsync(file.fileno())
            part.rename(target)
        except OSError as exc:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise UsageError(f"cannot write {target}: {exc.strerror}") from exc


def read(source: Path, passphrase: str = "", into: Path | None = None) -> Contents:
    """Hold every file against its checksum, and lay them out below ``into`` where that is given. Raises UsageError."""
    try:
        with source.open("rb") as file, _opened(file, source, passphrase) as archive:
            contents = _contents(archive, source)
            missing = dict(contents.files)
            while member := archive.next():
                _check(archive, member, missing, source, into)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as exc:
        raise UsageError(f"{exc.filename} cannot be read: {exc.strerror}") from exc
    except (OSError, EOFError, ValueError, KeyError, zlib.error, tarfile.TarError, sealed.CannotOpen) as exc:
        if isinstance(exc, OSError) and exc.errno in NO_ROOM:
            raise UsageError(f"{source} cannot be laid out below {into}: {exc.strerror}; make room there") from exc
        raise UsageError(f"{source} cannot be read: {exc}; take another backup") from exc
    if missing:
        raise UsageError(f"{source} lacks {', '.join(sorted(missing))}: take another backup")
    return contents


def restore(server_dir: Path, source: Path, passphrase: str = "") -> Path | None:
    """Make ``server_dir`` what the backup holds. What was there moves aside: where it is now. Raises UsageError, and has changed nothing then.

    Counting goes on far beyond every revision that the lost server can have handed out, so watchers list again.
    """
    with upkeep.unused(server_dir / _DATABASE):
        server_dir.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=server_dir.parent, prefix=".restore-") as name:
            fresh = Path(name) / "server"
            files.make_private(fresh)
            read(source, passphrase, fresh)
            if problems := upkeep.check(fresh / _DATABASE):
                raise UsageError(f"the database in {source} is damaged ({problems[0]}): take another backup")
            upkeep.leap(fresh / _DATABASE)
            former = _free_name(server_dir.with_name(f"{server_dir.name}.before-{wallclock.now_rfc3339()}"))
            if files.put_in_place(fresh, server_dir):
                fresh.rename(former)
    return former if former.exists() else None


def _free_name(wanted: Path) -> Path:
    return wanted if not wanted.exists() else _free_name(wanted.with_name(f"{wanted.name}-again"))


def _small_files(server_dir: Path) -> dict[str, Path]:
    """Keys and tokens; nothing of the database's own folder."""
    found = [*server_dir.glob("tls/*"), *server_dir.glob("*token")]
    return {str(file.relative_to(server_dir)): file for file in sorted(found) if file.is_file() and not file.name.startswith(".")}


def _write(file: BinaryIO, members: dict[str, Path], passphrase: str) -> None:
    sums = {name: _digest(path) for name, path in members.items()}
    manifest = json.dumps({"format": _FORMAT, "edgek": __version__, "made": wallclock.now_rfc3339(), "files": sums}).encode()
    outer = sealed.Writer(file, passphrase) if passphrase else None
    with (
        gzip.GzipFile(fileobj=cast("BinaryIO", outer or file), mode="wb", compresslevel=6) as packed,
        tarfile.open(fileobj=packed, mode="w|") as archive,
    ):
        head = tarfile.TarInfo(_MANIFEST)
        head.size = len(manifest)
        archive.addfile(head, io.BytesIO(manifest))
        for name, path in members.items():
            archive.add(path, name)
    if outer:
        outer.close()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _opened(file: BinaryIO, source: Path, passphrase: str) -> Iterator[tarfile.TarFile]:
    is_sealed = file.read(len(sealed.MAGIC)) == sealed.MAGIC
    if is_sealed and not passphrase:
        raise UsageError(f"{source} is sealed: give --passphrase-file")
    inner: Any = sealed.Reader(file, passphrase) if is_sealed else file
    if not is_sealed:
        file.seek(0)
    with gzip.GzipFile(fileobj=inner, mode="rb") as packed, tarfile.open(fileobj=cast("IO[bytes]", packed), mode="r|") as archive:
        yield archive


def _contents(archive: tarfile.TarFile, source: Path) -> Contents:
    first = archive.next()
    text = archive.extractfile(first) if first and first.name == _MANIFEST else None
    if text is None:
        raise UsageError(f"{source} is no backup of edgek")
    said = json.load(text)
    if said["format"] > _FORMAT:
        raise UsageError(f"{source} was made by edgek {said['edgek']}, which is newer than this {__version__}: restore it with that")
    return Contents(said["edgek"], said["made"], said["files"])


def _check(archive: tarfile.TarFile, member: tarfile.TarInfo, missing: dict[str, str], source: Path, into: Path | None) -> None:
    """Only what the manifest names, whole, and inside the folder."""
    wanted = missing.pop(member.name, None)
    content = archive.extractfile(member) if member.isfile() else None
    if wanted is None or content is None or ".." in Path(member.name).parts or member.name.startswith("/"):
        raise UsageError(f"{source} holds {member.name}, which it does not name: take another backup")
    digest = hashlib.sha256()
    target = into / member.name if into else Path(os.devnull)
    if into:
        files.make_private(target.parent)
    with open(os.open(target, os.O_WRONLY | os.O_CREAT, files.SECRET_MODE), "wb") as out:
        while piece := content.read(1 << 20):
            digest.update(piece)
            out.write(piece)
        out.flush()
        if into:
            os.fsync(out.fileno())
    if digest.hexdigest() != wanted:
        raise UsageError(f"{member.name} in {source} is damaged: take another backup")
