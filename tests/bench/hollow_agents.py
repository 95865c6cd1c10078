"""Agents without a machine: real membership, link, kubelet and node keeper over runtimes in memory, many of them in one process.

    python -m tests.bench.hollow_agents --join https://HOST:6443 --token TOKEN --folder DIR --first 1 --count 25

They ask of the server what a real agent asks: the pod network's watch of all nodes and the proxy's caches are there, though nobody sets a route or a
rule by them. What they mount and write lies below the folder; ``argv`` runs them in a mount namespace, where all of it is in memory and goes with
them, and where they find no cgroups.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address
from pathlib import Path

import trio

from edgek import config
from edgek.client.client import Client
from edgek.client.informer import Informer
from edgek.client.transport import Disconnected
from edgek.cni import nodes
from edgek.cni.backends import BACKENDS
from edgek.host import log, service
from edgek.host.service import Service
from edgek.model import errors, kinds
from edgek.roles.agent import Agent
from edgek.roles.member import Member
from tests.fakes.runtime import FakeRuntime

RETRY_S = 1.0
OWN_MOUNTS = 'mount -t tmpfs none /sys/fs/cgroup && mount -t tmpfs none "$0" && exec "$@"'


def argv(join: str, token: str, folder: Path, first: int, count: int) -> list[str | Path]:
    """The command that runs so many of them. The folder has to be there."""
    program = [sys.executable, "-m", __name__, "--join", join, "--token", token, "--folder", folder, "--first", str(first), "--count", str(count)]
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", OWN_MOUNTS, folder, *program]


def name(number: int) -> str:
    return f"hollow-{number:03d}"


class HollowNetwork:
    """What the node asks of its pod network; and it says to the others what a real one says."""

    def __init__(self, agent: HollowAgent) -> None:
        self.ranged = trio.Event()
        self._agent = agent
        self._client = agent.client("pod-network")
        self._nodes = Informer(self._client, kinds.NODE, nodes.view)
        self._changed = trio.Event()

    def expect(self, addresses: Mapping[str, IPv4Address]) -> None:
        """Addresses are the runtime's."""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        self._nodes.add_handler(lambda *_: self._changed.set())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._nodes.run)
            task_status.started()
            while True:
                await self._changed.wait()
                self._changed = trio.Event()
                await self._tell()

    async def _tell(self) -> None:
        told = self._agent.config
        own = self._nodes.get(told.node_name)
        if own is None:
            return
        if own.pod_range:
            self.ranged.set()
        wanted = nodes.announcement(BACKENDS[told.flannel_backend](), own.name, IPv4Address(self._agent.node_ips[0]), own.told)
        if any(own.told.get(key) != value for key, value in wanted.items()):
            try:
                await self._client.patch(kinds.NODE, own.name, {"metadata": {"annotations": wanted}})
            except (errors.ApiError, Disconnected):
                await trio.sleep(RETRY_S)
                self._changed.set()


class HollowAgent(Agent):
    def services(self) -> Iterator[Service]:
        yield Service("pod network", self.run_network)
        yield Service("container runtime", self.run_runtime)
        yield Service("what the cluster offers", self.run_knowledge)
        yield Service("kubelet", self.run_kubelet)
        yield Service("local storage", self.run_local_storage)

    def client(self, user_agent: str) -> Client:
        return self._make_client(user_agent)

    async def run_network(self, *, task_status: trio.TaskStatus[None]) -> None:
        self.network = HollowNetwork(self)
        await self.network.run(task_status=task_status)

    async def run_runtime(self, *, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            self.runtime = FakeRuntime(nursery)
            self.runtime.pulls_anything = True
            self.runtime.pod_range = f"10.{100 + int(self.config.node_ip.rpartition('.')[2])}"
            task_status.started()
            await trio.sleep_forever()


def configuration(join: str, token: str, folder: Path, number: int) -> config.Config:
    here = folder / name(number)
    flags = {"join": join, "token": token, "data_dir": here / "d", "run_dir": here / "r", "node_name": name(number), "node_ip": f"203.0.113.{number}"}
    nothing = folder / "config.yaml"
    nothing.touch()
    return config.load(flags, {}, nothing, "")


async def run(join: str, token: str, folder: Path, numbers: range) -> None:
    async with trio.open_nursery() as nursery:
        for number in numbers:
            nursery.start_soon(service.run, [*Member(configuration(join, token, folder, number), HollowAgent).services()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for flag, parse in (("--join", str), ("--token", str), ("--folder", Path), ("--first", int), ("--count", int)):
        parser.add_argument(flag, type=parse, required=True)
    asked = parser.parse_args()
    log.configure("warning")
    trio.run(run, asked.join, asked.token, asked.folder, range(asked.first, asked.first + asked.count), strict_exception_groups=True)


if __name__ == "__main__":
    main()
