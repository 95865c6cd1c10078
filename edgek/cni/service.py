"""The pod network as a part of the agent: the plugin installed, the node forwarding, the plugin's questions answered."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import trio

from edgek.cni import plugin, setup
from edgek.cni.network import PodNetwork


async def run(folder: Path, state_dir: Path, socket: Path, *, task_status: trio.TaskStatus[PodNetwork]) -> None:
    """``folder`` gets ``bin`` and ``net.d``; ``state_dir`` is on /run. Hands over the PodNetwork; ``node_network.py`` gives it its range."""
    await setup.install(folder / "bin", folder / "net.d")
    setup.set_sysctls()
    network = PodNetwork(state_dir)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(plugin.serve, network, socket))
        task_status.started(network)
