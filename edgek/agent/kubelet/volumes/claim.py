"""persistentVolumeClaim and ephemeral: what the claim is bound to, by a storage driver or where that is a folder of this node."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from edgek.agent.kubelet.volumes import host_path, local, nfs, ownership
from edgek.agent.kubelet.volumes.lanes import ANSWER_MOST_S
from edgek.agent.kubelet.volumes.volume import Order, Ready, VolumeFailed
from edgek.model import kinds, objects
from edgek.model.local_storage import NODE_LABEL
from edgek.model.objects import Object

NEW_MOUNTER = "NewMounter initialization"  # upstream's step for a local volume that is not there


async def claim_of(order: Order, claim_name: str, owner_uid: str = "") -> Object:
    """A bound claim of the pod's namespace. Raises VolumeFailed."""
    claim = await order.find(kinds.PERSISTENT_VOLUME_CLAIM, claim_name)
    if claim is None:
        raise VolumeFailed(f'persistentvolumeclaim "{claim_name}" not found')
    if owner_uid and (objects.controller_of(claim) or {}).get("uid") != owner_uid:
        raise VolumeFailed(f"PVC {objects.key(claim)} was not created for pod {objects.key(order.pod)} (pod is not owner)")
    name = (claim.get("spec") or {}).get("volumeName")
    if not name or (claim.get("status") or {}).get("phase") != "Bound":
        raise VolumeFailed(f"PVC {objects.key(claim)} is not bound: phase {(claim.get('status') or {}).get('phase', 'Pending')}")
    return claim


async def volume_of(order: Order, claim: Object) -> Object:
    """The PersistentVolume that it is bound to. Raises VolumeFailed."""
    name = claim["spec"]["volumeName"]
    volume = await order.find(kinds.PERSISTENT_VOLUME, name)
    if volume is None:
        raise VolumeFailed(f'persistentvolume "{name}" not found')
    reference = (volume.get("spec") or {}).get("claimRef") or {}
    if reference.get("uid") and reference["uid"] != objects.uid(claim):
        raise VolumeFailed(f'persistentvolume "{name}" is bound to another claim, {reference.get("namespace")}/{reference.get("name")}')
    return volume


async def bring(order: Order, claim: Object, *, read_only: bool) -> Ready:
    """Raises VolumeFailed, OSError."""
    volume = await volume_of(order, claim)
    spec = volume.get("spec") or {}
    if spec.get("csi"):
        from edgek.agent.kubelet.csi import source

        return await order.storage.mounting.mount(order, source.of_volume(volume, read_only=read_only), claim)
    if spec.get("nfs"):
        return await nfs.of_volume(order, volume, read_only=read_only)
    try:
        path = await order.lane.run(place_of, volume, within_s=ANSWER_MOST_S)
    except VolumeFailed as exc:
        raise VolumeFailed(str(exc), objects.name(volume), exc.step) from None
    if spec.get("local") and spec.get("volumeMode") != "Block" and path.is_block_device():
        path = await local.of_device(order, volume, path)
    if spec.get("local") and spec.get("volumeMode") != "Block" and order.fs_group is not None and not read_only and not order.path.exists():
        await order.lane.run(ownership.give, path, order.fs_group, order.group_change_policy)
        order.path.mkdir(parents=True)  # says that it is done: a large volume takes its time
    return Ready(path, owned=False)


def place_of(volume: Object) -> Path:
    """The folder behind a PersistentVolume of type hostPath, or the folder or device of type local. Blocks. Raises VolumeFailed."""
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
            raise VolumeFailed(f'path "{path}" does not exist', step=NEW_MOUNTER)
        if not path.is_block_device() and (spec.get("volumeMode") == "Block" or not path.is_dir()):
            wanted = "not a block device" if spec.get("volumeMode") == "Block" else "neither a directory nor a block device"
            raise VolumeFailed(f'path "{path}" is {wanted}', step=NEW_MOUNTER)
        return path
    kind = next((key for key in ("iscsi", "fc", "rbd", "cephfs") if key in spec), "of this type")
    raise VolumeFailed(f"PersistentVolume {objects.name(volume)}: volumes {kind} are not supported on this node")


class Claim:
    field: ClassVar[str] = "persistentVolumeClaim"

    async def build(self, order: Order) -> Ready:
        source = order.volume["persistentVolumeClaim"]
        return await bring(order, await claim_of(order, source["claimName"]), read_only=bool(source.get("readOnly")))


class Ephemeral:
    field: ClassVar[str] = "ephemeral"

    async def build(self, order: Order) -> Ready:
        claim = await claim_of(order, f"{objects.name(order.pod)}-{order.name}", objects.uid(order.pod))
        return await bring(order, claim, read_only=False)
