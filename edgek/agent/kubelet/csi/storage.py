"""The door between the kubelet and storage drivers: what is behind it is loaded when the first volume of a driver is used or found."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from edgek.agent.kubelet.csi.announce import Announcer
from edgek.agent.kubelet.csi.drivers import Drivers
from edgek.agent.kubelet.csi.plugins import Plugins
from edgek.client.client import Client
from edgek.client.events import Recorder
from edgek.host.message import Values
from edgek.host.mount import Mounter
from edgek.host.worker import InLine, Worker
from edgek.model.objects import Object

if TYPE_CHECKING:
    from edgek.agent.kubelet.csi.mounting import Mounting

FOLDER_MODE = 0o750


class Storage:
    """``wake(uid)`` is called for pods that waited for a driver."""

    def __init__(
        self,
        kubelet_dir: Path,
        node_name: str,
        client: Client,
        recorder: Recorder,
        mounter: Mounter,
        *,
        files: Worker | InLine,
        wake: Callable[[str], None] = lambda uid: None,
    ) -> None:
        self.drivers = Drivers()
        self._kubelet_dir = kubelet_dir
        self._make = functools.partial(_mounting, kubelet_dir, node_name, self.drivers, client, recorder, mounter, files, wake)
        self._mounting: Mounting | None = None
        self._came = trio.Event()
        self._used = trio.Event()
        self._node: Object | None = None
        self._announcer = Announcer(client, node_name, self.drivers)
        self.plugins = Plugins(kubelet_dir / "plugins_registry", self.drivers)
        self.drivers.on_change(self._driver_changed)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take in drivers that register, and tell the API of them and of what is attached. Raises OSError."""
        for folder in ("plugins_registry", "plugins"):
            (self._kubelet_dir / folder).mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        self.plugins.built_in = frozenset(driver.name for driver in self.drivers.all())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.plugins.run)
            nursery.start_soon(self._announcer.run)
            task_status.started()
            if self._ever():
                self.mounting.attachments.changed()
            await self._used.wait()
            await self.mounting.attachments.run()

    def node_changed(self, node: Object) -> None:
        """The API shows our Node anew."""
        self._node = node
        self._announcer.node_changed(node)
        if self._mounting is not None:
            self._mounting.attachments.node_changed(node)

    @property
    def mounting(self) -> Mounting:
        if self._mounting is None:
            self._mounting = self._make()
            self._used.set()
            if self._node is not None:
                self._mounting.attachments.node_changed(self._node)
        return self._mounting

    async def take_down(self, uid: str) -> None:
        """All that the pod has of drivers. Raises OSError."""
        if self._ever(uid):
            await self.mounting.take_down(uid)

    async def usage(self, uid: str, name: str) -> Values | None:
        """What the driver says that a volume uses, by the name in its record."""
        return await self.mounting.usage(uid, name) if self._ever(uid) else None

    async def users(self) -> set[str]:
        """The pods that have, or were about to have, a volume."""
        return await self.mounting.users() if self._ever() else set()

    async def sweep(self) -> None:
        """Volumes that no pod has leave the node. Raises OSError."""
        if self._ever():
            await self.mounting.sweep()

    async def change_or(self, seconds: float) -> None:
        """Wait until a driver came or went, or for that long."""
        with trio.move_on_after(seconds):
            await self._came.wait()

    def _ever(self, uid: str = "") -> bool:
        """Whether there ever was a volume: without one there is nothing to load."""
        if self._mounting is not None or (self._kubelet_dir / "plugins" / "kubernetes.io" / "csi").exists():
            return True
        return bool(uid) and (self._kubelet_dir / "pods" / uid / "volumes" / "kubernetes.io~csi").exists()

    def _driver_changed(self, name: str) -> None:
        self._came.set()
        self._came = trio.Event()


def _mounting(
    kubelet_dir: Path,
    node_name: str,
    drivers: Drivers,
    client: Client,
    recorder: Recorder,
    mounter: Mounter,
    files: Worker | InLine,
    wake: Callable[[str], None],
) -> Mounting:
    from edgek.agent.kubelet.csi.mounting import Mounting

    return Mounting(kubelet_dir, node_name, drivers, client, recorder, mounter, files=files, wake=wake)
