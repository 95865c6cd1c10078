"""nfs: a directory of a file server, mounted for the pod. Whatever waits for the server is given up after a while, and tried again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from edgek.agent.kubelet.volumes.volume import Order, Ready, VolumeFailed
from edgek.model import objects
from edgek.model.objects import Object

FOLDER = "kubernetes.io~nfs"

_under_way: set[Path] = set()  # a mount whose pod was deleted meanwhile goes on for a while


class Nfs:
    field: ClassVar[str] = "nfs"

    async def build(self, order: Order) -> Ready:
        source = order.volume["nfs"]
        return await order.lane.run(_mounted, order, source, order.path, bool(source.get("readOnly")), ())


async def of_volume(order: Order, volume: Object, *, read_only: bool) -> Ready:
    """What a PersistentVolume of type nfs has. Raises VolumeFailed."""
    spec, name = volume["spec"], objects.name(volume)
    read_only = read_only or bool(spec["nfs"].get("readOnly"))
    point = order.path.parent.parent / FOLDER / name
    try:
        return await order.lane.run(_mounted, order, spec["nfs"], point, read_only, spec.get("mountOptions") or ())
    except VolumeFailed as exc:
        raise VolumeFailed(str(exc), name) from None


def _mounted(order: Order, source: Object, point: Path, read_only: bool, options: Sequence[str]) -> Ready:
    """What is mounted is not looked at: its server may have gone."""
    if order.mounter.is_mounted(point):
        return Ready(point)
    if point in _under_way:
        raise VolumeFailed(f"mount of {source['server']}:{source['path']} is under way already; the server has not answered yet")
    _under_way.add(point)
    try:
        point.mkdir(parents=True, exist_ok=True, mode=0o750)
        order.mounter.nfs(source["server"], source["path"], point, [*options, *(["ro"] if read_only else ())])
    except OSError as exc:
        raise VolumeFailed(exc.strerror or str(exc)) from None
    finally:
        _under_way.discard(point)
    return Ready(point)
