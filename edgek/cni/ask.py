"""Ask other nodes through the tunnel: each is sent one frame, and its kernel answers. What comes back has gone through UDP 8472 both ways."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from edgek.cni.backend import DEVICE, Here, Peer
from edgek.cni.reach import Traffic
from edgek.cni.vxlan import mac_of, published_mac
from edgek.host import netlink
from edgek.host.arp import Asker, Station
from edgek.host.worker import Threads


async def ask(threads: Threads, answer_s: float, here: Here, peers: Sequence[Peer]) -> Sequence[Peer]:
    """Those who answered within ``answer_s``; sooner where all did."""
    stations = {Station(peer.pod_range.network_address, published_mac(peer.data)): peer for peer in peers}
    try:
        asker = await threads.run(Asker, DEVICE)
    except OSError:
        return ()  # the tunnel is being made anew
    heard: set[object] = set()
    try:
        source = Station(here.pod_range.network_address, mac_of(here.name))
        for station in stations:
            asker.ask(source, station)
        with trio.move_on_after(answer_s):
            while len(heard) < len(stations):
                heard |= await asker.answers() & {station.address for station in stations}
    except OSError:
        pass  # the tunnel went meanwhile
    finally:
        asker.close()
    return [peer for station, peer in stations.items() if station.address in heard]


async def traffic(threads: Threads) -> Traffic | None:
    """What went into the tunnel and came out of it; None while there is none."""
    return await threads.run(_traffic)


def _traffic() -> Traffic | None:
    with netlink.open_socket() as kernel:
        found = kernel.packets(DEVICE)
    return Traffic(*found) if found else None
