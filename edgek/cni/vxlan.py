"""Packets to other nodes' pods inside UDP: flannel's VXLAN, so that a stock flanneld can be one of the nodes.

One interface, ``flannel.1``; for each node one route, by way of the first address of its range, one neighbour entry that knows that address's
hardware address, and one forwarding entry that knows on which machine that is. All are given: nothing is learned, and nobody asks by ARP.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address

import orjson

from edgek.cni.backend import DEVICE, OURS, Here, Peer, routes_to
from edgek.host import log, netlink, vxlan
from edgek.host.netlink import Link, Neighbour, Request, Socket
from edgek.host.vxlan import Forwarding, Vxlan

IDENTIFIER = 1  # the VNI
PORT = 8472  # Linux' own, older than the registered 4789; flannel's too
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


class VxlanBackend:
    type = "vxlan"
    overhead_bytes = vxlan.OVERHEAD_BYTES
    routable = True

    def data(self, node_name: str) -> str:
        return orjson.dumps({"VNI": IDENTIFIER, "VtepMAC": mac_of(node_name)}).decode()

    def answers(self, peer: Peer) -> bool:
        return bool(published_mac(peer.data))

    def apply(self, kernel: Socket, here: Here, peers: Sequence[Peer]) -> Sequence[str]:
        if not peers and kernel.link(DEVICE) is None:
            return ()  # a node alone needs no interface
        link = _device(kernel, here)
        reached = {peer: mac for peer in peers if (mac := published_mac(peer.data))}
        kernel.run(
            *neighbour_changes(link.index, {peer.pod_range.network_address: mac for peer, mac in reached.items()}, kernel.neighbours(link.index)),
            *forwarding_changes(link.index, {mac: peer.address for peer, mac in reached.items()}, vxlan.forwardings(kernel, link.index)),
            # Last, or a packet that comes in between would make the kernel ask for an address that nobody answers for.
            *routes_to({peer.pod_range: peer.pod_range.network_address for peer in reached}, link.index, kernel.routes(), onlink=True),
        )
        return [f"{peer.name} published backend-data that is not ours: {peer.data}" for peer in peers if peer not in reached]


def mac_of(node_name: str) -> str:
    """A node's own, the same after each start, so that the others need not be told anew. Locally administered, unicast."""
    raw = bytearray(hashlib.sha256(f"edgek {DEVICE} {node_name}".encode()).digest()[:6])
    raw[0] = raw[0] & 0xFC | 0x02
    return raw.hex(":")


def published_mac(data: str) -> str:
    """Of a peer; empty when that is no VXLAN of ours."""
    try:
        found = orjson.loads(data)
        mac = str(found["VtepMAC"]).lower()
        return mac if found.get("VNI") == IDENTIFIER and _MAC.fullmatch(mac) else ""
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return ""


def neighbour_changes(index: int, wanted: Mapping[IPv4Address, str], seen: Iterable[Neighbour]) -> list[Request]:
    there = {each.address: each for each in seen}
    return [
        *(netlink.delete_neighbour(index, address) for address, each in there.items() if address not in wanted and each.permanent),
        *(netlink.set_neighbour(index, address, mac) for address, mac in wanted.items() if there.get(address) != Neighbour(address, mac, True)),
    ]


def forwarding_changes(index: int, wanted: Mapping[str, IPv4Address], seen: Iterable[Forwarding]) -> list[Request]:
    there = set(seen)
    entries = {Forwarding(mac, machine) for mac, machine in wanted.items()}
    return [
        *(vxlan.delete_forwarding(index, entry) for entry in there if entry.mac not in wanted),
        *(vxlan.set_forwarding(index, entry) for entry in sorted(entries - there, key=lambda entry: entry.mac)),
    ]


def _device(kernel: Socket, here: Here) -> Link:
    """The interface as it should be: mended where that is possible, else made anew."""
    wanted = Vxlan(IDENTIFIER, here.uplink.index, here.uplink.address, PORT)
    mac, mtu = mac_of(here.name), here.uplink.mtu - vxlan.OVERHEAD_BYTES
    link = kernel.link(DEVICE)
    if link is not None and (vxlan.of(link), link.mac, link.alias) != (wanted, mac, OURS):
        kernel.run(netlink.delete_link(DEVICE))
        link = None
    if link is None:
        kernel.run(*vxlan.add(DEVICE, wanted, mac, mtu, OURS))
        link = kernel.link(DEVICE)
        if link is None:
            raise OSError(f"the interface {DEVICE} is gone again")
        log.info("pod network across nodes", device=DEVICE, uplink=here.uplink.name, address=here.uplink.address, mtu=mtu)
        if vxlan.mend_checksums(DEVICE):
            log.info("this kernel computes wrong checksums for encapsulated packets: done without the interface's help", device=DEVICE)
    _mend(kernel, link, mtu, here.pod_range.network_address)
    return link


def _mend(kernel: Socket, link: Link, mtu: int, address: IPv4Address) -> None:
    """``address`` is what this machine's own packets to other nodes' pods come from."""
    held = [each for index, each in kernel.addresses() if index == link.index and each.version == 4]
    kernel.run(
        *([netlink.set_mtu(link.index, mtu)] if link.mtu != mtu else []),
        *([] if link.up else [netlink.set_up(link.index)]),
        *(netlink.delete_address(link.index, each, 32) for each in held if each != address),
        *([] if address in held else [netlink.add_address(link.index, address, 32)]),
    )
