"""persistentVolumeClaim and ephemeral: what the claim is bound to, where that is a folder of this node."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from edgek.agent.kubelet.volumes import host_path
from edgek.agent.kubelet.volumes.volume import Order, Ready, VolumeFailed
from edgek.model import kinds, objects
from edgek.model.local_storage import NODE_LABEL
from edgek.model.objects import Object


async def volume_of(order: Order, claim_name: str, owner_uid: str = "") -> Object:
    """The PersistentVolume that a claim of the pod's namespace is bound to. Raises VolumeFailed."""
    claim = await order.find(kinds.PERSISTENT_VOLUME_CLAIM, claim_name)
    if claim is None:
        raise VolumeFailed(f'persistentvolumeclaim "{claim_name}" not found')
    if owner_uid and (objects.controller_of(claim) or {}).get("uid") != owner_uid:
        raise VolumeFailed(f"PVC {objects.key(claim)} was not created for pod {objects.key(order.pod)} (pod is not owner)")
    name = (claim.get("spec") or {}).get("volumeName")
    if not name or (claim.get("status") or {}).get("phase") != "Bound":
        raise VolumeFailed(f"PVC {objects.key(claim)} is not bound: phase {(claim.get('status') or {}).get('phase', 'Pending')}")
    volume = await order.find(kinds.PERSISTENT_VOLUME, name)
    if volume is None:
        raise VolumeFailed(f'persistentvolume "{name}" not found')
    reference = (volume.get("spec") or {}).get("claimRef") or {}
    if reference.get("uid") and reference["uid"] != objects.uid(claim):
        raise VolumeFailed(f'persistentvolume "{name}" is bound to another claim, {reference.get("namespace")}/{reference.get("name")}')
    return volume


def place_of(volume: Object) -> Path:
    """The folder behind a PersistentVolume of type hostPath or local. Raises VolumeFailed."""
    spec = volume.get("spec") or {}
    if spec.get("hostPath"):
        path = Path(spec["hostPath"]["path"])
        if NODE_LABEL in objects.labels(volume) and not path.exists():
            path.mkdir(parents=True)
            path.chmod(0o777)  # for whatever user the pod runs as
        host_path.check(path, spec["hostPath"].get("type") or "")
        return path
    if spec.get("local"):
        path = Path(spec["local"]["path"])
        if not path.exists():
            raise VolumeFailed(f'path "{path}" does not exist')
        return path
    kind = next((key for key in ("csi", "nfs", "iscsi", "fc", "rbd", "cephfs") if key in spec), "of this type")
    raise VolumeFailed(f"PersistentVolume {objects.name(volume)}: volumes {kind} are not supported on this node")


class Claim:
    field: ClassVar[str] = "persistentVolumeClaim"

    async def build(self, order: Order) -> Ready:
        volume = await volume_of(order, order.volume["persistentVolumeClaim"]["claimName"])
        return Ready(place_of(volume), owned=False)


class Ephemeral:
    field: ClassVar[str] = "ephemeral"

    async def build(self, order: Order) -> Ready:
        volume = await volume_of(order, f"{objects.name(order.pod)}-{order.name}", objects.uid(order.pod))
        return Ready(place_of(volume), owned=False)
