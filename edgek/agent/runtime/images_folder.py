"""Images that the operator puts into ``<data-dir>/agent/images``: imported at the start and when they arrive.

What was imported is remembered beside the archives, so that a restart reads none of them again unless it changed or its images are gone.
"""

from __future__ import annotations

from pathlib import Path

import orjson
import trio

from edgek.agent.runtime.runtime import Runtime, RuntimeFailure, RuntimeGone
from edgek.host import files, log, watch

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.zstd")
MEMORY = ".imported.json"
AGAIN_S = 1.0  # while containerd is away


async def run(runtime: Runtime, folder: Path, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Started means: what lay there is imported, or was refused with a line in the log."""
    await trio.Path(folder).mkdir(parents=True, exist_ok=True)
    with watch.folder(folder) as changes:
        await _import_once_there(runtime, folder)
        task_status.started()
        async for change in changes:
            if change.missed or is_archive(change.name):
                await _import_once_there(runtime, folder)


async def _import_once_there(runtime: Runtime, folder: Path) -> None:
    while True:
        try:
            return await import_new(runtime, folder)
        except RuntimeGone:  # it is started again by whoever supervises it, who also says so
            await trio.sleep(AGAIN_S)


async def import_new(runtime: Runtime, folder: Path) -> None:
    """Archives that are new, or changed, or whose images have been removed. Raises RuntimeGone."""
    remembered = _remembered(folder)
    present = {tag for image in await runtime.images() for tag in image.tags}
    changed = False
    for archive in _archives(folder):
        state = _state(archive)
        former = remembered.get(archive.name)
        if former is not None and former[0] == state and present.issuperset(former[1:]):
            continue
        try:
            references = await runtime.import_images(trio.Path(archive))
        except RuntimeGone:
            raise
        except RuntimeFailure as error:
            log.error("image archive not imported", file=archive, why=error)
            continue
        log.info("image archive imported", file=archive.name, images=",".join(references))
        remembered[archive.name] = [state, *references]
        changed = True
    if changed:
        files.write_atomically(folder / MEMORY, orjson.dumps(remembered))


def _archives(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if is_archive(path.name))


def is_archive(name: str) -> bool:
    """Hidden ones are being written."""
    return name.endswith(SUFFIXES) and not name.startswith(".")


def _state(archive: Path) -> str:
    status = archive.stat()
    return f"{status.st_size}:{status.st_mtime_ns}"


def _remembered(folder: Path) -> dict[str, list[str]]:
    """By archive: its state, then the images it brought."""
    try:
        found: dict[str, list[str]] = orjson.loads((folder / MEMORY).read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return {}
    return found
