"""downwardAPI: fields of the pod as files, kept up to date when labels or annotations change."""

from __future__ import annotations

from typing import ClassVar

from edgek.agent.kubelet.volumes import contents, payload
from edgek.agent.kubelet.volumes.volume import Order, Ready


class DownwardAPI:
    field: ClassVar[str] = "downwardAPI"

    async def build(self, order: Order) -> Ready:
        source = order.volume["downwardAPI"]
        entries = contents.of_downward(order, source.get("items"), contents.mode_of(source))
        order.path.mkdir(parents=True, exist_ok=True)
        order.mounter.tmpfs(order.path)
        order.path.chmod(0o777)
        payload.write(order.path, entries, order.fs_group)
        return Ready(order.path, read_only=True)
