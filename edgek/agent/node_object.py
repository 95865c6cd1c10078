"""What a Node object says of its machine: pure, from settings and what was found there to the object, its labels, conditions and addresses."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from edgek.agent.kubelet.machine import Machine
from edgek.agent.kubelet.settings import KubeletSettings
from edgek.agent.ready import Readiness
from edgek.agent.runtime.runtime import Image
from edgek.host import wallclock
from edgek.model import objects
from edgek.model.objects import Object
from edgek.model.when_away import UNREACHABLE

UNKNOWN_RUNTIME = ("containerd", "unknown")
IMAGES_SHOWN = 50
OURS = ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
GOOD = {
    "MemoryPressure": ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    "DiskPressure": ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    "PIDPressure": ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
}
BAD = {
    "MemoryPressure": ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
    "DiskPressure": ("KubeletHasDiskPressure", "kubelet has disk pressure"),
    "PIDPressure": ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
}


def labels(settings: KubeletSettings, machine: Machine) -> dict[str, str]:
    return {
        "kubernetes.io/hostname": settings.hostname or settings.node_name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": machine.architecture,
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": machine.architecture,
        **settings.node_labels,
    }


def new_node(settings: KubeletSettings, machine: Machine) -> Object:
    """The object a node registers itself with."""
    node: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": settings.node_name,
            "labels": labels(settings, machine),
            "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
        },
        "spec": {"providerID": f"edgek://{settings.node_name}"},
        "status": {"capacity": machine.capacity(settings), "allocatable": machine.allocatable(settings), "addresses": addresses(settings)},
    }
    if settings.node_taints:
        node["spec"]["taints"] = [taint(text) for text in settings.node_taints]
    return node


def taint(text: str) -> Object:
    """``key=value:Effect`` or ``key:Effect``."""
    key, _, effect = text.rpartition(":")
    name, equals, value = key.partition("=")
    return {"key": name, "effect": effect, **({"value": value} if equals and value else {})}


def status(
    shown: Object, settings: KubeletSettings, machine: Machine, pressures: Collection[str], why_not_ready: str, readiness: Readiness
) -> Object:
    """The whole status: ours, and what others have put into ``shown`` (conditions, extended resources)."""
    before = {c["type"]: c for c in (shown.get("status") or {}).get("conditions") or ()}
    capacity, allocatable = machine.capacity(settings), machine.allocatable(settings)
    extended = {key: value for key, value in ((shown.get("status") or {}).get("capacity") or {}).items() if key not in capacity}
    return {
        "capacity": {**extended, **capacity},
        "allocatable": {**extended, **allocatable},
        "conditions": [*(c for type_, c in before.items() if type_ not in OURS), *_conditions(before, pressures, why_not_ready)],
        "addresses": addresses(settings),
        "daemonEndpoints": {"kubeletEndpoint": {"Port": settings.kubelet_port}},
        "nodeInfo": _node_info(settings, machine, readiness),
        "images": _shown_images(readiness.images),
        "runtimeHandlers": [{"name": "", "features": {"recursiveReadOnlyMounts": False, "userNamespaces": False}}],
        "features": {"supplementalGroupsPolicy": False},
    }


def _conditions(before: Mapping[str, Mapping[str, Any]], pressures: Collection[str], why_not_ready: str) -> list[Object]:
    now = wallclock.now_rfc3339()
    words = {type_: (type_ in pressures, *(BAD if type_ in pressures else GOOD)[type_]) for type_ in GOOD}
    words["Ready"] = (False, "KubeletNotReady", why_not_ready) if why_not_ready else (True, "KubeletReady", "kubelet is posting ready status")
    return [_condition(type_, *words[type_], before.get(type_), now) for type_ in OURS]


def _node_info(settings: KubeletSettings, machine: Machine, readiness: Readiness) -> Object:
    name, version = readiness.version or UNKNOWN_RUNTIME
    return {
        "machineID": machine.machine_id,
        "systemUUID": machine.system_uuid,
        "bootID": machine.boot_id,
        "kernelVersion": machine.kernel,
        "osImage": machine.os_image,
        "containerRuntimeVersion": f"{name}://{version}",
        "kubeletVersion": settings.version,
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": machine.architecture,
        "swap": {"capacity": machine.swap_bytes},
    }


def addresses(settings: KubeletSettings) -> list[Object]:
    found = [{"type": "InternalIP", "address": ip} for ip in settings.node_ips]
    found += [{"type": "ExternalIP", "address": ip} for ip in settings.external_ips]
    return [*found, {"type": "Hostname", "address": settings.hostname or settings.node_name}]


def given_up(node: Object | None) -> bool:
    """Whether the server took the node for lost when it showed this."""
    taints = ((node or {}).get("spec") or {}).get("taints") or ()
    unknown = ((objects.condition(node, "Ready") if node else None) or {}).get("status") == "Unknown"
    return unknown or any(each.get("key") == UNREACHABLE for each in taints)


def _condition(type_: str, value: bool, reason: str, message: str, before: Mapping[str, Any] | None, now: str) -> Object:
    word = "True" if value else "False"
    since = before["lastTransitionTime"] if before and before["status"] == word else now
    return {"type": type_, "status": word, "lastHeartbeatTime": now, "lastTransitionTime": since, "reason": reason, "message": message}


def _shown_images(images: Sequence[Image]) -> list[Object]:
    largest = sorted(images, key=lambda image: -image.size_bytes)[:IMAGES_SHOWN]
    return [{"names": [*image.digests, *image.tags], "sizeBytes": image.size_bytes} for image in largest if image.digests or image.tags]


def changed(wanted: Object, shown: Object) -> bool:
    """Whether anything but the time of the last word differs."""

    def bare(status: Object, key: str) -> Any:
        if key != "conditions":
            return status.get(key)
        return [without_beat(c) for c in status.get("conditions") or ()]

    def without_beat(condition: Object) -> Object:
        return {key: value for key, value in condition.items() if key != "lastHeartbeatTime"}

    return any(bare(wanted, key) != bare(shown, key) and bool(wanted[key] or shown.get(key)) for key in wanted)
