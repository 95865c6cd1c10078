"""Cluster DNS on every node: see README.md. ``build`` puts the plugins in their order."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from edgek.client.informer import Informer
from edgek.client.services import Service, Slice
from edgek.dns.cache import Cache
from edgek.dns.forward import Forward, Resolvers
from edgek.dns.kubernetes import Kubernetes
from edgek.dns.server import Server


def build(
    address: str,
    domain: str,
    networks: Iterable[str],
    services: Informer[Service],
    slices: Informer[Slice],
    *,
    port: int = 53,
    resolv_conf: Path = Path("/etc/resolv.conf"),
) -> Server:
    """A server whose plugins are, in order: the cluster's names, the cache, this machine's resolvers."""
    server = Server(address, port)
    cache = Cache()
    server.plugins += [Kubernetes(services, slices, domain, networks, server.ask), cache, Forward(Resolvers(resolv_conf, address), cache)]
    return server
