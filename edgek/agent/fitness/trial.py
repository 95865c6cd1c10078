"""Try what a node does with the network in an empty network namespace: our own nftables program, a pair of interfaces, a tunnel.

It goes with the calling thread's return, so nothing of the machine is changed; the kernel may load modules for it, as it would for the real thing.
"""

from __future__ import annotations

import os
from ipaddress import IPv4Address

from edgek.agent.fitness.facts import Probe
from edgek.agent.proxy import program
from edgek.cni.vxlan import IDENTIFIER, PORT
from edgek.config import Config
from edgek.host import kernel, netlink, vxlan
from edgek.host.netlink import NetlinkError
from edgek.host.nft import LIBRARY, Nft, NftError

MAC, PEER_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
REFUSING = (5, 9)  # kernels from then on refuse where they translate
# What our program is made of, by the option that a kernel needs for it; the first that fails says what is wrong.
PARTS = {
    "CONFIG_NF_TABLES": "chain a { type filter hook input priority 0; }",
    "CONFIG_NF_TABLES_IPV4": "set a { type ipv4_addr; }",
    "CONFIG_NFT_CT": "chain a { ct state new drop; }",
    "CONFIG_NFT_NAT": "chain a { type nat hook prerouting priority dstnat; dnat to 192.0.2.1; }",
    "CONFIG_NFT_MASQ": "chain a { type nat hook postrouting priority srcnat; masquerade; }",
    "CONFIG_NFT_REJECT": "chain a { type filter hook input priority 0; reject; }",
    "CONFIG_NFT_FIB_IPV4": "chain a { fib daddr type local drop; }",
    "CONFIG_NFT_NUMGEN": "chain a { meta mark set numgen random mod 2; }",
}


def probe(config: Config) -> Probe:
    if os.geteuid() != 0:
        return Probe(skipped="only root may")
    try:
        return netlink.in_fresh_namespace(lambda: _probe(config))
    except PermissionError:
        return Probe(skipped="this container may make no network namespace")


def _probe(config: Config) -> Probe:
    lacks = tuple(_links_lacking())
    try:
        nft = Nft()
    except OSError:
        return Probe(no_library=LIBRARY, lacks=lacks)
    except NftError as error:
        return Probe(nft=str(error), nft_lacks=tuple(PARTS), lacks=lacks)
    try:
        said = _refusal(nft, program.whole((), config.cluster_cidr, filters=kernel.version() < REFUSING))
        missing = [
            option for option, part in PARTS.items() if said and _refusal(nft, f"table ip edgek-trial {{ {part} }}\ndelete table ip edgek-trial")
        ]
    finally:
        nft.close()
    return Probe(nft=said, nft_lacks=tuple(missing), lacks=lacks)


def _refusal(nft: Nft, words: str) -> str:
    """The library's first line, empty where it was done."""
    try:
        nft.run(words)
    except NftError as error:
        return str(error).partition("\n")[0]
    return ""


def _links_lacking() -> list[str]:
    missing = []
    own = os.open(netlink.OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with netlink.open_socket() as place:
            for option, requests in (
                ("CONFIG_VETH", (netlink.add_veth("trial0", MAC, 1400, "trial1", PEER_MAC, own),)),
                ("CONFIG_VXLAN", vxlan.add("trial2", vxlan.Vxlan(IDENTIFIER, 0, IPv4Address("127.0.0.1"), PORT), MAC, 1400, "edgek trial")),
            ):
                try:
                    place.run(*requests)
                except NetlinkError:
                    missing.append(option)
    finally:
        os.close(own)
    return missing
