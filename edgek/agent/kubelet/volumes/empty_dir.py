"""emptyDir: a folder that lives as long as the pod, on disk or in memory."""

from __future__ import annotations

import os
from typing import ClassVar

from edgek.agent.kubelet import resources
from edgek.agent.kubelet.volumes.volume import Order, Ready, VolumeFailed


class EmptyDir:
    field: ClassVar[str] = "emptyDir"

    async def build(self, order: Order) -> Ready:
        source = order.volume["emptyDir"] or {}
        medium = source.get("medium") or ""
        new = not order.path.exists()
        order.path.mkdir(parents=True, exist_ok=True)
        if medium == "Memory":
            new = new or not order.mounter.is_mounted(order.path)
            order.mounter.tmpfs(order.path, _size(order, source))
        elif medium:
            raise VolumeFailed(f"unknown storage medium {medium!r}")
        if new:
            order.path.chmod(0o777)
            if order.fs_group is not None:
                os.chown(order.path, -1, order.fs_group)
                order.path.chmod(0o2777)
        return Ready(order.path)


def _size(order: Order, source: dict[str, object]) -> int:
    limits = [int(resources.number(str(source["sizeLimit"])))] if source.get("sizeLimit") else []
    memory = int(resources.limits(order.pod, "memory"))
    return min([size for size in (*limits, memory) if size], default=0)
