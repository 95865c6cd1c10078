"""Pods, sandboxes and containers as values, for tests of what is decided from them."""

from __future__ import annotations

from typing import Any

import attrs

from edgek.agent.kubelet import labels
from edgek.agent.kubelet.lifecycle import Seen
from edgek.agent.runtime.runtime import ContainerStatus, SandboxStatus
from edgek.model.objects import Object

NOW = 10_000.0


def a_pod(*names: str, deleting_s: float | None = None, phase: str = "", init: tuple[Any, ...] = (), **spec: Any) -> Object:
    meta: Object = {"name": "web", "namespace": "default", "uid": "u1", "generation": 2}
    if deleting_s is not None:
        meta |= {"deletionTimestamp": "1970-01-01T03:00:00Z", "deletionGracePeriodSeconds": deleting_s}
    containers = [{"name": name, "image": f"{name}:1"} for name in names or ("main",)]
    return {
        "metadata": meta,
        "spec": {"restartPolicy": "Always", "containers": containers, "initContainers": list(init), **spec},
        "status": {"phase": phase} if phase else {},
    }


def init(name: str, **more: Any) -> Object:
    return {"name": name, "image": f"{name}:1", **more}


def sidecar(name: str, **more: Any) -> Object:
    return init(name, restartPolicy="Always", **more)


def a_sandbox(number: int = 0, *, ready: bool = True, ips: tuple[str, ...] = ("10.42.0.5",)) -> SandboxStatus:
    return SandboxStatus(f"box{number}", "web", "default", "u1", number, ready, 100.0 + number, ips if ready else (), {}, {})


def ran(
    name: str,
    state: Any = "running",
    code: int = 0,
    *,
    attempt: int = 0,
    box: int = 0,
    ended_ago_s: float = 0,
    ran_s: float = 1,
    back_off: float = 0,
    **more: Any,
) -> ContainerStatus:
    """A container as the runtime shows it; the newest attempt is the one created last."""
    ended = NOW - ended_ago_s
    annotations = {
        labels.HASH: labels.container_hash({"name": name, "image": f"{name}:1"}),
        labels.RESTART_COUNT: str(attempt),
        labels.BACK_OFF: str(back_off),
        labels.GRACE: "30",
    }
    return ContainerStatus(
        id=f"{name}-{attempt}", sandbox_id=f"box{box}", name=name, attempt=attempt, state=state, image=f"{name}:1", image_id=f"{name}@sha256:1",
        created_at=200.0 + attempt, started_at=ended - ran_s if state == "exited" else 250.0, finished_at=ended if state == "exited" else 0.0,
        exit_code=code, reason="", message="", labels={}, annotations={**annotations, **more.pop("annotations", {})},
    )  # fmt: skip


def seen(*containers: ContainerStatus, boxes: tuple[SandboxStatus, ...] | None = None) -> Seen:
    return Seen.of(list((a_sandbox(),) if boxes is None else boxes), list(containers))


def grown(status: ContainerStatus, **changes: Any) -> ContainerStatus:
    return attrs.evolve(status, **changes)
