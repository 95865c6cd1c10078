"""Mirror pods: what the API shows of a pod that comes from a manifest on the node. Nobody can change the pod through them."""

from __future__ import annotations

import copy
from collections.abc import Callable

import trio

from edgek.agent.kubelet import labels
from edgek.client.client import Client
from edgek.client.transport import Disconnected
from edgek.host import log
from edgek.model import errors, kinds, objects
from edgek.model.objects import Object

RETRY_FIRST_S = 1.0
RETRY_MOST_S = 60.0


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
            if present and objects.annotations(present).get(labels.STATIC_MIRROR) == objects.uid(pod):
                return
            if present and labels.STATIC_MIRROR in objects.annotations(present):
                await delete(client, present)  # of a former manifest with this name
        except (errors.ApiError, Disconnected) as exc:
            log.debug("mirror pod not made", pod=objects.key(pod), error=exc)
        await trio.sleep(pause_s)
        pause_s = min(pause_s * 2, RETRY_MOST_S)


async def delete(client: Client, mirror: Object) -> None:
    try:
        await client.delete(kinds.POD, objects.name(mirror), objects.namespace(mirror), uid=objects.uid(mirror), grace_s=0)
    except (errors.ApiError, Disconnected) as exc:
        log.debug("mirror pod not deleted", pod=objects.key(mirror), error=exc)
