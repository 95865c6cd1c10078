"""Pod addresses: each Node gets a part of the cluster's pod range that no other Node has."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import ClassVar

from edgek.client.reconcile import Cluster, Watch
from edgek.model import kinds, objects
from edgek.model.objects import Object
from edgek.server.controllers import views


class NodeCidrController:
    """One worker: two could give the same part to two nodes."""

    name: ClassVar[str] = "nodecidr"
    account: ClassVar[str] = "node-controller"
    workers: ClassVar[int] = 1

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._events = cluster.recorder.named("cidrAllocator")
        self._nodes = cluster.informers.of(kinds.NODE, views.node)

    def watches(self) -> Sequence[Watch]:
        return [Watch(self._nodes, self._keys)]

    async def reconcile(self, key: str) -> float | None:
        node = self._nodes.get(key)
        if node is None or objects.is_deleting(node) or node["spec"].get("podCIDR"):
            return None
        part = self._free()
        if part is None:
            self._events.warning(kinds.NODE, node, "CIDRNotAvailable", f"Node {key} status is now: CIDRNotAvailable")
            return None
        guard = {"resourceVersion": objects.revision(node), "uid": objects.uid(node)}
        await self._cluster.patch(self._nodes, key, {"metadata": guard, "spec": {"podCIDR": part, "podCIDRs": [part]}})
        return None

    def _keys(self, key: str, old: Object | None, new: Object | None) -> Iterable[str]:
        if new is not None:
            if not new["spec"].get("podCIDR"):
                yield key
            return
        for other, node in self._nodes.items.items():  # what a node leaves behind may be what another waits for
            if not node["spec"].get("podCIDR"):
                yield other

    def _free(self) -> str | None:
        settings = self._cluster.settings
        taken = {ipaddress.ip_network(part) for node in self._nodes.items.values() for part in node["spec"].get("podCIDRs") or ()}
        of_other_size = [other for other in taken if other.prefixlen != settings.node_pod_bits]  # those of ours are equal or apart
        for part in ipaddress.ip_network(settings.pod_cidr).subnets(new_prefix=settings.node_pod_bits):
            if part not in taken and not any(part.version == other.version and part.overlaps(other) for other in of_other_size):
                return str(part)
        return None
