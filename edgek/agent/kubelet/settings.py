"""What the kubelet is told once, at its start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs


@attrs.frozen
class KubeletSettings:
    """Paths are absolute. ``cgroup_root`` is the folder below each cgroup hierarchy under which ``kubepods`` is made."""

    node_name: str
    node_ips: Sequence[str]  # as they are now: a machine's address may change while we run
    data_dir: Path
    kubelet_dir: Path  # pods/<uid>/volumes, pods/<uid>/etc-hosts ...
    pod_logs_dir: Path = Path("/var/log/pods")
    container_logs_dir: Path = Path("/var/log/containers")
    cgroup_root: str = "/"
    cluster_dns: tuple[str, ...] = ()
    cluster_domain: str = "cluster.local"
    resolv_conf: Path = Path("/etc/resolv.conf")
    max_pods: int = 110
    node_labels: Mapping[str, str] = attrs.field(factory=dict)
    node_taints: tuple[str, ...] = ()  # key=value:Effect
    hostname: str = ""  # of the machine; the node's name where empty
    external_ips: tuple[str, ...] = ()
    kubelet_port: int = 10250
    version: str = "v1.36.4+edgek"
    system_reserved_memory_bytes: int = 100 << 20  # kept back from allocatable: the hard eviction threshold
    contact_file: Path | None = None  # when the server was last heard of, for the agent's next process
    register_node: bool = True
    log_max_bytes: int = 10 << 20
    log_max_files: int = 5
    log_check_s: float = 60.0  # how often the sizes of logs are looked at while containers write
    image_high_percent: int = 85
    image_low_percent: int = 80

    @property
    def manifests_dir(self) -> Path:
        return self.data_dir / "agent" / "pod-manifests"

    @property
    def copies_dir(self) -> Path:
        return self.data_dir / "agent" / "copies"

    def pod_dir(self, uid: str) -> Path:
        return self.kubelet_dir / "pods" / uid
