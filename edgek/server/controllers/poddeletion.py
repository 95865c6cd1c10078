"""Deleting a pod that somebody else wanted to keep: it says why in its status first."""

from __future__ import annotations

from edgek.client.informer import Informer
from edgek.client.reconcile import Cluster
from edgek.model import errors, kinds, objects
from edgek.server.controllers import conditions
from edgek.server.controllers.views import PodView


async def delete(
    cluster: Cluster, informer: Informer[PodView], pod: PodView, reason: str, message: str, *, grace_s: int | None, fails: bool = False
) -> None:
    """``fails``: nobody is there to say how it ended, so it Failed."""
    try:
        await _explain(cluster, informer, pod, reason, message, fails=fails and not pod.finished)
    except errors.NotFound:
        return
    await cluster.delete(informer, pod.key, pod.uid, grace_s=grace_s)


async def _explain(cluster: Cluster, informer: Informer[PodView], pod: PodView, reason: str, message: str, *, fails: bool) -> None:
    live = await cluster.client.get(kinds.POD, pod.name, pod.namespace)
    if objects.uid(live) != pod.uid:
        return
    status = live.get("status") or {}
    condition = conditions.new("DisruptionTarget", "True", reason, message)
    made = {**status, "conditions": conditions.put(status.get("conditions"), condition)}
    if fails:
        made["phase"] = "Failed"
    if made != status:
        await cluster.update(informer, {**live, "status": made}, "status")
