"""Deleting a pod that somebody else wanted to keep: it says why in its status first."""

from __future__ import annotations

from typing import Any

from edgek.client.client import STRATEGIC_MERGE_PATCH
from edgek.client.informer import Informer
from edgek.client.reconcile import Cluster
from edgek.model import errors
from edgek.server.controllers import conditions
from edgek.server.controllers.views import PodView


async def delete(
    cluster: Cluster, informer: Informer[PodView], pod: PodView, reason: str, message: str, *, grace_s: int | None, fails: bool = False
) -> None:
    """``fails``: nobody is there to say how it ended, so it Failed."""
    status: dict[str, Any] = {"conditions": [conditions.new("DisruptionTarget", "True", reason, message)]}
    if fails and not pod.finished:
        status["phase"] = "Failed"
    elif pod.disrupted:
        status = {}
    if status:
        try:
            patch = {"metadata": {"uid": pod.uid}, "status": status}
            await cluster.patch(informer, pod.key, patch, subresource="status", content_type=STRATEGIC_MERGE_PATCH)
        except errors.NotFound:
            return
    await cluster.delete(informer, pod.key, pod.uid, grace_s=grace_s)
