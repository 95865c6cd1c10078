"""The ways to other nodes, by the name that ``--flannel-backend`` takes."""

from __future__ import annotations

from collections.abc import Mapping

from edgek.cni.backend import Backend, OnlyHere
from edgek.cni.hostgw import HostGateway
from edgek.cni.vxlan import VxlanBackend

BACKENDS: Mapping[str, type[Backend]] = {"vxlan": VxlanBackend, "host-gw": HostGateway, "none": OnlyHere}
