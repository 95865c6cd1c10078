"""What the volumes of drivers use, as /stats/summary and /metrics tell it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from edgek.host.message import Values
from edgek.model import objects
from edgek.model.objects import Object

BYTES, INODES = 1, 2  # VolumeUsage.Unit
METRICS = {
    "available_bytes": "availableBytes",
    "capacity_bytes": "capacityBytes",
    "used_bytes": "usedBytes",
    "inodes": "inodes",
    "inodes_free": "inodesFree",
    "inodes_used": "inodesUsed",
}


@attrs.frozen
class VolumeUse:
    """A volume of a pod, and the answer to NodeGetVolumeStats."""

    pod: Object
    name: str
    said: Values


def shown(use: VolumeUse, at: str) -> Object:
    """As it stands in the summary."""
    found: dict[str, Any] = {"time": at, **_numbers(use.said), "name": use.name}
    claim = claim_of(use.pod, use.name)
    if claim:
        found["pvcRef"] = {"name": claim, "namespace": objects.namespace(use.pod)}
    condition = use.said.get("volume_condition")
    if condition is not None:
        found["volumeHealthStats"] = {"abnormal": condition["abnormal"]}
    return found


def metrics(uses: Sequence[VolumeUse]) -> str:
    """One line for each claim and number, as Prometheus reads it."""
    claims = {(objects.namespace(use.pod), claim_of(use.pod, use.name)): _numbers(use.said) for use in uses if claim_of(use.pod, use.name)}
    lines = []
    for metric, key in METRICS.items():
        samples = [(namespace, claim, found[key]) for (namespace, claim), found in sorted(claims.items()) if key in found]
        if samples:
            lines.append(f"# TYPE kubelet_volume_stats_{metric} gauge")
        lines += [f'kubelet_volume_stats_{metric}{{namespace="{at}",persistentvolumeclaim="{claim}"}} {value}' for at, claim, value in samples]
    return "".join(f"{line}\n" for line in lines)


def claim_of(pod: Object, volume_name: str) -> str:
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        if volume["name"] == volume_name:
            if volume.get("ephemeral"):
                return f"{objects.name(pod)}-{volume_name}"
            return str((volume.get("persistentVolumeClaim") or {}).get("claimName") or "")
    return ""


def _numbers(said: Mapping[str, Any]) -> dict[str, int]:
    found: dict[str, int] = {}
    for usage in said.get("usage") or ():
        if usage["unit"] == BYTES:
            found |= {"availableBytes": usage["available"], "capacityBytes": usage["total"], "usedBytes": usage["used"]}
        elif usage["unit"] == INODES:
            found |= {"inodesFree": usage["available"], "inodes": usage["total"], "inodesUsed": usage["used"]}
    return found
