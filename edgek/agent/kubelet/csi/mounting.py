"""Volumes of pods brought here by their drivers and taken away again: attach, stage, publish, and back.

What is done stands in the records of ``places.py`` before it is tried, so an edgek that was killed at any point, or a pod that went while it was
down, leaves nothing that is not found and undone in order. A volume is unpublished for every pod before it is unstaged, and only the driver takes
away what it brought: nothing here removes a folder that is not empty. A driver that is gone makes its volumes wait; they go on when it registers.
"""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from edgek.agent.kubelet.csi import expansion, source
from edgek.agent.kubelet.csi.attachments import Attachments, attachment_name, unique_name
from edgek.agent.kubelet.csi.drivers import Driver, Drivers, NotRegistered
from edgek.agent.kubelet.csi.places import FOLDER_MODE, Places, Record, Share, Volume, remove_point
from edgek.agent.kubelet.csi.requests import Requests
from edgek.agent.kubelet.csi.source import Source
from edgek.agent.kubelet.resources import number
from edgek.agent.kubelet.volumes import ownership
from edgek.agent.kubelet.volumes.volume import Order, Ready, VolumeFailed
from edgek.client.client import Client
from edgek.client.events import Recorder
from edgek.client.transport import Disconnected
from edgek.csi import messages
from edgek.host.message import Values
from edgek.host.mount import Mounter
from edgek.host.rpc import Method, RpcError
from edgek.host.worker import InLine, Worker
from edgek.model import errors, kinds, objects
from edgek.model.objects import Object

AGAIN_S = 60.0  # how often a driver is asked that wants to be asked again and again, or that could not expand a volume
USAGE_MOST_S = 2.0  # who asks what volumes use does not wait for a dead server


class Mounting:
    """``files`` runs what blocks on our own disk. ``wake(uid)`` is called for pods that waited for a driver which is there now."""

    def __init__(
        self,
        kubelet_dir: Path,
        node_name: str,
        drivers: Drivers,
        client: Client,
        recorder: Recorder,
        mounter: Mounter,
        *,
        files: Worker | InLine,
        wake: Callable[[str], None] = lambda uid: None,
    ) -> None:
        self.places = Places(kubelet_dir)
        self.drivers = drivers
        self.attachments = Attachments(client, node_name, self._attached_in_use, wake)
        self._node_name = node_name
        self._client = client
        self._recorder = recorder
        self._mounter = mounter
        self._files = files
        self._wake = wake
        self._requests = Requests(self.places, mounter)
        self._locks: dict[tuple[str, str], tuple[trio.Lock, list[None]]] = {}
        self._waiting: dict[str, set[str]] = {}  # by driver, the pods that wait for it
        self._sizes: dict[tuple[str, str], float] = {}  # bytes that a volume's file system was made to fit
        self.boot = _boot_id()
        drivers.on_change(self._driver_changed)

    # Bringing.

    async def mount(self, order: Order, wanted: Source, claim: Object | None = None) -> Ready:
        """May be called again, and then brings up to date what is there. Raises VolumeFailed, OSError."""
        spec = await self._about(order, wanted.driver)
        problem = source.lifecycle_problem(wanted, spec.get("volumeLifecycleModes") or () if spec else None)
        if problem:
            raise VolumeFailed(problem, wanted.name)
        try:
            return await self._mount(order, wanted, spec, claim)
        except RpcError as exc:
            raise VolumeFailed(told(exc), wanted.name) from None
        except NotRegistered as exc:
            self._waiting.setdefault(wanted.driver, set()).add(objects.uid(order.pod))
            raise VolumeFailed(f"kubernetes.io/csi: {exc}", wanted.name) from None

    async def _mount(self, order: Order, wanted: Source, spec: Object, claim: Object | None) -> Ready:
        uid, again = objects.uid(order.pod), bool(spec.get("requiresRepublish"))
        record = wanted.record(self._node_name)
        share = self.places.share(record, uid)
        if not share.published.counts(self._look(share.target)):
            record = await self._claim(order, wanted, spec)
            async with self._locked(record):
                await self._bring(order, wanted, spec, record)
        elif again:
            async with self._locked(record):
                await self._publish(self.drivers.find(wanted.driver), order, wanted, spec, self._recorded(record))
        if claim is not None:
            async with self._locked(record):
                again |= not await self._expand(order, wanted, record, claim)
        return Ready(share.path, AGAIN_S if again else None, owned=False)

    async def _claim(self, order: Order, wanted: Source, spec: Object) -> Record:
        """From now on the volume stays on this node; what is known of its attachment, once it is attached."""
        if wanted.inline:
            return wanted.record(self._node_name)
        attach = spec.get("attachRequired") is not False
        name = attachment_name(wanted.driver, wanted.handle, self._node_name) if attach else ""
        record = wanted.record(self._node_name, name)
        volume, uid = self.places.volume(record), objects.uid(order.pod)
        async with self._locked(record):
            if wanted.modes == ("ReadWriteOncePod",) and set(volume.users()) - {uid}:
                raise VolumeFailed("volume uses the ReadWriteOncePod access mode and is already in use by another pod", wanted.name)
            known = self._recorded(record)
            await self._files.run(self._keep, volume, record if known.attachment != name else known, uid)
        if not attach:
            return record
        if order.offline and known.attached:
            return known  # the server is away: as it was when we last heard
        try:
            context = await self.attachments.context(record, uid)
        except Disconnected as exc:
            if known.attached:
                return known
            raise VolumeFailed(str(exc), wanted.name) from None
        found = attrs.evolve(record, context=dict(context), attached=True)
        if found != known:
            await self._files.run(found.write, volume.folder)
        return found

    async def _bring(self, order: Order, wanted: Source, spec: Object, record: Record) -> None:
        driver = self.drivers.find(wanted.driver)
        staged = not wanted.inline and await driver.can(messages.NODE_CAN_STAGE)
        if staged:
            await self._stage(driver, order, wanted, record)
        share = self.places.share(record, objects.uid(order.pod))
        await self._files.run(share.write)
        await self._publish(driver, order, wanted, spec, record)
        await self._give_to_group(driver, order, wanted, spec, share)
        share.published.put(self._look(share.target))

    async def _stage(self, driver: Driver, order: Order, wanted: Source, record: Record) -> None:
        volume, staging = self.places.volume(record), self.places.staging(record)
        if volume.staged.counts(self._look(staging)):
            return
        staging.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        request = await self._requests.stage(driver, order, wanted, record)
        await self._ask(driver, messages.NODE_STAGE_VOLUME, request, wanted.name, "MountDevice")
        volume.staged.put(self._look(staging))

    async def _publish(self, driver: Driver, order: Order, wanted: Source, spec: Object, record: Record) -> None:
        request = await self._requests.publish(driver, order, wanted, spec, record)
        await self._ask(driver, messages.NODE_PUBLISH_VOLUME, request, wanted.name, "SetUp")

    async def _give_to_group(self, driver: Driver, order: Order, wanted: Source, spec: Object, share: Share) -> None:
        policy = spec.get("fsGroupPolicy") or "ReadWriteOnceWithFSType"
        if order.fs_group is None or not source.group_is_ours_to_give(wanted, policy) or await driver.can(messages.NODE_CAN_MOUNT_GROUP):
            return
        try:
            await order.lane.run(ownership.give, share.target, order.fs_group, order.group_change_policy)
        except OSError as exc:
            raise VolumeFailed(f"applyFSGroup failed for vol {wanted.handle}: {exc}", wanted.name) from None

    async def _expand(self, order: Order, wanted: Source, record: Record, claim: Object) -> bool:
        """Make it as large as the controller made it; False where that must be tried again. The pod goes on meanwhile."""
        key = (wanted.driver, wanted.handle)
        if wanted.read_only or not expansion.wanted(wanted.capacity, claim, self._sizes.get(key)):
            return True
        try:
            driver = self.drivers.find(wanted.driver)
            if await driver.can(messages.NODE_CAN_EXPAND):
                request = await self._requests.expand(driver, order, wanted, record)
                await self._ask(driver, messages.NODE_EXPAND_VOLUME, request, wanted.name, "NodeExpandVolume")
            await expansion.tell(self._client, claim, wanted.capacity)
        except (RpcError, NotRegistered, VolumeFailed, errors.ApiError, Disconnected) as exc:
            why = told(exc) if isinstance(exc, RpcError) else str(exc)
            text = f'MountVolume.NodeExpandVolume failed for volume "{wanted.name}" : {why}'
            self._recorder.warning(kinds.POD, order.pod, "VolumeResizeFailed", text)
            return False
        self._sizes[key] = number(wanted.capacity)
        text = f'MountVolume.NodeExpandVolume succeeded for volume "{wanted.name}" {self._node_name}'
        self._recorder.normal(kinds.POD, order.pod, "FileSystemResizeSuccessful", text)
        return True

    async def _about(self, order: Order, driver: str) -> Object:
        """The spec of the CSIDriver; empty where there is none, which has a meaning of its own."""
        found = await order.find_if_known(kinds.CSI_DRIVER, driver)
        return (found or {}).get("spec") or {}

    async def _ask(self, driver: Driver, method: Method, request: Mapping[str, Any], name: str, step: str) -> None:
        try:
            await driver.call(method, request)
        except RpcError as exc:
            raise VolumeFailed(told(exc), name, step) from None

    # Taking away.

    async def take_down(self, uid: str) -> None:
        """All that the pod has; volumes that nobody else has leave the node. Raises OSError, after as much as possible was done."""
        failures: list[OSError] = []
        for share in await self._files.run(self.places.shares, uid):
            async with self._locked(share.record):
                await self._attempt(failures, self._unpublish(share))
        if failures:
            raise failures[0]
        await self._files.run(self.places.tidy, uid)
        for volume in await self._files.run(self.places.used_by, uid):
            await self._attempt(failures, self._leave(volume, uid))
        if failures:
            raise failures[0]
        self._requests.forget(uid)

    async def users(self) -> set[str]:
        return await self._files.run(self.places.users)

    async def sweep(self) -> None:
        """Volumes that no pod has: those of an edgek that was killed before it wrote down for whom. Raises OSError."""
        failures: list[OSError] = []
        for volume in await self._files.run(lambda: list(self.places.volumes())):
            if not volume.users():
                await self._attempt(failures, self._leave(volume, ""))
        if failures:
            raise failures[0]

    async def _attempt(self, failures: list[OSError], attempt: Awaitable[None]) -> None:
        try:
            await attempt
        except OSError as exc:
            failures.append(exc)

    async def _unpublish(self, share: Share) -> None:
        record = share.record
        request = {"volume_id": record.handle, "target_path": str(share.target)}
        share.published.remove()  # before it is tried: who comes after us must not believe it
        await self._undo(
            record.driver, share.uid, messages.NODE_UNPUBLISH_VOLUME, request, f'UnmountVolume.TearDown failed for volume "{record.name}"'
        )
        self._refuse_mounted(share.target)
        await self._files.run(share.remove)

    async def _leave(self, volume: Volume, uid: str) -> None:
        """One user less; after the last one it is unstaged."""
        record = await self._files.run(lambda: volume.record)
        if record is None:
            if uid:
                volume.drop_user(uid)
            await self._files.run(volume.remove)
            return
        async with self._locked(record):
            if set(volume.users()) - {uid}:
                volume.drop_user(uid)
                return
            staging = self.places.staging(record)
            if self._requests.is_there(staging):
                request = {"volume_id": record.handle, "staging_target_path": str(staging)}
                why = f'UnmountDevice failed for volume "{record.name}"'
                volume.staged.remove()  # before it is tried: who comes after us must not believe it
                await self._undo(record.driver, uid, messages.NODE_UNSTAGE_VOLUME, request, why)
                self._refuse_mounted(staging)
                await self._files.run(remove_point, staging)
            if uid:
                volume.drop_user(uid)
            await self._files.run(volume.remove)
        self._sizes.pop((record.driver, record.handle), None)
        if record.attachment:
            self.attachments.changed()

    async def _undo(self, name: str, uid: str, method: Method, request: Mapping[str, Any], why: str) -> None:
        try:
            await self.drivers.find(name).call(method, request)
        except NotRegistered as exc:
            self._waiting.setdefault(name, set()).add(uid)
            raise OSError(errno.EAGAIN, f"{why} : kubernetes.io/csi: {exc}") from None
        except RpcError as exc:
            raise OSError(errno.EIO, f"{why} : {told(exc)}") from None

    def _refuse_mounted(self, target: Path) -> None:
        if self._is_mounted(target):
            raise OSError(errno.EBUSY, f"still mounted though its driver says it is not: {target}")

    # What it uses.

    async def usage(self, uid: str, name: str) -> Values | None:
        """What the driver says of a PersistentVolume or an inline volume that the pod has; None where it does not, or not soon."""
        share = next((each for each in self.places.shares(uid) if each.record.name == name and not each.record.block), None)
        if share is None:
            return None
        try:
            driver = self.drivers.find(share.record.driver)
            if not await driver.can(messages.NODE_CAN_STATS):
                return None
            request = {"volume_id": share.record.handle, "volume_path": str(share.target)}
            return await driver.call(messages.NODE_GET_VOLUME_STATS, request, timeout_s=USAGE_MOST_S)
        except (NotRegistered, RpcError, OSError):
            return None

    # What stands where.

    def _keep(self, volume: Volume, record: Record, uid: str) -> None:
        (self.places.kubelet_dir / "pods" / uid / "volumes").mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)  # there is something to take down
        if volume.record != record:
            record.write(volume.folder)
        volume.add_user(uid)

    def _recorded(self, record: Record) -> Record:
        """As it was last written, for its attachment."""
        return (None if record.inline else self.places.volume(record).record) or record

    def _is_mounted(self, path: Path) -> bool:
        return self._mounter.is_mounted(path)

    def _look(self, path: Path) -> str:
        """What a mark holds: whether it was this boot, and what the kernel has there. Asks no file system that may hang."""
        if self._is_mounted(path):
            return f"{self.boot} mounted"
        return f"{self.boot} {'there' if os.path.lexists(path) else 'missing'}"

    async def _attached_in_use(self) -> list[str]:
        def look() -> list[str]:
            records = [volume.record for volume in self.places.volumes()]
            return [unique_name(record) for record in records if record and record.attachment]

        return await self._files.run(look)

    @asynccontextmanager
    async def _locked(self, record: Record) -> AsyncIterator[None]:
        """One thing at a time for a volume, or for an inline one."""
        key = (record.driver, record.handle)
        lock, holders = self._locks.setdefault(key, (trio.Lock(), []))
        holders.append(None)
        try:
            async with lock:
                yield
        finally:
            holders.pop()
            if not holders:
                self._locks.pop(key, None)

    def _driver_changed(self, name: str) -> None:
        for uid in self._waiting.pop(name, ()):
            self._wake(uid)


def told(exc: RpcError) -> str:
    """As upstream's kubelet says it."""
    code = "".join(part.capitalize() for part in exc.code.split("_"))
    return f"rpc error: code = {'Canceled' if code == 'Cancelled' else code} desc = {exc.details}"


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
