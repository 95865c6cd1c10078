"""Writing the status of an object, only where it differs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from edgek.client.informer import Informer
from edgek.client.reconcile import Cluster
from edgek.model.objects import Object


def compact(status: dict[str, Any], always: Collection[str] = ()) -> dict[str, Any]:
    """Without members that are zero or empty, but for those that the API always shows."""
    return {key: value for key, value in status.items() if value or key in always}


async def write(cluster: Cluster, informer: Informer[Any], obj: Object, status: dict[str, Any]) -> Object:
    """The object with this status; nothing is sent when it has it already."""
    if (obj.get("status") or {}) == status:
        return obj
    return await cluster.update(informer, {**obj, "status": status}, "status")
