"""Open the file and read it: alone, in the right version, and whole. What has to be mended first is mended in a child process."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from edgek.host import files, log, process
from edgek.host.worker import Worker
from edgek.model import errors
from edgek.server.store import mending, salvage, schema
from edgek.server.store.disk import Disk, Loaded, OutdatedSchema, lock
from edgek.server.store.rows import Damaged, Unreadable

# Seconds. A migration or a salvage reads and writes the whole file, on an SD card.
MEND_TIMEOUT_S = 600.0
# Attempts: as found, with the schema brought up to date, and after a salvage.
ATTEMPTS = 3


@asynccontextmanager
async def opened(path: Path, *, max_bytes: int, worker: Worker) -> AsyncIterator[tuple[Disk, Loaded]]:
    """The file and what it holds. Raises UsageError when it cannot be used, with what to do."""
    try:
        files.make_private(path.parent)  # it holds every Secret
        descriptor = lock(path)
    except OSError as error:
        raise errors.UsageError(f"cannot use {path.parent}: {error}; mend the folder, or use another --data-dir") from error
    try:
        salvage.finish_swap(path)
        _for_us_alone(path)
        disk, loaded = await _mend_and_load(path, max_bytes, worker)
        try:
            yield disk, loaded
        finally:
            disk.close()
    finally:
        os.close(descriptor)


async def _mend_and_load(path: Path, max_bytes: int, worker: Worker) -> tuple[Disk, Loaded]:
    for attempt in range(ATTEMPTS):
        try:
            return await worker.run(_load, path, max_bytes)
        except OutdatedSchema:
            await _in_a_child("migrate", path)
        except Damaged as damage:
            if attempt == ATTEMPTS - 1:
                raise Unreadable(f"{path} is damaged beyond what edgek can mend: {damage}; put a backup in its place") from damage
            log.error("store damaged", file=path, error=damage)
            _tell(path, salvage.Salvage.from_json(await _in_a_child("salvage", path)))
            salvage.finish_swap(path)
    raise Unreadable(f"{path} could not be brought to schema version {schema.VERSION}: put a backup in its place")


def _for_us_alone(path: Path) -> None:
    """SQLite gives the files beside it the mode of the database. One of an earlier edgek, or put there by hand, may be open to others."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, files.SECRET_MODE))
    except OSError as error:
        raise errors.UsageError(f"cannot open {path}: {error}; look at the folder's owner and at the disk") from error
    for suffix in salvage.SUFFIXES:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).chmod(files.SECRET_MODE)


def _load(path: Path, max_bytes: int) -> tuple[Disk, Loaded]:
    disk = Disk(path, max_bytes=max_bytes)
    try:
        return disk, disk.load()
    except BaseException:
        disk.close()
        raise


async def _in_a_child(action: str, path: Path) -> bytes:
    """What it printed."""
    done = await process.run(mending.command(action, path), timeout_s=MEND_TIMEOUT_S, env=process.our_environment())
    if done.returncode:
        raise Unreadable(f"cannot {action} {path}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def _tell(path: Path, saved: salvage.Salvage) -> None:
    for name in saved.lost:
        log.error("object lost", object=name)
    log.warning("store salvaged", file=path, kept=saved.kept, lost=len(saved.lost), damaged=saved.damaged)
