"""What the runtime is asked for: a pod's sandbox and its containers as values. Pure; mounts and environment are worked out before."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

import attrs

from edgek.agent.kubelet import labels, naming, resources, security
from edgek.agent.kubelet.actions import StartContainer
from edgek.agent.kubelet.environment import expand
from edgek.agent.kubelet.lifecycle import Member, is_host_network
from edgek.agent.kubelet.settings import KubeletSettings
from edgek.agent.runtime.runtime import Container, Device, Image, Mount, PortMapping, Sandbox
from edgek.model import objects
from edgek.model.objects import Object

PidMode: TypeAlias = Literal["container", "pod", "node", "target"]
QOS_FOLDER = {"Guaranteed": "", "Burstable": "burstable", "BestEffort": "besteffort"}


def log_directory(settings: KubeletSettings, pod: Object) -> Path:
    return settings.pod_logs_dir / f"{objects.namespace(pod)}_{objects.name(pod)}_{objects.uid(pod)}"


def cgroup_parent(settings: KubeletSettings, pod: Object) -> str:
    """``/kubepods/burstable/pod<uid>``: Guaranteed pods stand directly below kubepods."""
    parts = [settings.cgroup_root.strip("/"), "kubepods", QOS_FOLDER[resources.qos_class(pod)], f"pod{objects.uid(pod)}"]
    return "/" + "/".join(part for part in parts if part)


def sandbox(settings: KubeletSettings, pod: Object, attempt: int, dns: naming.Resolver, runtime_handler: str = "") -> Sandbox:
    spec = pod.get("spec") or {}
    shared = spec.get("securityContext") or {}
    host_network = is_host_network(pod)
    return Sandbox(
        name=objects.name(pod),
        namespace=objects.namespace(pod),
        uid=objects.uid(pod),
        attempt=attempt,
        hostname="" if host_network else naming.inner_hostname(pod, settings.cluster_domain),
        log_directory=str(log_directory(settings, pod)),
        cgroup_parent=cgroup_parent(settings, pod),
        labels=labels.of_sandbox(pod),
        annotations=objects.annotations(pod),
        dns_servers=dns.servers,
        dns_searches=dns.searches,
        dns_options=dns.options,
        ports=() if host_network else host_ports(pod),
        sysctls={entry["name"]: entry["value"] for entry in shared.get("sysctls") or ()},
        host_network=host_network,
        host_pid=bool(spec.get("hostPID")),
        host_ipc=bool(spec.get("hostIPC")),
        share_pid=bool(spec.get("shareProcessNamespace")),
        host_users=spec.get("hostUsers") is not False,
        privileged=security.privileged(pod),
        security=security.of_sandbox(pod, settings.kubelet_dir / "seccomp"),
        runtime_handler=runtime_handler,
    )


def host_ports(pod: Object) -> tuple[PortMapping, ...]:
    spec = pod.get("spec") or {}
    sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    return tuple(
        PortMapping(port.get("protocol") or "TCP", int(port["containerPort"]), int(port["hostPort"]), port.get("hostIP") or "")
        for container in (*sidecars, *(spec.get("containers") or ()))
        for port in container.get("ports") or ()
        if port.get("hostPort")
    )


@attrs.frozen
class Ingredients:
    """What was worked out for one start of a container."""

    image: Image
    env: Mapping[str, str]
    mounts: tuple[Mount, ...]
    devices: tuple[Device, ...]
    message_file: str
    memory_capacity_bytes: int
    target_id: str = ""  # of the container whose processes an ephemeral one shares


def container(settings: KubeletSettings, pod: Object, member: Member, start: StartContainer, given: Ingredients) -> Container:
    """Raises environment.ConfigError."""
    spec, pod_spec = member.spec, pod.get("spec") or {}
    return Container(
        name=member.name,
        attempt=start.attempt,
        image=str(spec["image"]),
        command=tuple(expand(word, given.env) for word in spec.get("command") or ()),
        args=tuple(expand(word, given.env) for word in spec.get("args") or ()),
        working_dir=spec.get("workingDir") or "",
        env=tuple(given.env.items()),
        mounts=given.mounts,
        devices=given.devices,
        labels=labels.of_container(pod, member.name),
        annotations=labels.container_annotations(pod, spec, member.group, start.attempt, start.back_off_s, given.message_file),
        log_path=f"{member.name}/{start.attempt}.log",
        stdin=bool(spec.get("stdin")),
        stdin_once=bool(spec.get("stdinOnce")),
        tty=bool(spec.get("tty")),
        resources=resources.of_container(pod, spec, given.memory_capacity_bytes),
        security=security.of_container(pod, spec, given.image, settings.kubelet_dir / "seccomp"),
        pid_mode=_pid_mode(pod_spec, given),
        target_id=given.target_id,
        stop_signal=(spec.get("lifecycle") or {}).get("stopSignal") or "",
    )


def _pid_mode(spec: Object, given: Ingredients) -> PidMode:
    if spec.get("hostPID"):
        return "node"
    if given.target_id:
        return "target"
    return "pod" if spec.get("shareProcessNamespace") else "container"
