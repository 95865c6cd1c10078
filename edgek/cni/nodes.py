"""What nodes tell each other about the pod network, on their Node objects: flannel's annotations, so that a stock flanneld understands them. Pure.

https://github.com/flannel-io/flannel/blob/master/Documentation/kubernetes.md
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network

import attrs

from edgek.cni.backend import NO_DATA, Backend, Peer
from edgek.cni.reach import Verdict
from edgek.cni.vxlan import PORT
from edgek.model import objects
from edgek.model.conditions import NETWORK_UNAVAILABLE, PEERS_UNREACHABLE, SOME_PEERS_UNREACHABLE
from edgek.model.objects import Object

PREFIX = "flannel.alpha.coreos.com/"
MANAGED, TYPE, DATA, ADDRESS, OVERWRITE = (
    PREFIX + name for name in ("kube-subnet-manager", "backend-type", "backend-data", "public-ip", "public-ip-overwrite")
)


UP = "PodNetworkUp"  # the condition's reason while all others are reached
NAMED_MOST = 3  # nodes in a message


@attrs.frozen
class NodeView:
    """``told`` are flannel's annotations of the node; ``condition`` is what it says of its network."""

    name: str
    pod_range: str
    told: Mapping[str, str]
    ready: bool = False
    condition: Mapping[str, str] | None = None


def view(node: Object) -> NodeView:
    told = {name: value for name, value in objects.annotations(node).items() if name.startswith(PREFIX)}
    pod_range = str((node.get("spec") or {}).get("podCIDR") or "")
    return NodeView(objects.name(node), pod_range, told, objects.condition_is(node, "Ready"), objects.condition(node, NETWORK_UNAVAILABLE))


def announcement(backend: Backend, node_name: str, address: IPv4Address, told: Mapping[str, str]) -> dict[str, str]:
    """The annotations that a node should have. An administrator's ``public-ip-overwrite``, for a node behind a forwarded port, goes first."""
    if not backend.type:
        return {}
    return {MANAGED: "true", TYPE: backend.type, DATA: backend.data(node_name), ADDRESS: told.get(OVERWRITE) or str(address)}


def condition(verdict: Verdict) -> dict[str, str]:
    """What a node says of its network, without the times. Out of reach of all others: the condition holds; of some: it only names them."""
    if not verdict.silent:
        return {"status": "False", "reason": UP, "message": "pods reach those of other nodes"}
    named = ", ".join(f"{peer.name} ({peer.address})" for peer in verdict.silent[:NAMED_MOST])
    rest = len(verdict.silent) - NAMED_MOST
    named += f" and {rest} more" if rest > 0 else ""
    what = f"UDP {PORT} does not get through to {named}"
    if verdict.reached:
        return {"status": "False", "reason": SOME_PEERS_UNREACHABLE, "message": f"{what}; pods reach those of the other nodes"}
    way_out = "let it through in both directions, or forward the port and start the node with --node-external-ip"
    return {"status": "True", "reason": PEERS_UNREACHABLE, "message": f"{what}: pods reach none of other nodes; {way_out}"}


def differs(wanted: Mapping[str, str], shown: Mapping[str, str] | None) -> bool:
    return shown is None or any(shown.get(key) != value for key, value in wanted.items())


def peers(nodes: Iterable[NodeView], own_name: str, backend: Backend, cluster: IPv4Network) -> tuple[list[Peer], list[str]]:
    """The other nodes that can be reached, and why others cannot. One that has told nothing yet is neither. ``cluster`` holds all pods' addresses."""
    found, refused = [], []
    for node in nodes:
        if node.name == own_name or not backend.type or node.told.get(MANAGED) != "true" or not node.pod_range:
            continue
        if node.told.get(TYPE) != backend.type:
            refused.append(f"{node.name} uses the backend {node.told.get(TYPE)}, this node {backend.type}")
            continue
        try:
            address, pod_range = IPv4Address(node.told.get(ADDRESS, "")), IPv4Network(node.pod_range)
        except ValueError as error:
            refused.append(f"{node.name} published nonsense: {error}")
            continue
        if not pod_range.subnet_of(cluster):
            refused.append(f"{node.name} has the pod range {pod_range}, which is not within --cluster-cidr {cluster}")
            continue
        found.append(Peer(node.name, address, pod_range, node.told.get(DATA, NO_DATA)))
    return sorted(found, key=lambda peer: peer.name), refused
