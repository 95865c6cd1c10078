"""The node's part in making, growing and deleting volumes of edgek's own drivers: it does what the PersistentVolumes that it keeps say.

What is to be done stands in the objects (``model/local_storage.py``), so a node that was away, or died between two steps, goes on where it was. A
volume is made once, and only while its object says that it is to be: data that is lost is reported where it is used, never replaced by nothing.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
import trio

from edgek.agent import former_storage
from edgek.agent.kubelet.csi.drivers import Drivers, NotRegistered
from edgek.client.client import JSON_PATCH, Client
from edgek.client.informer import Informer
from edgek.client.transport import Disconnected
from edgek.client.workqueue import WorkQueue
from edgek.host import log
from edgek.host.rpc import RpcError
from edgek.host.worker import InLine, Worker
from edgek.model import errors, kinds, objects, quantity
from edgek.model.local_storage import FINALIZER, FORMER_FINALIZER, GROW, IN_USE_FINALIZER, MAKE, NODE_LABEL, TROUBLE, Making, handle, size_bytes
from edgek.model.objects import Object

CALLS = 16  # of one driver at once; the rest wait. A driver has 32 threads, and pods need some of them
TROUBLE_MOST = 1024  # characters
_NUMBERS = re.compile(r"[0-9]+")

Work = Literal["make", "grow", "delete", "let go", "delete former"]
ACCESS = {"ReadWriteOnce": 7, "ReadWriteOncePod": 6, "ReadOnlyMany": 3, "ReadWriteMany": 5}  # numbers of csi.v1's access modes


@attrs.frozen
class Order:
    """What is to be done for one volume; the same as long as that is the same.

    ``said`` is the annotation, or the finalizer at ``place`` among the finalizers, that goes in the end. ``troubled``: the object tells of trouble.
    """

    work: Work
    volume: str
    said: str
    driver: str = ""
    handle: str = ""
    size: str = ""
    modes: tuple[str, ...] = ()
    block: bool = False
    fs_type: str = ""
    options: tuple[str, ...] = ()
    path: str = ""
    place: int = 0
    troubled: bool = False


def order(volume: Object) -> Order | None:
    """None while nothing is to be done, or somebody else holds the volume first."""
    spec, marks = volume.get("spec") or {}, objects.annotations(volume)
    if objects.is_deleting(volume) and (IN_USE_FINALIZER not in objects.finalizers(volume) or MAKE in marks):
        return _ending(volume)
    if MAKE not in marks and GROW not in marks:  # one that is bound may grow, though somebody deleted its object
        return None
    csi = spec.get("csi") or {}
    work: Work = "make" if MAKE in marks else "grow"
    return Order(
        work,
        objects.name(volume),
        said=marks[MAKE] if work == "make" else marks[GROW],
        driver=str(csi.get("driver") or ""),
        handle=handle(volume),
        size=str((spec.get("capacity") or {}).get("storage") or "") if work == "make" else marks[GROW],
        modes=tuple(spec.get("accessModes") or ()),
        block=spec.get("volumeMode") == "Block",
        fs_type=str(csi.get("fsType") or ""),
        options=tuple(spec.get("mountOptions") or ()),
        troubled=TROUBLE in marks,
    )


def _ending(volume: Object) -> Order | None:
    """What holds data goes only by the policy Delete; where no volume was made yet, there is nothing to keep."""
    spec, name, finalizers = volume.get("spec") or {}, objects.name(volume), objects.finalizers(volume)
    ours = next((each for each in finalizers if each in (FINALIZER, FORMER_FINALIZER)), "")
    if not ours or IN_USE_FINALIZER in finalizers:
        return None
    place, driver = finalizers.index(ours), str((spec.get("csi") or {}).get("driver") or "")
    if spec.get("persistentVolumeReclaimPolicy") != "Delete" and MAKE not in objects.annotations(volume):
        return Order("let go", name, ours, place=place)
    if ours == FORMER_FINALIZER:
        return Order("delete former", name, ours, path=(spec.get("hostPath") or {}).get("path") or "", place=place)
    return Order("delete", name, ours, driver, handle(volume), place=place, troubled=TROUBLE in objects.annotations(volume))


class LocalStorage:
    """``folder`` holds the directories of volumes that were made before there were drivers: nothing outside it is ever deleted."""

    def __init__(self, client: Client, node_name: str, folder: Path, drivers: Drivers, *, files: Worker | InLine | None = None) -> None:
        self._client = client
        self._folder = folder
        self._drivers = drivers
        self._orders = Informer(client, kinds.PERSISTENT_VOLUME, order, labels=f"{NODE_LABEL}={node_name}")
        self._queue = WorkQueue()
        self._worker = files or Worker(1)
        self._calls: dict[str, trio.Semaphore] = defaultdict(lambda: trio.Semaphore(CALLS))
        self._told: dict[str, str] = {}  # by volume: the trouble that its object tells of

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self._orders.add_handler(lambda key, old, new: self._queue.add(key))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._orders.run)
            task_status.started()
            while True:
                nursery.start_soon(self._look, await self._queue.get())

    async def _look(self, key: str) -> None:
        wanted = self._orders.get(key)
        if wanted is None:
            self._told.pop(key, None)
            self._queue.done(key)
            return
        try:
            async with self._calls[wanted.driver]:
                await self._do(wanted)
        except (RpcError, NotRegistered, ValueError) as exc:
            await self._fail(wanted, exc)
            self._queue.retry(key)
        except Exception as exc:  # the border of a reconcile loop: one volume's trouble is neither another's nor the node's
            pause_s = self._queue.retry(key)
            log.warning("storage work is not done yet", work=wanted.work, volume=wanted.volume, error=repr(exc), retry_s=round(pause_s, 1))
        else:
            self._told.pop(key, None)
            self._queue.done(key)

    async def _do(self, wanted: Order) -> None:
        """The driver first, then the object: killed in between, we come here again, and the driver says that it is done."""
        if wanted.work == "make":
            await self._report(wanted, await self._make(wanted))
        elif wanted.work == "grow":
            await self._report(wanted, await self._grow(wanted))
        else:
            if wanted.work == "delete":
                await self._delete(wanted)
            elif wanted.work == "delete former":
                await self._worker.run(former_storage.delete, wanted.volume, Path(wanted.path), self._folder)
            await self._release(wanted)

    # The driver

    async def _make(self, wanted: Order) -> int:
        from edgek.csi import messages

        making = Making.of_text(wanted.said)
        request = {
            "name": wanted.volume,
            "capacity_range": {"required_bytes": size_bytes(wanted.size)},
            "volume_capabilities": [capability(wanted, mode) for mode in wanted.modes],
            "parameters": dict(making.parameters),
            "volume_content_source": {"volume": {"volume_id": making.source}} if making.source else None,
        }
        made = (await self._drivers.find(wanted.driver).call(messages.CREATE_VOLUME, request))["volume"]
        if made["volume_id"] != wanted.handle:
            raise ValueError(f"{wanted.driver} made volume {made['volume_id']!r}, its PersistentVolume expects {wanted.handle!r}")
        return int(made["capacity_bytes"])

    async def _grow(self, wanted: Order) -> int:
        """Where a volume needs something of its node, too, that is us: the driver has done it."""
        from edgek.csi import messages

        request = {"volume_id": wanted.handle, "capacity_range": {"required_bytes": size_bytes(wanted.size)}}
        answer = await self._drivers.find(wanted.driver).call(messages.CONTROLLER_EXPAND_VOLUME, request)
        return int(answer["capacity_bytes"])

    async def _delete(self, wanted: Order) -> None:
        from edgek.csi import messages

        await self._drivers.find(wanted.driver).call(messages.DELETE_VOLUME, {"volume_id": wanted.handle})

    # The object

    async def _report(self, wanted: Order, capacity_bytes: int) -> None:
        annotation = pointer(MAKE if wanted.work == "make" else GROW)
        steps: list[Mapping[str, Any]] = [{"op": "test", "path": annotation, "value": wanted.said}, {"op": "remove", "path": annotation}]
        if wanted.work == "grow" or capacity_bytes > size_bytes(wanted.size):
            text = wanted.size if capacity_bytes <= size_bytes(wanted.size) else str(quantity.of_bytes(capacity_bytes))
            steps.append({"op": "replace", "path": "/spec/capacity/storage", "value": text})
        if wanted.troubled:
            steps.append({"op": "remove", "path": pointer(TROUBLE)})
        await self._patch(wanted, steps)

    async def _release(self, wanted: Order) -> None:
        place = f"/metadata/finalizers/{wanted.place}"
        await self._patch(wanted, [{"op": "test", "path": place, "value": wanted.said}, {"op": "remove", "path": place}])

    async def _patch(self, wanted: Order, steps: list[Mapping[str, Any]]) -> None:
        try:
            await self._client.patch(kinds.PERSISTENT_VOLUME, wanted.volume, steps, content_type=JSON_PATCH)
        except errors.NotFound:
            return

    async def _fail(self, wanted: Order, exc: Exception) -> None:
        """Let the object say why, where the server makes an Event of it."""
        text = words(exc)[:TROUBLE_MOST]
        gist = _NUMBERS.sub("", text)  # how much is free just now is no news
        if self._told.get(wanted.volume) == gist:
            return
        log.warning("a storage driver refused", work=wanted.work, volume=wanted.volume, error=text)
        try:
            await self._client.patch(kinds.PERSISTENT_VOLUME, wanted.volume, {"metadata": {"annotations": {TROUBLE: text}}})
        except (errors.ApiError, Disconnected) as problem:
            log.debug("trouble with a volume is not reported yet", volume=wanted.volume, error=problem)
        else:
            self._told[wanted.volume] = gist


def capability(wanted: Order, mode: str) -> dict[str, Any]:
    """Raises ValueError."""
    if mode not in ACCESS:
        raise ValueError(f"{mode!r} is no access mode")
    how = {"block": {}} if wanted.block else {"mount": {"fs_type": wanted.fs_type, "mount_flags": list(wanted.options)}}
    return {**how, "access_mode": {"mode": ACCESS[mode]}}


def words(exc: Exception) -> str:
    """As upstream writes a driver's refusal."""
    if not isinstance(exc, RpcError):
        return str(exc)
    return f"rpc error: code = {''.join(part.capitalize() for part in exc.code.split('_'))} desc = {exc.details}"


def pointer(annotation: str) -> str:
    return "/metadata/annotations/" + annotation.replace("~", "~0").replace("/", "~1")
