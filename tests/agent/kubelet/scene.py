"""A node in one trio run: the kubelet, an API in memory, a runtime in memory, on a virtual clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio
import trio.testing

from edgek.agent.kubelet.cgroups import Cgroups
from edgek.agent.kubelet.loop import Kubelet
from edgek.agent.kubelet.machine import Machine
from edgek.agent.kubelet.settings import KubeletSettings
from edgek.agent.runtime.runtime import ContainerStatus
from edgek.client.client import Client
from edgek.client.events import Recorder
from edgek.host import wallclock
from edgek.host.worker import InLine
from edgek.model import kinds
from edgek.model.objects import Object
from tests.fakes.api import FakeApi
from tests.fakes.mounts import FakeMounter
from tests.fakes.runtime import FakeRuntime, open_runtime

EPOCH = 1_800_000_000.0
MACHINE = Machine(4, 8 << 30, 100 << 30, "amd64", "6.1", "Test OS", "m", "s", "b")


def settings(folder: Path) -> KubeletSettings:
    return KubeletSettings(
        node_name="node-1",
        node_ips=("192.0.2.1",),
        data_dir=folder,
        kubelet_dir=folder / "kubelet",
        pod_logs_dir=folder / "logs",
        container_logs_dir=folder / "links",
        cluster_dns=("10.43.0.10",),
        resolv_conf=folder / "resolv.conf",
    )


def pod(name: str = "web", *, containers: list[Any] | None = None, **spec: Any) -> Object:
    """As it is created; ``containers`` default to one that runs for ever."""
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "nodeName": "node-1",
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "containers": containers or [container()],
            **spec,
        },
    }


def container(name: str = "main", *command: str, **more: Any) -> Object:
    return {"name": name, "image": "example.org/box:1", "command": list(command or ("forever",)), **more}


@attrs.define
class Node:
    api: FakeApi
    client: Client
    runtime: FakeRuntime
    kubelet: Kubelet
    mounter: FakeMounter
    settings: KubeletSettings
    nursery: trio.Nursery
    _life: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    async def live(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Run the kubelet until ``die``."""
        with self._life:
            await self.kubelet.run(task_status=task_status)

    def die(self) -> None:
        """The kubelet's process is killed; containers go on."""
        self._life.cancel()

    def revive(self) -> None:
        """``live`` may be run again, with another kubelet."""
        self._life = trio.CancelScope()

    async def settle(self, seconds: float = 1.0) -> None:
        """``seconds`` pass, and everybody does what there is to do."""
        await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(seconds)
        await trio.testing.wait_all_tasks_blocked()

    async def create(self, obj: Object) -> Object:
        made = await self.client.create(kinds.POD, obj)
        await self.settle()
        return made

    async def delete(self, name: str = "web", grace_s: int | None = None) -> None:
        await self.client.delete(kinds.POD, name, "default", grace_s=grace_s)
        await self.settle(0.1)

    def pod(self, name: str = "web") -> Object:
        found = self.api.one(kinds.POD, name)
        assert found is not None, f"pod {name} is not there"
        return found

    def gone(self, name: str = "web") -> bool:
        return self.api.one(kinds.POD, name) is None

    def phase(self, name: str = "web") -> str:
        return str(self.pod(name)["status"].get("phase"))

    def shown(self, container_name: str = "main", name: str = "web") -> Object:
        status = self.pod(name)["status"]
        for key in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
            for found in status.get(key) or ():
                if found["name"] == container_name:
                    return dict(found)
        raise AssertionError(f"no status of container {container_name}: {status}")

    def condition(self, type_: str, name: str = "web") -> Object:
        return next(c for c in self.pod(name)["status"]["conditions"] if c["type"] == type_)

    def events(self) -> list[tuple[str, str]]:
        return [(event["reason"], event["message"]) for event in self.api.all(kinds.EVENT)]

    async def containers(self, name: str = "") -> list[ContainerStatus]:
        return [c for c in await self.runtime.containers() if name in ("", c.name)]

    async def running(self, name: str = "main") -> ContainerStatus:
        return next(c for c in await self.containers(name) if c.state == "running")


@asynccontextmanager
async def node(folder: Path, *, before: Any = None) -> AsyncIterator[Node]:
    """``before(node)`` is awaited before the kubelet starts."""
    former = wallclock.use(lambda: EPOCH + trio.current_time())
    (folder / "resolv.conf").write_text("nameserver 192.0.2.53\nsearch lan\n")
    try:
        async with open_runtime() as runtime, trio.open_nursery() as nursery:
            runtime.add_image("example.org/box:1")
            api = FakeApi()
            client = Client(api)
            mounter = FakeMounter()
            made = Node(api, client, runtime, fresh_kubelet(folder, client, runtime, mounter), mounter, settings(folder), nursery)
            nursery.start_soon(made.kubelet.recorder.run)
            if before:
                await before(made)
            await nursery.start(made.live)
            yield made
            nursery.cancel_scope.cancel()
    finally:
        wallclock.use(former)


def fresh_kubelet(folder: Path, client: Client, runtime: FakeRuntime, mounter: FakeMounter) -> Kubelet:
    cgroups = Cgroups(folder / "cgroup")
    return Kubelet(
        settings(folder), client, runtime, Recorder(client, "kubelet", "node-1"), MACHINE, mounter=mounter, cgroups=cgroups, files=InLine()
    )
