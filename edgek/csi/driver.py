"""What a storage driver does, as values and one protocol; the CSI services (``serve.py``) are built on it, the same for every driver.

A driver knows nothing of gRPC, of trio or of Kubernetes. Its methods block: the services call each in a thread that can be given up, and never two at
once for the same volume. Every method may be called again after it succeeded, failed, or was killed at any point, and then ends where it would have
ended. What a driver must remember it keeps in names and small files beside the volumes; there is no other state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Protocol

import attrs

from edgek.csi.messages import MODES
from edgek.model.errors import EdgekError


class Refused(EdgekError):
    """A call that does not do what it was asked. ``code`` is gRPC's name for what the caller should do about it."""

    code: ClassVar[str] = "INTERNAL"


class BadRequest(Refused):
    """The request itself must be changed."""

    code = "INVALID_ARGUMENT"


class NotFound(Refused):
    code = "NOT_FOUND"


class Differs(Refused):
    """What is wanted is there already, under that name or at that place, but it is not the same."""

    code = "ALREADY_EXISTS"


class InTheWay(Refused):
    """Not now: something must be undone or done first."""

    code = "FAILED_PRECONDITION"


class Pending(Refused):
    """The same volume is being worked on; ask again."""

    code = "ABORTED"


class Full(Refused):
    """No room for it here; there may be elsewhere."""

    code = "RESOURCE_EXHAUSTED"


class OutOfRange(Refused):
    code = "OUT_OF_RANGE"


@attrs.frozen
class Settings:
    """What the operator says of the drivers. ``server`` and ``share``: the export where a StorageClass names none."""

    node_id: str
    root: Path | None = None
    server: str = ""
    share: str = ""


@attrs.frozen
class Size:
    """At least ``required_bytes`` and, where it is not 0, at most ``limit_bytes``."""

    required_bytes: int = 0
    limit_bytes: int = 0

    def holds(self, capacity_bytes: int) -> bool:
        return capacity_bytes >= self.required_bytes and (not self.limit_bytes or capacity_bytes <= self.limit_bytes)

    def chosen(self, default_bytes: int) -> int:
        """What to make where nothing is there yet. Raises OutOfRange."""
        if min(self.required_bytes, self.limit_bytes) < 0 or not self.holds(max(self.required_bytes, self.limit_bytes)):
            raise OutOfRange(f"no volume has at least {self.required_bytes} and at most {self.limit_bytes} bytes")
        return self.required_bytes or (min(default_bytes, self.limit_bytes) if self.limit_bytes else default_bytes)


@attrs.frozen
class Capability:
    """How a volume is used: ``mode`` is a number of MODES."""

    mode: int
    fs_type: str = ""
    mount_flags: tuple[str, ...] = ()
    block: bool = False


@attrs.frozen
class Source:
    """Where a new volume's content comes from: one of the two."""

    volume_id: str = ""
    snapshot_id: str = ""


@attrs.frozen
class NewVolume:
    name: str
    size: Size
    capabilities: Sequence[Capability]
    parameters: Mapping[str, str]
    source: Source | None = None


@attrs.frozen
class Volume:
    """``context`` goes with the volume to the node."""

    id: str
    capacity_bytes: int
    context: Mapping[str, str] = attrs.field(factory=dict)
    source: Source | None = None


@attrs.frozen
class Snapshot:
    id: str
    volume_id: str
    size_bytes: int
    created_s: float  # since the epoch


@attrs.frozen
class Use:
    """A volume that is to appear at ``target``: once for the node (stage), and from there for each pod (publish)."""

    volume_id: str
    target: Path
    capability: Capability
    context: Mapping[str, str] = attrs.field(factory=dict)
    read_only: bool = False
    staging: Path | None = None


@attrs.frozen
class Usage:
    total: int
    used: int
    available: int


class Driver(Protocol):
    """Raises Refused, and OSError for what the machine refuses."""

    name: ClassVar[str]
    modes: ClassVar[frozenset[int]]  # the access modes it has
    expands_on_node: ClassVar[bool]
    topology: Mapping[str, str]  # where its volumes are, from this node's point of view; empty when everywhere

    def id_of(self, wanted: NewVolume) -> str:
        """The id that such a volume has or will have. Does not block."""
        ...

    def create(self, wanted: NewVolume) -> Volume: ...

    def delete(self, volume_id: str) -> None:
        """A volume that is not there is deleted."""
        ...

    def find(self, volume_id: str) -> Volume | None: ...

    def volumes(self) -> list[Volume]: ...

    def expand(self, volume_id: str, size: Size) -> Volume:
        """Never makes it smaller."""
        ...

    def available_bytes(self, parameters: Mapping[str, str]) -> int: ...

    def snapshot_id_of(self, name: str, volume_id: str) -> str: ...

    def snapshot(self, name: str, volume_id: str) -> Snapshot: ...

    def delete_snapshot(self, snapshot_id: str) -> None: ...

    def snapshots(self) -> list[Snapshot]: ...

    def stage(self, use: Use) -> None: ...

    def unstage(self, volume_id: str, staging: Path) -> None: ...

    def publish(self, use: Use) -> None: ...

    def unpublish(self, volume_id: str, target: Path) -> None: ...

    def usage(self, volume_id: str, path: Path) -> tuple[Usage, Usage]:
        """Bytes and inodes, of a volume that is to be found at ``path``."""
        ...

    def expand_on_node(self, volume_id: str, path: Path) -> int:
        """Make a published volume as large as it was expanded to; its size in bytes."""
        ...


def mode_problem(driver: Driver, capability: Capability) -> str:
    """Why the driver cannot serve a volume in this way; empty when it can."""
    if capability.block:
        return f"{driver.name} has no block volumes: volumeMode must be Filesystem"
    if capability.mode not in driver.modes:
        has = ", ".join(MODES[mode] for mode in sorted(driver.modes))
        return f"{driver.name} has not the access mode {MODES.get(capability.mode, capability.mode)}, it has {has}"
    return ""
