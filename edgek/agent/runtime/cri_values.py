"""Between the values of ``runtime.py`` and CRI's messages, both ways. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import orjson

from edgek.agent.runtime import messages_cri as cri
from edgek.agent.runtime.runtime import (
    Container,
    ContainerState,
    ContainerStatus,
    Image,
    RegistryAuth,
    Resources,
    Sandbox,
    SandboxStatus,
    SecurityContext,
    Usage,
)
from edgek.host.message import Values

# What a container without ``procMount: Unmasked`` may not see or write: pkg/securitycontext of Kubernetes.
MASKED_PATHS = (
    *("/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats"),
    *("/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"),
)
READ_ONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def sandbox_config(wanted: Sandbox) -> Values:
    return {
        "metadata": {"name": wanted.name, "uid": wanted.uid, "namespace": wanted.namespace, "attempt": wanted.attempt},
        "hostname": "" if wanted.host_network else wanted.hostname,  # runc refuses a hostname where there is no UTS namespace of its own
        "log_directory": wanted.log_directory,
        "dns_config": {"servers": wanted.dns_servers, "searches": wanted.dns_searches, "options": wanted.dns_options},
        "port_mappings": [
            {"protocol": cri.PROTOCOLS[p.protocol], "container_port": p.container_port, "host_port": p.host_port, "host_ip": p.host_ip}
            for p in wanted.ports
        ],
        "labels": wanted.labels,
        "annotations": wanted.annotations,
        "linux": {
            "cgroup_parent": wanted.cgroup_parent,
            "sysctls": wanted.sysctls,
            "security_context": {
                "namespace_options": _namespaces(wanted, _sandbox_pid(wanted)),
                "selinux_options": dict(wanted.security.selinux) or None,
                "run_as_user": _optional(wanted.security.run_as_user),
                "run_as_group": _optional(wanted.security.run_as_group),
                "privileged": wanted.privileged,
                "seccomp": _seccomp(wanted.security.seccomp or "RuntimeDefault"),
            },
        },
    }


def container_config(wanted: Container, sandbox: Sandbox) -> Values:
    return {
        "metadata": {"name": wanted.name, "attempt": wanted.attempt},
        "image": {"image": wanted.image},
        "command": wanted.command,
        "args": wanted.args,
        "working_dir": wanted.working_dir,
        "envs": [{"key": key, "value": value} for key, value in wanted.env],
        "mounts": [
            {
                "container_path": m.container_path,
                "host_path": m.host_path,
                "readonly": m.read_only,
                "propagation": cri.PROPAGATIONS[m.propagation],
                "recursive_read_only": m.recursive_read_only,
            }
            for m in wanted.mounts
        ],
        "devices": [{"container_path": d.container_path, "host_path": d.host_path, "permissions": d.permissions} for d in wanted.devices],
        "labels": wanted.labels,
        "annotations": wanted.annotations,
        "log_path": wanted.log_path,
        "stdin": wanted.stdin,
        "stdin_once": wanted.stdin_once,
        "tty": wanted.tty,
        "stop_signal": cri.SIGNALS.get(wanted.stop_signal, 0),
        "linux": {
            "resources": resources(wanted.resources),
            "security_context": {
                **_container_security(wanted.security),
                "namespace_options": {**_namespaces(sandbox, cri.PID_MODES[wanted.pid_mode]), "target_id": wanted.target_id},
            },
        },
    }


def resources(wanted: Resources) -> Values:
    return {
        "cpu_shares": wanted.cpu_shares,
        "cpu_quota": wanted.cpu_quota_us,
        "cpu_period": wanted.cpu_period_us,
        "memory_limit_in_bytes": wanted.memory_limit_bytes,
        "oom_score_adj": wanted.oom_score_adj,
        "cpuset_cpus": wanted.cpuset_cpus,
    }


def auth(wanted: RegistryAuth) -> Values:
    return {
        "username": wanted.username,
        "password": wanted.password,
        "identity_token": wanted.identity_token,
        "auth": wanted.auth,
        "server_address": wanted.server,
    }


def sandbox_status(seen: Mapping[str, Any], info: Mapping[str, str] | None = None) -> SandboxStatus:
    """Of an entry of a list, or of a status with ``info`` (of a verbose call)."""
    metadata, network = seen["metadata"], seen.get("network") or {}
    ips = (network.get("ip", ""), *(more["ip"] for more in network.get("additional_ips", ())))
    pid, netns = _process_and_netns(info or {})
    return SandboxStatus(
        id=seen["id"],
        name=metadata["name"],
        namespace=metadata["namespace"],
        uid=metadata["uid"],
        attempt=metadata["attempt"],
        ready=seen["state"] == cri.SANDBOX_READY,
        created_at=seen["created_at"] / 1e9,
        ips=tuple(filter(None, ips)),
        labels=seen["labels"],
        annotations=seen["annotations"],
        netns=netns,
        pid=pid,
    )


def container_entry(seen: Mapping[str, Any]) -> ContainerStatus:
    """Of a list: without times, exit code and reason."""
    return _container(seen, sandbox_id=seen["pod_sandbox_id"])


def container_status(seen: Mapping[str, Any], info: Mapping[str, str]) -> ContainerStatus:
    details = orjson.loads(info["info"]) if info.get("info") else {}
    return _container(seen, sandbox_id=details.get("sandboxID", ""), pid=int(details.get("pid") or 0))


def _container(seen: Mapping[str, Any], *, sandbox_id: str, pid: int = 0) -> ContainerStatus:
    return ContainerStatus(
        id=seen["id"],
        sandbox_id=sandbox_id,
        name=seen["metadata"]["name"],
        attempt=seen["metadata"]["attempt"],
        state=cast(ContainerState, cri.CONTAINER_STATES[seen["state"]]),
        image=(seen["image"] or {}).get("image", ""),
        image_id=seen["image_ref"],
        created_at=seen["created_at"] / 1e9,
        started_at=seen.get("started_at", 0) / 1e9,
        finished_at=seen.get("finished_at", 0) / 1e9,
        exit_code=seen.get("exit_code", 0),
        reason=seen.get("reason", ""),
        message=seen.get("message", ""),
        labels=seen["labels"],
        annotations=seen["annotations"],
        log_path=seen.get("log_path", ""),
        pid=pid,
    )


def image(seen: Mapping[str, Any]) -> Image:
    uid = seen["uid"]
    user = seen["username"] or (str(uid["value"]) if uid is not None else "")
    return Image(seen["id"], tuple(seen["repo_tags"]), tuple(seen["repo_digests"]), seen["size"], user, seen["pinned"])


def usage(seen: Mapping[str, Any], sandbox_id: str) -> Usage:
    cpu, memory, disk = seen["cpu"] or {}, seen["memory"] or {}, seen["writable_layer"] or {}
    return Usage(
        sandbox_id=sandbox_id,
        container_id=seen["attributes"]["id"],
        cpu_ns=_value(cpu.get("usage_core_nano_seconds")),
        memory_working_set_bytes=_value(memory.get("working_set_bytes")),
        memory_rss_bytes=_value(memory.get("rss_bytes")),
        at=cpu.get("timestamp", 0) / 1e9,
        writable_bytes=_value(disk.get("used_bytes")),
    )


def _container_security(wanted: SecurityContext) -> Values:
    hidden = wanted.masked_paths and not wanted.privileged
    return {
        "capabilities": {"add_capabilities": wanted.add_capabilities, "drop_capabilities": wanted.drop_capabilities},
        "privileged": wanted.privileged,
        "selinux_options": dict(wanted.selinux) or None,
        "run_as_user": _optional(wanted.run_as_user),
        "run_as_group": _optional(wanted.run_as_group),
        "run_as_username": wanted.run_as_username,
        "readonly_rootfs": wanted.read_only_root,
        "supplemental_groups": wanted.supplemental_groups,
        "no_new_privs": wanted.no_new_privileges,
        "masked_paths": MASKED_PATHS if hidden else (),
        "readonly_paths": READ_ONLY_PATHS if hidden else (),
        "seccomp": _seccomp(wanted.seccomp or "Unconfined"),
    }


def _namespaces(sandbox: Sandbox, pid: int) -> Values:
    return {
        "network": cri.NAMESPACE_NODE if sandbox.host_network else cri.NAMESPACE_POD,
        "pid": pid,
        "ipc": cri.NAMESPACE_NODE if sandbox.host_ipc else cri.NAMESPACE_POD,
    }


def _sandbox_pid(sandbox: Sandbox) -> int:
    if sandbox.host_pid:
        return cri.NAMESPACE_NODE
    return cri.NAMESPACE_POD if sandbox.share_pid else cri.NAMESPACE_CONTAINER


def _seccomp(profile: str) -> Values:
    if profile == "RuntimeDefault":
        return {"profile_type": cri.SECCOMP_RUNTIME_DEFAULT}
    if profile == "Unconfined":
        return {"profile_type": cri.SECCOMP_UNCONFINED}
    return {"profile_type": cri.SECCOMP_LOCALHOST, "localhost_ref": profile.removeprefix("Localhost/")}


def _process_and_netns(info: Mapping[str, str]) -> tuple[int, str]:
    """Out of the JSON that containerd gives with a verbose status."""
    if not info.get("info"):
        return 0, ""
    details = orjson.loads(info["info"])
    namespaces = ((details.get("runtimeSpec") or {}).get("linux") or {}).get("namespaces") or ()
    netns = next((n.get("path", "") for n in namespaces if n["type"] == "network"), "")
    return int(details.get("pid") or 0), netns


def _optional(number: int | None) -> Values | None:
    return None if number is None else {"value": number}


def _value(wrapped: Mapping[str, int] | None) -> int:
    return wrapped["value"] if wrapped else 0
