"""Which nftables elements carry the Services: pure, from Services and endpoints to elements, and from elements to programs.

The design is flat: a lookup costs the same with ten Services as with ten thousand. A map finds what to do with an address and port; one chain for
each *number* of endpoints picks a slot; a map finds the endpoint of that slot. So a changed endpoint is one element, not a chain.

    services       address . protocol . port -> goto pick-N | drop
    node_ports     protocol . port           -> goto ext-N | ...
    endpoints      address . protocol . port . slot -> endpoint

Session affinity has a chain for each Service instead: it remembers a client's endpoint by a number that stays the endpoint's own.
Everything stands in one table of ours; those of the host's firewall are not touched.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence

import attrs

from edgek.client.services import Service, ServicePort, Slice

TABLE = "ip edgek"
MASQUERADE = 0x4000  # the mark of packets whose source becomes this node's: upstream's bit
_MARK = f"meta mark set meta mark | {MASQUERADE:#x}"
# The register of a look-up, which needs a named type (a map declared by ``typeof numgen`` cannot be changed later: the library does not understand
# what it wrote about it). A packet's priority is free to be used: the kernel sets that of a forwarded one anew, from its type of service.
PICKED = "meta priority"
CHAIN = "chain"  # the pseudo-map of chains: name -> rules

# One thing in the kernel: map, key, value ("" in a set).
Element = tuple[str, str, str]
Backend = tuple[str, int]  # address, port


@attrs.frozen
class Node:
    """This node, as far as rules depend on it. ``own_addresses`` are Service addresses served here by other means (DNS)."""

    name: str
    own_addresses: frozenset[str] = frozenset()


@attrs.frozen
class HostPort:
    """A pod's port on the node; ``address`` empty means every address of the node. ``protocol`` is lower case."""

    address: str
    protocol: str
    port: int
    pod_address: str
    pod_port: int


@attrs.frozen
class Choice:
    """How one address and port is balanced over its endpoints. ``drop``: there are endpoints, but none that may be used from here."""

    backends: tuple[Backend, ...]
    affinity_s: int = 0
    masquerade: bool = False
    drop: bool = False


@attrs.frozen
class Door:
    """Where a Service is reached: the maps that know it, and what their keys begin with."""

    verdicts: str
    backends: str
    memory: str
    absent: str
    head: str


ADDRESS = Door("services", "endpoints", "affinity", "no_endpoints", "ip daddr . ")
NODE_PORT = Door("node_ports", "node_endpoints", "node_affinity", "no_node_endpoints", "")


def of_service(service: Service, slices: Sequence[Slice], node: Node) -> tuple[Element, ...]:
    """All elements of one Service; none for what has no address. No key twice."""
    if service.headless or not service.cluster_ip:
        return ()
    found: dict[tuple[str, str], str] = {}
    for port in service.ports:
        for name, key, value in _of_port(service, port, slices, node):
            found.setdefault((name, key), value)
    return tuple((name, key, value) for (name, key), value in found.items())


def of_host_port(one: HostPort) -> tuple[Element, ...]:
    target = f"{one.pod_address} . {one.pod_port}"
    hairpin = ("hairpin", f"{one.pod_address} . {one.pod_address}", "")
    if one.address:
        return (("address_host_ports", f"{one.address} . {one.protocol} . {one.port}", target), hairpin)
    return (("host_ports", f"{one.protocol} . {one.port}", target), hairpin)


def _of_port(service: Service, port: ServicePort, slices: Sequence[Slice], node: Node) -> Iterator[Element]:
    everyone, here = usable(port, slices), usable(port, slices, node.name)
    for address, _ in here:
        yield "hairpin", f"{address} . {address}", ""
    inside = _choice(everyone, here, service, local=service.internal_local, outside=False)
    outside = _choice(everyone, here, service, local=service.external_local, outside=True)
    number = f"{port.protocol.lower()} . {port.port}"
    if service.cluster_ip not in node.own_addresses:
        yield from _at(ADDRESS, f"{service.cluster_ip} . {number}", inside)
    for address in (*service.external_ips, *service.balancer_ips):
        yield from _at(ADDRESS, f"{address} . {number}", outside)
    if port.node_port:
        yield from _at(NODE_PORT, f"{port.protocol.lower()} . {port.node_port}", outside)


def usable(port: ServicePort, slices: Sequence[Slice], node: str = "") -> tuple[Backend, ...]:
    """Endpoints to send to, sorted: those that are ready, else those that still serve while they end. With ``node`` only those there."""
    ready: set[Backend] = set()
    leaving: set[Backend] = set()
    for view in slices:
        numbers = [number for name, protocol, number in view.ports if (name, protocol) == (port.name, port.protocol) and number]
        for endpoint in view.endpoints if view.address_type == "IPv4" else ():
            if node and endpoint.node != node:
                continue
            if endpoint.ready:
                ready.update((endpoint.address, number) for number in numbers)
            elif endpoint.serving and endpoint.terminating:
                leaving.update((endpoint.address, number) for number in numbers)
    return tuple(sorted(ready or leaving))


def _choice(everyone: tuple[Backend, ...], here: tuple[Backend, ...], service: Service, *, local: bool, outside: bool) -> Choice:
    """A local policy keeps the client's address and never leaves the node; otherwise traffic from outside takes on the node's."""
    if local:
        return Choice(here, service.affinity_s, masquerade=False, drop=bool(everyone) and not here)
    return Choice(everyone, service.affinity_s, masquerade=outside)


def _at(door: Door, key: str, choice: Choice) -> Iterator[Element]:
    if choice.drop:
        yield door.verdicts, key, "drop"
    elif not choice.backends:
        yield door.absent, key, ""
    elif choice.affinity_s:
        yield from _affine(door, key, choice)
    else:
        count = len(choice.backends)
        name = f"{'ext' if choice.masquerade else 'pick'}{'' if door.head else '-node'}-{count}"
        pick = f"{PICKED} set numgen random mod {count}"
        to_it = f"dnat ip to {door.head}meta l4proto . th dport . {PICKED} map @{door.backends}"
        yield CHAIN, name, "".join(f"{rule}; " for rule in (*([_MARK] if choice.masquerade else []), pick, to_it))
        yield door.verdicts, key, f"goto {name}"
        for slot, (address, number) in enumerate(choice.backends):
            yield door.backends, f"{key} . {slot}", f"{address} . {number}"


def _affine(door: Door, key: str, choice: Choice) -> Iterator[Element]:
    """The client's endpoint if it has one that is still there, else one by chance, which is remembered."""
    numbers = [backend_number(backend) for backend in choice.backends]
    slots = ", ".join(f"{slot} : {number:#x}" for slot, number in enumerate(numbers))
    service = f"{door.head}meta l4proto . th dport"
    client = f"ip saddr . {service}"
    remember = f"update @{door.memory} {{ {client} timeout {choice.affinity_s}s : {PICKED} }}"
    rules = [
        *([_MARK] if choice.masquerade else []),
        f"{PICKED} set 0",
        f"{PICKED} set {client} map @{door.memory}",
        f"{PICKED} != 0 {remember}",
        f"dnat ip to {service} . {PICKED} map @affine_{door.backends}",
        # An update only renews a memory's time: one that names an endpoint that is gone has to go first.
        f"delete @{door.memory} {{ {client} : {PICKED} }}",
        f"{PICKED} set numgen random mod {len(numbers)} map {{ {slots} }}",
        remember,
        f"dnat ip to {service} . {PICKED} map @affine_{door.backends}",
    ]
    body = "; ".join(rules) + ";"
    name = f"affine-{zlib.crc32(key.encode()):08x}-{zlib.crc32(body.encode()):08x}"
    yield CHAIN, name, body
    yield door.verdicts, key, f"goto {name}"
    for number, (address, port) in zip(numbers, choice.backends, strict=True):
        yield f"affine_{door.backends}", f"{key} . {number:#x}", f"{address} . {port}"


def backend_number(backend: Backend) -> int:
    """An endpoint's number: its own whatever comes and goes beside it, and never 0."""
    return zlib.crc32(f"{backend[0]}:{backend[1]}".encode()) | 0x10000


def udp_addresses(elements: Iterable[Element]) -> set[tuple[str, str, int]]:
    """``(endpoint, Service address or "", port)`` of UDP endpoints among these: flows to them outlive them in the connection table."""
    found = set()
    for name, key, value in elements:
        parts = key.split(" . ")
        if not value or CHAIN in name or "udp" not in parts:
            continue
        at = parts.index("udp")
        found.add((value.split(" . ")[0], parts[0] if at else "", int(parts[at + 1])))
    return {entry for entry in found if entry[0][:1].isdigit()}
