"""The VOLUMES table: every type of volume that a pod may have here. One file per type, one line here."""

from __future__ import annotations

from edgek.agent.kubelet.volumes.claim import Claim, Ephemeral
from edgek.agent.kubelet.volumes.config_map import ConfigMap
from edgek.agent.kubelet.volumes.downward import DownwardAPI
from edgek.agent.kubelet.volumes.empty_dir import EmptyDir
from edgek.agent.kubelet.volumes.host_path import HostPath
from edgek.agent.kubelet.volumes.inline import Inline
from edgek.agent.kubelet.volumes.nfs import Nfs
from edgek.agent.kubelet.volumes.projected import Projected
from edgek.agent.kubelet.volumes.secret import Secret
from edgek.agent.kubelet.volumes.volume import VolumeType

VOLUMES: tuple[type[VolumeType], ...] = (
    EmptyDir,
    HostPath,
    Nfs,
    ConfigMap,
    Secret,
    DownwardAPI,
    Projected,
    Claim,
    Ephemeral,
    Inline,
)
