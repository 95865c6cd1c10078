"""Whether this node takes a pod that was bound to it. Pure. A pod that is refused has failed; its controller makes another.

The scheduler usually looked at the same things, but bindings can be made by hand, and two schedulers can disagree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from edgek.agent.kubelet import resources
from edgek.agent.kubelet.lifecycle import Verdict, is_static
from edgek.model import placement, requests
from edgek.model.objects import Object

SAFE_SYSCTLS = frozenset({
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
})  # fmt: skip


@attrs.frozen
class NodeOffer:
    """What the node has for pods."""

    labels: Mapping[str, str]
    allocatable: Mapping[str, float]
    max_pods: int
    taints: Sequence[Mapping[str, Any]] = ()
    os: str = "linux"


def refusal(pod: Object, others: Sequence[Object], node: NodeOffer) -> Verdict | None:
    """None: the pod may run beside ``others``."""
    if is_static(pod):
        return None
    spec = pod.get("spec") or {}
    if len(others) >= node.max_pods:
        return _out_of("pods", 1, len(others), node.max_pods)
    for name in ("cpu", "memory", "ephemeral-storage"):
        wanted = resources.requests(pod, name)
        used = sum(resources.requests(other, name) for other in others)
        if wanted and name in node.allocatable and wanted + used > node.allocatable[name]:
            return _out_of(name, _shown(name, wanted), _shown(name, used), _shown(name, node.allocatable[name]))
    if not placement.selects(spec, str(spec.get("nodeName") or ""), node.labels):
        return Verdict("NodeAffinity", "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector")
    if (spec.get("os") or {}).get("name") not in (None, node.os):
        return Verdict("PodOSNotSupported", "Pod was rejected: Failed to admit pod as the OS field doesn't match node OS")
    driven = placement.untolerated(placement.taints({"taints": node.taints}), placement.tolerations(spec.get("tolerations")))
    if any(taint.effect == "NoExecute" for taint in driven):
        return Verdict("TaintToleration", "Pod was rejected: Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate")
    for entry in (spec.get("securityContext") or {}).get("sysctls") or ():
        if entry["name"].replace("/", ".") not in SAFE_SYSCTLS:
            return Verdict("SysctlForbidden", f'Pod was rejected: forbidden sysctl: "{entry["name"]}" not allowlisted')
    if requests.ports_clash(requests.host_ports(spec), [port for other in others for port in requests.host_ports(other.get("spec") or {})]):
        return Verdict("NodePorts", "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports")
    return None


def unfit(pod: Object, others: Sequence[Object], node: NodeOffer) -> Verdict | None:
    """Why a running pod cannot have the resources that it asks for now: never here (Infeasible), or not beside the others (Deferred)."""
    for name in ("cpu", "memory"):
        wanted = resources.requests(pod, name)
        has = node.allocatable.get(name, float("inf"))
        if wanted > has:
            text = f"Node didn't have enough capacity: {name}, requested: {_shown(name, wanted):g}, capacity: {_shown(name, has):g}"
            return Verdict("Infeasible", text)
        used = sum(resources.requests(other, name) for other in others)
        if wanted + used > has:
            text = f"Node didn't have enough resource: {name}, requested: {_shown(name, wanted):g}, used: {_shown(name, used):g}"
            return Verdict("Deferred", f"{text}, capacity: {_shown(name, has):g}")
    return None


def _out_of(name: str, wanted: float, used: float, has: float) -> Verdict:
    text = f"Node didn't have enough resource: {name}, requested: {wanted:g}, used: {used:g}, capacity: {has:g}"
    return Verdict(f"OutOf{name}", f"Pod was rejected: {text}")


def _shown(name: str, value: float) -> float:
    return round(value * 1000) if name == "cpu" else value
