"""The VolumeType protocol, and what a type is given to make one volume of one pod."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

import attrs

from edgek.agent.kubelet.copies import Copies
from edgek.agent.kubelet.environment import Surroundings
from edgek.agent.kubelet.references import Unreachable
from edgek.client.client import Client
from edgek.host.mount import Mounter
from edgek.model.kinds import Kind
from edgek.model.objects import Object

if TYPE_CHECKING:
    from edgek.agent.kubelet.csi.storage import Storage
    from edgek.agent.kubelet.volumes.lanes import Lane


class Find(Protocol):
    async def __call__(self, kind: Kind, name: str, namespace: str = "") -> Object | None:
        """Of the pod's namespace where none is named. Raises Unreachable."""
        ...


class VolumeFailed(Exception):
    """The volume cannot be had now. The message is what the FailedMount event says, after the ``step`` and the name.

    ``volume`` is its name where that is not the pod's: a PersistentVolume's.
    """

    def __init__(self, message: str, volume: str = "", step: str = "SetUp") -> None:
        super().__init__(message)
        self.volume = volume
        self.step = step


@attrs.frozen
class Order:
    """One volume that is wanted. ``find`` looks up an object and lets the pod hear of its changes; ``lane`` runs what may block or hang."""

    pod: Object
    volume: Object
    path: Path  # where the type may build it
    around: Surroundings
    find: Find
    client: Client
    mounter: Mounter
    lane: Lane
    storage: Storage
    offline: bool = False  # no server can be reached, and that is known
    copies: Copies | None = None  # for then

    @property
    def name(self) -> str:
        return str(self.volume["name"])

    @property
    def fs_group(self) -> int | None:
        found = self._security.get("fsGroup")
        return None if found is None else int(found)

    @property
    def group_change_policy(self) -> str:
        return str(self._security.get("fsGroupChangePolicy") or "Always")

    @property
    def _security(self) -> Object:
        return (self.pod.get("spec") or {}).get("securityContext") or {}

    async def find_if_known(self, kind: Kind, name: str) -> Object | None:
        """As ``find``; without a server, None for what was never heard of here."""
        try:
            return await self.find(kind, name)
        except Unreachable:
            if self.offline:
                return None
            raise


@attrs.frozen
class Ready:
    """``path`` is what containers mount. ``again_s``: build it again after this time, because its content grows old.

    ``read_only``: whatever the mount says, for we write there ourselves, and must not be led astray by links that a container laid.
    """

    path: Path
    again_s: float | None = None
    owned: bool = True  # False: somebody else's folder, which is not removed with the pod
    read_only: bool = False


class VolumeType(Protocol):
    """``field`` is the member of a volume that selects the type. ``build`` may be called again at any time, to bring the content up to date."""

    field: ClassVar[str]

    async def build(self, order: Order) -> Ready:
        """Raises VolumeFailed."""
        ...
