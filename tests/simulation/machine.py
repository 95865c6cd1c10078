"""A node of a simulated cluster: the real kubelet and node keeper over a runtime in memory. It can lose its power, its way to the API, or both."""

from __future__ import annotations

from pathlib import Path

import attrs
import trio

from edgek.agent.kubelet.cgroups import Cgroups
from edgek.agent.kubelet.contact import Contact
from edgek.agent.kubelet.csi.drivers import BuiltIn
from edgek.agent.kubelet.loop import Kubelet
from edgek.agent.kubelet.machine import Machine
from edgek.agent.kubelet.settings import KubeletSettings
from edgek.agent.local_storage import LocalStorage
from edgek.agent.node import NodeKeeper
from edgek.client.client import Client
from edgek.client.events import Recorder
from edgek.csi.hostpath import HostPath
from edgek.csi.serve import Services
from edgek.host.worker import InLine
from edgek.model.local_storage import HOSTPATH
from edgek.server.api.identity import AUTHENTICATED_GROUP, User
from tests.fakes.keeper import Book
from tests.fakes.mounts import FakeMounter
from tests.fakes.runtime import FakeRuntime
from tests.simulation.wire import Exchange, Wire

MACHINE = Machine(4, 8 << 30, 100 << 30, "amd64", "6.1", "Test OS", "m", "s", "b")


def settings(name: str, number: int, folder: Path) -> KubeletSettings:
    here = folder / name
    return KubeletSettings(
        node_name=name,
        node_ips=(f"192.0.2.{number}",),
        data_dir=here,
        kubelet_dir=here / "kubelet",
        pod_logs_dir=here / "logs",
        container_logs_dir=here / "links",
        cluster_dns=("10.43.0.10",),
        resolv_conf=folder / "resolv.conf",
    )


@attrs.define
class SimulatedNode:
    """``kubelet`` is the one of now: each boot makes another. The runtime, like the disk, is the machine's."""

    name: str
    settings: KubeletSettings
    runtime: FakeRuntime
    wire: Wire
    storage: Path
    machine: Machine = MACHINE
    kubelet: Kubelet | None = None
    keeper: NodeKeeper | None = None
    boots: int = 0
    book: Book = attrs.field(factory=Book)
    _life: trio.CancelScope | None = None
    _over: trio.Event = attrs.field(factory=trio.Event)

    @property
    def contact_file(self) -> Path:
        """In the memory of the machine."""
        return self.settings.data_dir / "run" / "last-contact"

    @property
    def is_on(self) -> bool:
        return self._life is not None

    @property
    def volumes(self) -> list[str]:
        """The directories of its own driver."""
        return sorted(each.name for each in self.storage.iterdir() if each.name != ".edgek") if self.storage.exists() else []

    async def boot(self, nursery: trio.Nursery) -> None:
        """Started once the kubelet would be."""
        assert self._life is None, f"{self.name} runs already"
        await nursery.start(self._live)

    async def stop_agent(self) -> None:
        """The agent's process is killed; containers go on."""
        if self._life is not None:
            self._life.cancel()
            await self._over.wait()

    async def lose_power(self) -> None:
        await self.stop_agent()
        self.runtime.reboot()
        self.book.mounted.clear()
        self.boots += 1
        self.contact_file.unlink(missing_ok=True)

    async def _live(self, *, task_status: trio.TaskStatus[None]) -> None:
        self._over = trio.Event()
        try:
            with trio.CancelScope() as self._life:
                await self._run_parts(task_status)
        finally:
            self._life = self.kubelet = self.keeper = None
            self._over.set()

    async def _run_parts(self, task_status: trio.TaskStatus[None]) -> None:
        client = Client(self.wire, "kubelet")
        recorder = Recorder(client, "kubelet", self.name)
        mounter, cgroups = FakeMounter(), Cgroups(self.settings.data_dir / "cgroup")
        contact = Contact(self.contact_file, f"boot-{self.boots}", cheap=True)
        kubelet = Kubelet(
            self.settings, client, self.runtime, recorder, self.machine, mounter=mounter, cgroups=cgroups, files=InLine(), contact=contact
        )
        keeper = NodeKeeper(self.settings, client, self.runtime, recorder, self.machine, contact=contact)
        self.keeper = keeper
        kubelet.offer = keeper.offer
        kubelet.images.changed = keeper.readiness.images_changed
        hostpath = Services(HOSTPATH, lambda: HostPath(self.storage, self.name, self.book), self.name, worker=InLine())
        kubelet.storage.drivers.put_built_in(BuiltIn(HOSTPATH, self.name, lambda: hostpath))
        keeper.node.add_handler(lambda key, old, new: kubelet.storage.node_changed(new) if new else None)
        local_storage = LocalStorage(client, self.name, self.storage, kubelet.storage.drivers, files=InLine())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(recorder.run)
            for part in (keeper.run, kubelet.storage.run, kubelet.run, local_storage.run):
                await nursery.start(part)
            self.kubelet = kubelet
            task_status.started()


def user(name: str) -> User:
    return User(f"system:node:{name}", groups=("system:nodes", AUTHENTICATED_GROUP))


def open_node(name: str, number: int, folder: Path, nursery: trio.Nursery, exchange: Exchange, machine: Machine = MACHINE) -> SimulatedNode:
    """A machine that is off, with an empty disk."""
    runtime = FakeRuntime(nursery)
    runtime.pulls_anything = True
    runtime.pod_range = f"10.{100 + number}"
    told = settings(name, number, folder)
    told.data_dir.mkdir(parents=True, exist_ok=True)
    return SimulatedNode(name, told, runtime, Wire(exchange, user(name), name), told.data_dir / "storage", machine)
