"""The DRIVERS table: every storage driver that edgek brings. One file per driver, one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgek.csi import hostpath, nfs
from edgek.csi.driver import Settings
from edgek.csi.serve import Services

DRIVERS: Mapping[str, Callable[[Settings], Services]] = {
    "hostpath": lambda settings: Services(hostpath.HostPath.name, lambda: hostpath.from_settings(settings), settings.node_id),
    "nfs": lambda settings: Services(nfs.Nfs.name, lambda: nfs.from_settings(settings), settings.node_id),
}
