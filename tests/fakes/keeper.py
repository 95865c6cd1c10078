"""Nodes that keep volumes: the agent's own part in it over the real driver of directories, without threads and without mounts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import trio

from edgek.agent.kubelet.csi.drivers import BuiltIn, Drivers
from edgek.agent.local_storage import LocalStorage
from edgek.client.client import Client
from edgek.csi.driver import Driver
from edgek.csi.hostpath import HostPath
from edgek.csi.serve import Services
from edgek.host.message import Values
from edgek.host.mount_table import Mount
from edgek.host.rpc import Method
from edgek.host.worker import InLine
from edgek.model.local_storage import HOSTPATH


class Book:
    """Mounts that are only written down."""

    def __init__(self) -> None:
        self.mounted: dict[str, Mount] = {}

    def table(self) -> list[Mount]:
        return [Mount("/", "/", "8:1", ("rw",), "ext4", "/dev/root"), *self.mounted.values()]

    def bind(self, source: Path, target: Path, *, read_only: bool, flags: int) -> None:
        self.mounted[str(target)] = Mount(str(target), str(source), "8:1", ("ro" if read_only else "rw",), "ext4", "/dev/root")

    def restrict(self, target: Path, flags: int) -> None: ...

    def unmount(self, target: Path) -> None:
        self.mounted.pop(str(target), None)


@attrs.define
class Overheard:
    """A driver's services that write down what they are asked. ``before`` and ``after`` may raise in their place, or end the one who asks."""

    below: Services
    calls: list[str] = attrs.field(factory=list)
    before: Callable[[str], None] = lambda call: None
    after: Callable[[str], None] = lambda call: None

    async def call(self, method: Method, values: Mapping[str, Any], *, timeout_s: float | None) -> Values:
        name = method.path.rpartition("/")[2]
        self.calls.append(name)
        self.before(name)
        answer = await self.below.call(method, values, timeout_s=timeout_s)
        self.after(name)
        await trio.lowlevel.checkpoint()
        return answer


class KeeperNode:
    """``run`` is the agent's life; the folder, and what was mounted, outlive it. ``nfs`` is a folder that stands for an export."""

    def __init__(self, client: Client, name: str, folder: Path, make: Callable[[], Driver] | None = None) -> None:
        self.name, self.root = name, folder / name
        self.book = Book()
        self.hostpath = self._overhear(HOSTPATH, make or (lambda: HostPath(self.root, name, self.book)))
        self.drivers = Drivers()
        self.drivers.put_built_in(BuiltIn(HOSTPATH, name, lambda: self.hostpath))
        self._client = client

    def _overhear(self, driver: str, make: Callable[[], Driver]) -> Overheard:
        return Overheard(Services(driver, make, self.name, worker=InLine()))

    def put(self, driver: str, make: Callable[[], Driver]) -> Overheard:
        made = self._overhear(driver, make)
        self.drivers.put_built_in(BuiltIn(driver, self.name, lambda: made))
        return made

    @property
    def volumes(self) -> list[str]:
        return sorted(each.name for each in self.root.iterdir() if each.name != ".edgek") if self.root.exists() else []

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await LocalStorage(self._client, self.name, self.root, self.drivers, files=InLine()).run(task_status=task_status)
