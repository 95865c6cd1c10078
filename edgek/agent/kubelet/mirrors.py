"""Static pods and their mirrors: what the API shows of a pod that comes from a manifest on the node. Nobody can change the pod through them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import attrs
import trio

from edgek.agent.kubelet import labels
from edgek.agent.kubelet.worker import PodWorker
from edgek.client.client import Client
from edgek.client.informer import Informer
from edgek.client.transport import Disconnected
from edgek.host import log
from edgek.model import errors, kinds, objects
from edgek.model.objects import Object

RETRY_FIRST_S = 1.0
RETRY_MOST_S = 60.0


@attrs.define
class _Static:
    pod: Object
    mirror: Object | None = None


class StaticPods:
    """``workers`` are the node's by uid, ``start`` makes one for a uid and a pod, ``pods`` are the API's of this node."""

    def __init__(
        self,
        client: Client,
        node_name: str,
        workers: Mapping[str, PodWorker],
        start: Callable[[str, Object], None],
        pods: Informer[Object],
    ) -> None:
        self._client = client
        self._node_name = node_name
        self._workers = workers
        self._start = start
        self._shown = pods
        self._pods: dict[str, _Static] = {}  # by uid, those that have a worker
        self._wanted: set[str] = set()  # uids of those that have a manifest
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    def __contains__(self, uid: object) -> bool:
        return uid in self._pods

    def mirror(self, uid: str) -> Object | None:
        """Of a static pod, its mirror as the API showed it last."""
        return self._pods[uid].mirror

    # Manifests come and go.

    async def put(self, pod: Object) -> None:
        """A manifest is there, with its uid and annotations already set by ``static.py``. Waits until a former one of that name is gone."""
        uid = objects.uid(pod)
        self._wanted.add(uid)
        while former := self._former(pod):
            if former.uid == uid and not former.gone:
                return
            await former.looked.wait()
        if uid not in self._wanted:
            return  # its manifest went while it waited
        self._pods[uid] = static = _Static(pod, next((each for each in self._shown.items.values() if _is_mirror_of(each, uid)), None))
        self._start(uid, pod)
        self._ask_for_mirror(uid, static)

    def _former(self, pod: Object) -> PodWorker | None:
        """The worker of this very pod, which may be on its way out, or of another one with its name."""
        uid, key = objects.uid(pod), objects.key(pod)
        return next((w for w in self._workers.values() if w.uid == uid or (w.pod is not None and objects.key(w.pod) == key)), None)

    def drop(self, uid: str) -> None:
        """Its manifest is gone. Its mirror goes when it has ended."""
        self._wanted.discard(uid)
        worker = self._workers.get(uid)
        if worker:
            worker.forget()

    async def over(self, uid: str) -> None:
        """Nothing of the pod is left on the node. Does nothing for a pod that is not static."""
        static = self._pods.pop(uid, None)
        if static and static.mirror:
            await delete(self._client, static.mirror)

    # Mirrors come and go.

    def mirror_changed(self, old: Object | None, new: Object | None) -> None:
        """What the API shows of a mirror, of whichever pod."""
        assert self._nursery is not None, "StaticPods.run comes first"
        uid = objects.annotations(new or old or {}).get(labels.STATIC_MIRROR, "")
        static = self._pods.get(uid)
        if static is None:
            if new is not None:
                self._nursery.start_soon(delete, self._client, new)
            return
        if new is not None and objects.is_deleting(new):
            self._nursery.start_soon(delete, self._client, new)  # it is only a picture; another will be made
        worker = self._workers.get(uid)
        if worker and new is not None and static.mirror is None:
            worker.recall(new.get("status") or {})
        static.mirror = new
        if worker:
            worker.wake()
        if new is None:
            self._ask_for_mirror(uid, static)

    def _ask_for_mirror(self, uid: str, static: _Static) -> None:
        assert self._nursery is not None, "StaticPods.run comes first"
        if static.mirror is None:
            self._nursery.start_soon(create, self._client, self._node_name, static.pod, lambda: self._pods.get(uid) is static)


def _is_mirror_of(pod: Object, uid: str) -> bool:
    return objects.annotations(pod).get(labels.STATIC_MIRROR, "") == uid


async def create(client: Client, node_name: str, pod: Object, wanted: Callable[[], bool]) -> None:
    """Tries until it is there, as long as it is ``wanted``: a static pod outlives every trouble of the API."""
    mirror = copy.deepcopy(pod)
    meta = objects.metadata(mirror)
    meta["annotations"] = {**objects.annotations(pod), labels.STATIC_MIRROR: objects.uid(pod)}
    for field in ("uid", "creationTimestamp", "resourceVersion"):
        meta.pop(field, None)
    mirror.pop("status", None)
    node = None
    pause_s = RETRY_FIRST_S
    while wanted():
        try:
            node = node or await client.get(kinds.NODE, node_name)
            owner = {"apiVersion": "v1", "kind": "Node", "name": node_name, "uid": objects.uid(node), "controller": True}
            meta["ownerReferences"] = [owner]
            await client.create(kinds.POD, mirror, objects.namespace(pod))
            return
        except errors.AlreadyExists:
            present = await client.find(kinds.POD, objects.name(pod), objects.namespace(pod))
            if present and _is_mirror_of(present, objects.uid(pod)):
                return
            if present and labels.STATIC_MIRROR in objects.annotations(present):
                await delete(client, present)  # of a former manifest with this name
        except (errors.ApiError, Disconnected) as exc:
            log.debug("mirror pod not made", pod=objects.key(pod), error=exc)
        await trio.sleep(pause_s)
        pause_s = min(pause_s * 2, RETRY_MOST_S)


async def delete(client: Client, mirror: Object) -> None:
    """Tries until it is gone: nobody else would ever take the picture away."""
    name, namespace, uid = objects.name(mirror), objects.namespace(mirror), objects.uid(mirror)
    pause_s = RETRY_FIRST_S
    while True:
        try:
            present = await client.find(kinds.POD, name, namespace)
            if present is not None and objects.uid(present) == uid:
                await client.delete(kinds.POD, name, namespace, uid=uid, grace_s=0)
            return
        except errors.NotFound:
            return
        except (errors.ApiError, Disconnected) as exc:
            log.debug("mirror pod not deleted", pod=objects.key(mirror), error=exc)
        await trio.sleep(pause_s)
        pause_s = min(pause_s * 2, RETRY_MOST_S)
