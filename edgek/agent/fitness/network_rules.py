"""What edgek needs of a machine's network: nftables and interfaces, ports, ranges of addresses that are free. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Literal

from edgek.agent.fitness.facts import Listener, Network, Ports, Probe
from edgek.agent.fitness.finding import Finding
from edgek.config import Config

DNS_PORT = 53
VXLAN_PORT = 8472


def probe(seen: Probe, config: Config) -> Iterator[Finding]:
    if seen.skipped:
        yield Finding("advice", f"nftables and interfaces were not tried: {seen.skipped}", "run `sudo edgek check` for the whole picture")
        return
    if seen.no_library:
        yield Finding("problem", f"{seen.no_library} is not on this machine", "install it (Debian: apt-get install libnftables1)")
    elif seen.nft:
        lacks = " ".join(seen.nft_lacks)
        what = f"the kernel's nftables lacks {lacks}" if lacks and "CONFIG_NF_TABLES" not in seen.nft_lacks else "the kernel has no nftables"
        yield Finding(
            "problem",
            f"{what} ({seen.nft})",
            f"`modprobe nf_tables nft_chain_nat nft_fib_ipv4`; a kernel of your own needs {lacks or 'CONFIG_NF_TABLES'}",
        )
    else:
        yield Finding("ok", "nftables takes our rules")
    for option in seen.lacks:
        name = option.removeprefix("CONFIG_").lower()
        if option == "CONFIG_VXLAN" and config.flannel_backend != "vxlan":
            continue
        other = "; or `--flannel-backend host-gw` on the server, where all nodes share a link" if option == "CONFIG_VXLAN" else ""
        level: Literal["advice", "problem"] = "advice" if option == "CONFIG_VXLAN" else "problem"  # a node alone needs no tunnel
        yield Finding(level, f"the kernel makes no {name} interfaces", f"`modprobe {name}`; a kernel of your own needs {option}{other}")


def ports(seen: Ports, config: Config, *, server: bool) -> Iterator[Finding]:
    if server:
        yield from _api_port(seen, config)
    if config.disable_agent:
        return
    for protocol in ("udp", "tcp"):
        holder = _held(seen, protocol, DNS_PORT, everywhere=True)
        if holder is not None and (holder.holder is None or holder.holder.pid != seen.own):
            yield Finding(
                "problem",
                f"port {DNS_PORT}/{protocol} is held on every address by {_name(holder)}; edgek's DNS needs it on {config.cluster_dns}",
                "let that listen on addresses of its own alone (dnsmasq: bind-interfaces, named: listen-on), or stop it",
            )
    if config.flannel_backend == "vxlan":
        holder = _held(seen, "udp", VXLAN_PORT)
        if holder is not None and holder.holder is not None:
            yield Finding(
                "problem",
                f"port {VXLAN_PORT}/udp is held by {holder.holder}; other nodes' packets come in there",
                "stop it, or choose --flannel-backend host-gw on the server",
            )


def _api_port(seen: Ports, config: Config) -> Iterator[Finding]:
    port = config.https_listen_port
    why = seen.refused.get(f"tcp/{port}", "")
    holder = _held(seen, "tcp", port)
    if holder is not None and holder.holder is not None and holder.holder.pid == seen.own:
        yield Finding("ok", f"port {port} is held by the edgek that runs here ({seen.own})")
    elif holder is not None and why:
        yield Finding("problem", f"port {port}/tcp is held by {_name(holder)}", f"stop it, or choose another by --https-listen-port (it was {port})")
    elif why:
        yield Finding(
            "problem", f"the API cannot listen on {config.bind_address}:{port}: {why}", "choose an address of this machine by --bind-address"
        )
    else:
        yield Finding("ok", f"port {port} is free")


def _held(seen: Ports, protocol: str, port: int, *, everywhere: bool = False) -> Listener | None:
    fitting = [each for each in seen.listeners if (each.protocol, each.port) == (protocol, port) and (each.address is None or not everywhere)]
    return next((each for each in fitting if each.holder), fitting[0] if fitting else None)


def _name(listener: Listener) -> str:
    return str(listener.holder) if listener.holder else "a process that cannot be seen from here"


def network(seen: Network, config: Config) -> Iterator[Finding]:
    for flag, cidr in (("--cluster-cidr", config.cluster_cidr), ("--service-cidr", config.service_cidr)):
        for link, address in seen.addresses:
            if address.version == 4 and address in ipaddress.ip_network(cidr):
                yield Finding(
                    "problem",
                    f"{link} has the address {address}, which is of {flag} {cidr}",
                    f"choose another range by {flag}, on the server, before its first start",
                )
    if config.flannel_backend == "vxlan":
        for name, port in seen.tunnels:
            if name == "flannel.1" or port == VXLAN_PORT:
                yield Finding(
                    "advice",
                    f"{name} is another network's VXLAN interface on UDP {port}",
                    f"stop what made it (k3s, flanneld), then `ip link del {name}`: edgek would take it over",
                )
    for chain in seen.dropping:
        yield Finding(
            "advice",
            f"the firewall's chain {chain} drops what no rule of its own lets through",
            f"let {config.cluster_cidr} through it, both ways (ufw: `ufw allow from {config.cluster_cidr}` and "
            f"`ufw route allow from {config.cluster_cidr}`; "
            'Docker: "ip-forward-no-drop": true in /etc/docker/daemon.json)',
        )
