"""Logs of containers are kept from filling the disk: a file that grew too long is moved aside, the oldest ones go.

Sizes are looked at with the node's ten-second beat, once a minute: a stat(2) for each running container, and nothing is written at rest.
"""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

from edgek.agent.kubelet.loop import Kubelet
from edgek.agent.runtime.runtime import RuntimeFailure
from edgek.host import log, wallclock
from edgek.host.worker import InLine, Worker


async def check(kubelet: Kubelet, files: Worker | InLine) -> None:
    """Rotate what is too long now."""
    settings = kubelet.settings
    for worker in list(kubelet.workers.values()):
        for container in worker.seen.containers:
            if container.state == "running" and container.log_path:
                path = Path(container.log_path)
                if size(path) > settings.log_max_bytes:
                    await _rotate(kubelet, container.id, path, files)


async def _rotate(kubelet: Kubelet, container_id: str, path: Path, files: Worker | InLine) -> None:
    aside = path.with_name(f"{path.name}.{wallclock.rfc3339(wallclock.now()).replace(':', '').replace('-', '')}")
    if not _move(path, aside):
        return
    try:
        await kubelet.runtime.reopen_log(container_id)
    except RuntimeFailure as exc:
        log.warning("the runtime does not reopen a log", file=path, error=exc)
        _move(aside, path)  # else the container would write on into a file that will be removed
        return
    await files.run(tidy, path, kubelet.settings.log_max_files)


def _move(source: Path, target: Path) -> bool:
    if target.exists():
        return False
    try:
        source.rename(target)
    except OSError as exc:
        log.warning("cannot rotate a log", file=source, error=exc)
        return False
    return True


def tidy(path: Path, keep: int) -> None:
    """Compress all former files but the newest, and remove those beyond ``keep`` (the present one included)."""
    former = sorted(found for found in path.parent.glob(f"{path.name}.*") if not found.name.endswith(".tmp"))
    for old in former[: max(0, len(former) - (keep - 1))]:
        old.unlink(missing_ok=True)
    for old in former[:-1]:
        if old.suffix != ".gz" and old.exists():
            part = old.with_name(f"{old.name}.tmp")
            with old.open("rb") as source, gzip.open(part, "wb", compresslevel=1) as target:
                shutil.copyfileobj(source, target)
            part.rename(old.with_name(f"{old.name}.gz"))
            old.unlink()


def size(path: Path) -> int:
    """0 for what is not there."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
