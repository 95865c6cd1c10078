"""secret: files in memory only, kept up to date."""

from __future__ import annotations

from typing import ClassVar

from edgek.agent.kubelet.volumes import contents, payload
from edgek.agent.kubelet.volumes.volume import Order, Ready
from edgek.model import kinds


class Secret:
    field: ClassVar[str] = "secret"

    async def build(self, order: Order) -> Ready:
        source = order.volume["secret"]
        entries = await contents.of_object(order, kinds.SECRET, source["secretName"], source, contents.mode_of(source))
        order.path.mkdir(parents=True, exist_ok=True)
        order.mounter.tmpfs(order.path)
        order.path.chmod(0o777)
        payload.write(order.path, entries, order.fs_group)
        return Ready(order.path, read_only=True)
