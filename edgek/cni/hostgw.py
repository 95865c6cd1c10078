"""Routes to other nodes by way of those nodes themselves: no encapsulation, where all nodes stand on one link."""

from __future__ import annotations

from collections.abc import Sequence

from edgek.cni.backend import NO_DATA, Here, Peer, remove_device, routes_to
from edgek.host.netlink import Socket


class HostGateway:
    type = "host-gw"
    overhead_bytes = 0
    routable = False  # a gateway has to stand on the same link

    def data(self, node_name: str) -> str:
        return NO_DATA

    def answers(self, peer: Peer) -> bool:
        return False  # there is no tunnel

    def apply(self, kernel: Socket, here: Here, peers: Sequence[Peer]) -> Sequence[str]:
        remove_device(kernel)
        seen, index = kernel.routes(), here.uplink.index
        near = [route.destination for route in seen if route.index == index and route.gateway is None and route.destination.prefixlen]
        reached = {peer.pod_range: peer.address for peer in peers if any(peer.address in network for network in near)}
        kernel.run(*routes_to(reached, index, seen, onlink=False))
        return [
            f"{peer.name} at {peer.address} is not on the link of {here.uplink.name}: host-gw cannot reach it, vxlan can"
            for peer in peers
            if peer.pod_range not in reached
        ]
