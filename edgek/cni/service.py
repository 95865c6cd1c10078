"""The pod network as a part of the agent: the plugin installed, the node forwarding, the plugin's questions answered."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import trio

from edgek.cni import plugin, setup
from edgek.cni.network import PodNetwork
from edgek.host.worker import Worker

_worker = Worker(1)


async def run(folder: Path, state_dir: Path, socket: Path, *, task_status: trio.TaskStatus[PodNetwork]) -> None:
    """``folder`` gets ``bin`` and ``net.d``; ``state_dir`` is on /run. Hands over the PodNetwork, which still needs a range (``give_range``)."""
    await setup.install(folder / "bin", folder / "net.d")
    setup.set_sysctls()
    network = PodNetwork(state_dir)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(plugin.serve, network, socket))
        task_status.started(network)


async def give_range(network: PodNetwork, pod_range: str, overhead_bytes: int = 0) -> None:
    """Once the node knows its pod range; again when it changes. ``overhead_bytes`` is the backend's."""
    former = network.gateway
    mtu = await _worker.run(setup.uplink_mtu)
    network.use(pod_range, mtu - overhead_bytes)
    gateway = network.gateway
    if gateway is not None:
        await _worker.run(setup.add_gateway, gateway)
    if former is not None and former != gateway:
        await _worker.run(setup.remove_gateway, former)


async def take_range(network: PodNetwork) -> None:
    """Undo ``give_range``, for a node that is taken apart."""
    if network.gateway is not None:
        await _worker.run(setup.remove_gateway, network.gateway)
