"""Deleting a pod that somebody else wanted to keep: it says why in its status first."""

from __future__ import annotations

from typing import Any

from edgek.client.client import STRATEGIC_MERGE_PATCH
from edgek.client.informer import Informer
from edgek.client.reconcile import Cluster
from edgek.model import errors, objects
from edgek.server.controllers import conditions
from edgek.server.controllers.views import PodView


async def delete(
    cluster: Cluster,
    informer: Informer[PodView],
    pod: PodView,
    reason: str,
    message: str,
    *,
    grace_s: int | None,
    fails: bool = False,
    revision: str = "",
) -> None:
    """``fails``: nobody is there to say how it ended, so it Failed. ``revision``: only if nobody has written to it since. Raises Conflict."""
    status: dict[str, Any] = {"conditions": [conditions.new("DisruptionTarget", "True", reason, message)]}
    if fails and not pod.finished:
        status["phase"] = "Failed"
    elif pod.disrupted:
        status = {}
    if status:
        try:
            guard = {"uid": pod.uid, **({"resourceVersion": revision} if revision else {})}
            patch = {"metadata": guard, "status": status}
            made = await cluster.patch(informer, pod.key, patch, subresource="status", content_type=STRATEGIC_MERGE_PATCH)
            revision = objects.revision(made) if revision else ""
        except errors.NotFound:
            return
    await cluster.delete(informer, pod.key, pod.uid, revision=revision, grace_s=grace_s)
