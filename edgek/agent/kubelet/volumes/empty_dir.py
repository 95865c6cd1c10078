"""emptyDir: a folder that lives as long as the pod, on disk or in memory."""

from __future__ import annotations

import os
import stat
from typing import ClassVar

from edgek.agent.kubelet import resources
from edgek.agent.kubelet.volumes.volume import Order, Ready, VolumeFailed

MODE = 0o777
IN_MEMORY_MODE = 0o1777  # what a tmpfs has by itself, which upstream leaves as it is


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
            mode = IN_MEMORY_MODE if medium else MODE
            order.path.chmod(mode)
            if order.fs_group is not None:
                os.chown(order.path, -1, order.fs_group)
                order.path.chmod(mode | stat.S_ISGID)
        return Ready(order.path)


def _size(order: Order, source: dict[str, object]) -> int:
    limits = [int(resources.number(str(source["sizeLimit"])))] if source.get("sizeLimit") else []
    memory = int(resources.limits(order.pod, "memory"))
    return min([size for size in (*limits, memory) if size], default=0)
