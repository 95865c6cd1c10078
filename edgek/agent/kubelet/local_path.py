"""Directories behind volumes of the provisioner ``edgek.io/local-path``: removed here when their PersistentVolume is being deleted.

The controller (``server/controllers/localpath.py``) makes and deletes the PersistentVolume; the first pod that mounts it makes the directory
(``volumes/claim.py``). A deletion waits for this node by a finalizer, which goes when the directory has gone.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import attrs
import trio

from edgek.agent.kubelet.settings import KubeletSettings
from edgek.client.client import Client
from edgek.client.informer import Informer
from edgek.client.transport import Disconnected
from edgek.client.workqueue import WorkQueue
from edgek.host import log
from edgek.host.worker import InLine, Worker
from edgek.model import errors, kinds, objects
from edgek.model.objects import Object

PROVISIONER = "edgek.io/local-path"
FINALIZER = "edgek.io/local-path"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
IN_USE = "kubernetes.io/pv-protection"  # somebody still has it
HOSTNAME = "kubernetes.io/hostname"


@attrs.frozen
class Doomed:
    """A volume of this node that is being deleted, and whose directory nobody uses any more."""

    path: Path
    finalizers: tuple[str, ...]
    revision: str


class LocalPath:
    def __init__(self, settings: KubeletSettings, client: Client, *, files: Worker | InLine | None = None) -> None:
        self._settings = settings
        self._client = client
        self._files = files or Worker(1)
        self._queue = WorkQueue()
        self._volumes = Informer(client, kinds.PERSISTENT_VOLUME, self._view)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self._volumes.add_handler(lambda key, old, new: self._queue.add(key))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._volumes.run)
            task_status.started()
            while True:
                name = await self._queue.get()
                try:
                    await self._remove(name)
                except (errors.ApiError, Disconnected, OSError) as exc:
                    pause_s = self._queue.retry(name)
                    log.warning("the directory of a volume is not removed yet", volume=name, error=exc, retry_s=round(pause_s, 2))
                else:
                    self._queue.done(name)

    async def _remove(self, name: str) -> None:
        doomed = self._volumes.get(name)
        if doomed is None:
            return
        if doomed.path.parent != self._settings.local_path_dir or not doomed.path.name.startswith(f"{name}_"):
            # Whoever may make PersistentVolumes must not be able to have any folder of the node removed.
            log.error("a volume asks for a directory that is not its own to be removed", volume=name, path=doomed.path)
        else:
            await self._files.run(_remove_tree, doomed.path)
        kept = [each for each in doomed.finalizers if each != FINALIZER]
        patch = {"metadata": {"finalizers": kept, "resourceVersion": doomed.revision}}
        try:
            await self._client.patch(kinds.PERSISTENT_VOLUME, name, patch)
        except errors.NotFound:
            return

    def _view(self, volume: Object) -> Doomed | None:
        finalizers = objects.finalizers(volume)
        ours = objects.annotations(volume).get(PROVISIONED_BY) == PROVISIONER and self._is_here(volume)
        if not ours or not objects.is_deleting(volume) or FINALIZER not in finalizers or IN_USE in finalizers:
            return None
        return Doomed(Path(volume["spec"]["hostPath"]["path"]), tuple(finalizers), objects.revision(volume))

    def _is_here(self, volume: Object) -> bool:
        spec = volume.get("spec") or {}
        terms = ((spec.get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms") or ()
        names = (self._settings.hostname or self._settings.node_name, self._settings.node_name)
        return "hostPath" in spec and any(
            e["key"] == HOSTNAME and set(e.get("values") or ()) & set(names) for term in terms for e in term.get("matchExpressions") or ()
        )


def _remove_tree(path: Path) -> None:
    if path.is_symlink():
        path.unlink()  # never through a link
    elif path.exists():
        shutil.rmtree(path)
