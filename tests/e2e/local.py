"""What a node runs and what its pods see, by the node's own word: for times when no server can be asked."""

from __future__ import annotations

import json
import subprocess
import uuid
from pathlib import Path

import attrs

from tests.e2e.cluster import Cluster, Failed


@attrs.frozen
class Container:
    """A running one, as containerd knows it."""

    id: str
    pod: str
    pid: int

    @property
    def began(self) -> str:
        """The kernel's word for when its process started."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[19]


def running(node: Cluster) -> dict[str, Container]:
    """The containers that run on this node, by the names of their pods. Nothing while containerd does not answer."""
    try:
        tasks = [line.split() for line in node.ctr("tasks", "list").splitlines()[1:]]
        found = {identity: _labels(node, identity) for identity, _, _ in tasks}
    except subprocess.CalledProcessError:
        return {}
    labels = {identity: its for identity, its in found.items() if its}
    return {
        (name := labels[identity]["io.kubernetes.pod.name"]): Container(identity, name, int(pid))
        for identity, pid, state in tasks
        if state == "RUNNING" and identity in labels and labels[identity].get("io.cri-containerd.kind") == "container"
    }


def _labels(node: Cluster, identity: str) -> dict[str, str]:
    """Of a container; none where it has gone meanwhile."""
    try:
        found: dict[str, str] = json.loads(node.ctr("containers", "info", identity))["Labels"]
    except subprocess.CalledProcessError as exc:
        if "not found" not in exc.stderr:
            raise
        return {}
    return found


def began(node: Cluster) -> dict[str, tuple[str, str]]:
    """Which containers run, and since when: equal when nothing was restarted."""
    return {name: (container.id, container.began) for name, container in running(node).items()}


def within(node: Cluster, pod: str, line: str) -> str:
    """What a shell in this pod prints. Raises Failed."""
    try:
        return node.ctr("tasks", "exec", "--exec-id", f"t{uuid.uuid4().hex[:8]}", running(node)[pod].id, "sh", "-c", line).strip()
    except (KeyError, subprocess.CalledProcessError) as exc:
        raise Failed(f"{pod}: {line}: {exc!r} {getattr(exc, 'stderr', '')}\n{node.log_end()}") from None
