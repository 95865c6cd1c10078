"""csi: a volume of a storage driver that is made for the pod, and goes with it."""

from __future__ import annotations

from typing import ClassVar

from edgek.agent.kubelet.volumes.volume import Order, Ready


class Inline:
    field: ClassVar[str] = "csi"

    async def build(self, order: Order) -> Ready:
        from edgek.agent.kubelet.csi import source

        return await order.storage.mounting.mount(order, source.of_inline(order.pod, order.volume))
