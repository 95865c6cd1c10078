"""The directories of this node's volumes of the class ``local-path``: deleted when their volumes are.

Making them is the kubelet's, when the first pod comes.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import attrs
import trio

from edgek.client.client import JSON_PATCH, Client
from edgek.client.informer import Informer
from edgek.client.transport import Disconnected
from edgek.client.workqueue import WorkQueue
from edgek.host import log
from edgek.host.worker import InLine, Worker
from edgek.model import errors, kinds, objects
from edgek.model.local_storage import FINALIZER, IN_USE_FINALIZER, NODE_LABEL
from edgek.model.objects import Object


@attrs.frozen
class Doomed:
    """A volume whose directory is to go. ``path`` as the volume says; ``place`` of our finalizer among its finalizers."""

    name: str
    path: Path
    place: int


def doomed(obj: Object) -> Doomed | None:
    """None while the volume is wanted, or held by somebody else first."""
    finalizers = objects.finalizers(obj)
    if not objects.is_deleting(obj) or FINALIZER not in finalizers or IN_USE_FINALIZER in finalizers:
        return None
    path = ((obj.get("spec") or {}).get("hostPath") or {}).get("path") or ""
    return Doomed(objects.name(obj), Path(path), finalizers.index(FINALIZER))


class LocalStorage:
    """``folder`` holds all of them: nothing outside it is ever deleted, whatever a volume says."""

    def __init__(self, client: Client, node_name: str, folder: Path, *, files: Worker | InLine | None = None) -> None:
        self._client = client
        self._folder = folder
        self._volumes = Informer(client, kinds.PERSISTENT_VOLUME, doomed, labels=f"{NODE_LABEL}={node_name}")
        self._queue = WorkQueue()
        self._worker = files or Worker(1)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self._volumes.add_handler(lambda key, old, new: self._queue.add(key))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._volumes.run)
            task_status.started()
            while True:
                key = await self._queue.get()
                volume = self._volumes.get(key)
                try:
                    if volume is not None:
                        await self._delete(volume)
                except (errors.ApiError, Disconnected, OSError) as exc:
                    pause_s = self._queue.retry(key)
                    log.warning("a volume's directory is not deleted yet", volume=key, error=exc, retry_s=round(pause_s, 1))
                else:
                    self._queue.done(key)

    async def _delete(self, volume: Doomed) -> None:
        """The directory first, then our hold on the volume: killed in between, we come here again."""
        if is_ours(volume.path, self._folder):
            await self._worker.run(_remove, volume.path)
        else:
            log.error("a local-path volume lies outside our folder: its files are left alone", volume=volume.name, path=volume.path)
        place = f"/metadata/finalizers/{volume.place}"
        patch: list[dict[str, Any]] = [{"op": "test", "path": place, "value": FINALIZER}, {"op": "remove", "path": place}]
        try:
            await self._client.patch(kinds.PERSISTENT_VOLUME, volume.name, patch, content_type=JSON_PATCH)
        except errors.NotFound:
            return


def is_ours(path: Path, folder: Path) -> bool:
    """Directly in the folder, and not by way of ``..``."""
    return path.parent == folder and path.name not in ("", ".", "..")


def _remove(path: Path) -> None:
    """``rmtree`` does not follow symbolic links, and refuses one in the directory's own place; that link goes alone."""
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
