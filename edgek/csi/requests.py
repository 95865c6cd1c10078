"""CSI messages read into the values of ``driver.py`` and back: what a request must have, refused where it is missing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgek.csi.driver import BadRequest, Capability, Driver, Size, Snapshot, Source, Usage, Use, Volume
from edgek.host.message import Values

NANOS = 1_000_000_000


def needed(request: Values, name: str) -> str:
    """Raises BadRequest."""
    value = request[name]
    if not value:
        raise BadRequest(f"{name} is missing")
    return str(value)


def capability(value: Values | None) -> Capability:
    """Raises BadRequest."""
    if value is None or (value["block"] is None and value["mount"] is None):
        raise BadRequest("volume_capability is missing, or says neither block nor mount")
    mode = (value["access_mode"] or {}).get("mode", 0)
    if not mode:
        raise BadRequest("volume_capability.access_mode is missing")
    mount = value["mount"] or {}
    return Capability(mode, mount.get("fs_type", ""), tuple(mount.get("mount_flags", ())), value["block"] is not None)


def capabilities(request: Values) -> list[Capability]:
    if not request["volume_capabilities"]:
        raise BadRequest("volume_capabilities are missing")
    return [capability(each) for each in request["volume_capabilities"]]


def size(value: Values | None) -> Size:
    return Size() if value is None else Size(value["required_bytes"], value["limit_bytes"])


def source(value: Values | None) -> Source | None:
    if value is None:
        return None
    if value["snapshot"] is not None:
        return Source(snapshot_id=needed(value["snapshot"], "snapshot_id"))
    if value["volume"] is not None:
        return Source(volume_id=needed(value["volume"], "volume_id"))
    raise BadRequest("volume_content_source names neither a snapshot nor a volume")


def stage_use(request: Values) -> Use:
    volume_id, target = needed(request, "volume_id"), needed(request, "staging_target_path")
    return Use(volume_id, Path(target), capability(request["volume_capability"]), request["volume_context"])


def publish_use(request: Values) -> Use:
    volume_id, target, staging = needed(request, "volume_id"), needed(request, "target_path"), request["staging_target_path"]
    return Use(
        volume_id,
        Path(target),
        capability(request["volume_capability"]),
        request["volume_context"],
        request["readonly"],
        Path(staging) if staging else None,
    )


def volume(driver: Driver, found: Volume) -> Values:
    content = None
    if found.source is not None:
        of_snapshot = {"snapshot": {"snapshot_id": found.source.snapshot_id}}
        content = of_snapshot if found.source.snapshot_id else {"volume": {"volume_id": found.source.volume_id}}
    return {
        "capacity_bytes": found.capacity_bytes,
        "volume_id": found.id,
        "volume_context": dict(found.context),
        "content_source": content,
        "accessible_topology": [{"segments": dict(driver.topology)}] if driver.topology else [],
    }


def snapshot(found: Snapshot) -> Values:
    seconds, nanos = divmod(int(found.created_s * NANOS), NANOS)
    return {
        "size_bytes": found.size_bytes,
        "snapshot_id": found.id,
        "source_volume_id": found.volume_id,
        "creation_time": {"seconds": seconds, "nanos": nanos},
        "ready_to_use": True,
    }


def usage(unit: int, found: Usage) -> Values:
    return {"unit": unit, "total": found.total, "used": found.used, "available": found.available}


def fits(topology: Mapping[str, str], wanted: Any) -> bool:
    """Whether volumes of here are among the places that are wanted. ``wanted``: Topology messages."""
    return not wanted or any(all(topology.get(key) == value for key, value in each["segments"].items()) for each in wanted)
