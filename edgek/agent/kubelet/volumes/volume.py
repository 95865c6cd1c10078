"""The VolumeType protocol, and what a type is given to make one volume of one pod."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import ClassVar, Protocol

import attrs

from edgek.agent.kubelet.environment import Surroundings
from edgek.client.client import Client
from edgek.host.mount import Mounter
from edgek.model.kinds import Kind
from edgek.model.objects import Object

Find = Callable[[Kind, str], Awaitable[Object | None]]


class VolumeFailed(Exception):
    """The volume cannot be had now. The message is what the FailedMount event says."""


@attrs.frozen
class Order:
    """One volume that is wanted. ``find`` looks up an object of the pod's namespace (or of none) and lets the pod hear of its changes."""

    pod: Object
    volume: Object
    path: Path  # where the type may build it
    around: Surroundings
    find: Find
    client: Client
    mounter: Mounter
    offline: bool = False  # no server can be reached, and that is known

    @property
    def name(self) -> str:
        return str(self.volume["name"])

    @property
    def fs_group(self) -> int | None:
        found = ((self.pod.get("spec") or {}).get("securityContext") or {}).get("fsGroup")
        return None if found is None else int(found)


@attrs.frozen
class Ready:
    """``path`` is what containers mount. ``again_s``: build it again after this time, because its content grows old."""

    path: Path
    again_s: float | None = None
    owned: bool = True  # False: somebody else's folder, which is not removed with the pod


class VolumeType(Protocol):
    """``field`` is the member of a volume that selects the type. ``build`` may be called again at any time, to bring the content up to date."""

    field: ClassVar[str]

    async def build(self, order: Order) -> Ready:
        """Raises VolumeFailed."""
        ...
