"""local, where it is a device: its file system, mounted for each pod that has the volume. The kernel keeps one of it, however often it is mounted."""

from __future__ import annotations

from pathlib import Path

from edgek.agent.kubelet.volumes.volume import Order, VolumeFailed
from edgek.model import objects
from edgek.model.objects import Object

FOLDER = "kubernetes.io~local-volume"


async def of_device(order: Order, volume: Object, device: Path) -> Path:
    """Where the pod has it. Raises VolumeFailed, naming the PersistentVolume."""
    point = order.path.parent.parent / FOLDER / objects.name(volume)
    await order.lane.run(_mounted, order, volume, device, point)
    return point


def _mounted(order: Order, volume: Object, device: Path, point: Path) -> None:
    spec = volume["spec"]
    try:
        point.mkdir(parents=True, exist_ok=True, mode=0o750)
        order.mounter.device(device, point, spec["local"].get("fsType") or "", spec.get("mountOptions") or ())
    except OSError as exc:
        raise VolumeFailed(exc.strerror or str(exc), objects.name(volume), "MountDevice") from None
