"""The pod network as a part of the agent: the plugin installed and put back where somebody removes it, the node forwarding, the plugin's questions
answered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import trio

from edgek.cni import plugin, setup
from edgek.cni.network import PodNetwork
from edgek.host import log, watch

REMOVED = watch.DELETED | watch.MOVED_OUT | watch.ITSELF_GONE
SETTLE_S = 0.2  # who removes one file removes more
RETRY_S = 10.0  # on a full disk


async def run(folder: Path, state_dir: Path, socket: Path, *, task_status: trio.TaskStatus[PodNetwork]) -> None:
    """``folder`` gets ``bin`` and ``net.d``; ``state_dir`` is on /run. Hands over the PodNetwork; ``node_network.py`` gives it its range."""
    install = partial(setup.install, folder / "bin", folder / "net.d")
    await install()
    setup.set_sysctls()
    network = PodNetwork(state_dir)
    async with trio.open_nursery() as nursery:
        for place in (folder / "bin", folder / "net.d"):
            nursery.start_soon(_keep_installed, place, install)
        await nursery.start(partial(plugin.serve, network, socket))
        task_status.started(network)


async def _keep_installed(place: Path, install: Callable[[], Awaitable[None]]) -> None:
    """containerd notices by itself that its configuration is back."""
    while True:
        try:
            with _watched(place) as changes:
                await install()
                async for change in changes:
                    if not change.name.startswith("."):  # those are files on their way to their names
                        break
            log.warning("the pod network's plugin was removed, putting it back", folder=place)
            await trio.sleep(SETTLE_S)
        except OSError as exc:
            log.warning("the pod network's plugin cannot be put back", folder=place, error=exc, retry_s=RETRY_S)
            await trio.sleep(RETRY_S)


def _watched(place: Path) -> AbstractContextManager[watch.Folder]:
    place.mkdir(parents=True, exist_ok=True)
    return watch.folder(place, REMOVED)
