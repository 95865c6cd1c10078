"""configMap: files on the node's disk, kept up to date."""

from __future__ import annotations

from typing import ClassVar

from edgek.agent.kubelet.volumes import contents, payload
from edgek.agent.kubelet.volumes.volume import Order, Ready
from edgek.model import kinds


class ConfigMap:
    field: ClassVar[str] = "configMap"

    async def build(self, order: Order) -> Ready:
        source = order.volume["configMap"]
        entries = await contents.of_object(order, kinds.CONFIG_MAP, source["name"], source, contents.mode_of(source))
        order.path.mkdir(parents=True, exist_ok=True)
        order.path.chmod(0o777)
        payload.write(order.path, entries, order.fs_group)
        return Ready(order.path, read_only=True)
