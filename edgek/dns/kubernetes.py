"""Names of the cluster, answered from the caches of Services and EndpointSlices: Kubernetes DNS-Based Service Discovery, version 1.1.0.

Answers are compiled to bytes when they are first asked for and kept until anything changes.
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

from edgek.client.informer import Informer
from edgek.client.services import Endpoint, Service, Slice, by_service
from edgek.dns import wire
from edgek.dns.wire import Answer, Query, Question

TTL_S = 5  # short, so that a client follows a headless Service's pods
NEGATIVE_TTL_S = 5
ROTATIONS = 4  # compiled orders of one answer: enough to spread clients over a headless Service's pods
COMPILED_MOST = 8192  # questions; some 2 MB
SPEC_VERSION = "1.1.0"


# Asks the whole server, as a client would: the contents of the records of the type asked for, None when nobody could be asked.
Elsewhere = Callable[[Query], Awaitable[Sequence[bytes] | None]]


class Kubernetes:
    """``domain`` is the cluster's, such as ``cluster.local``; ``networks`` are those whose reverse names are ours."""

    def __init__(self, services: Informer[Service], slices: Informer[Slice], domain: str, networks: Iterable[str], elsewhere: Elsewhere) -> None:
        self._services = services
        self._slices = slices
        self._domain = domain.lower().strip(".")
        self._networks = [ipaddress.IPv4Network(network) for network in networks]
        self._elsewhere = elsewhere
        self._compiled: dict[bytes, list[Answer]] = {}
        self._turn = itertools.count()
        self._changes = 1
        slices.add_index("service", by_service)
        services.add_index("address", lambda view: (view.cluster_ip,) if view.cluster_ip else ())
        slices.add_index("address", lambda view: [endpoint.address for endpoint in view.endpoints])
        services.add_index("namespace", lambda view: (view.namespace,))
        services.add_handler(self._changed)
        slices.add_handler(self._changed)

    def lookup(self, query: Query) -> Answer | None:
        wanted = query.question.wire
        compiled = self._compiled.get(wanted)
        if compiled is None:
            if query.question.type in (wire.A, wire.AAAA) and self._external_target(query.question.name):
                return None
            compiled = self._compile(query.question)
            if compiled is None:
                return None
            if len(self._compiled) >= COMPILED_MOST:
                self._compiled.clear()
            self._compiled[wanted] = compiled
        return compiled[0] if len(compiled) == 1 else compiled[next(self._turn) % len(compiled)]

    async def resolve(self, query: Query) -> Answer | None:
        """An ExternalName Service's alias with the addresses behind it: stub resolvers do not follow an alias themselves."""
        target = self._external_target(query.question.name)
        if not target:
            return None
        alias = wire.record(wire.SAME_NAME, wire.CNAME, TTL_S, wire.write_name(target))
        found = await self._elsewhere(wire.ask(target, query.question.type))
        if found is None:
            return Answer(wire.SERVFAIL)
        owner = wire.write_name(target)
        records = [alias, *(wire.record(owner, query.question.type, TTL_S, content) for content in found)]
        return Answer(wire.NOERROR, len(records), 0, 0, b"".join(records))

    def _external_target(self, name: str) -> str:
        parts = self._parts(name)
        if parts is None or len(parts) != 3 or parts[2] != "svc":
            return ""
        found = self._services.get(f"{parts[1]}/{parts[0]}")
        return _target(found) if found else ""

    def _changed(self, key: str, old: object, new: object) -> None:
        self._compiled.clear()
        self._changes += 1

    def _compile(self, question: Question) -> list[Answer] | None:
        parts = self._parts(question.name)
        if parts is not None:
            return self._within(question, parts)
        if question.name.endswith(".in-addr.arpa"):
            return self._reverse(question)
        return None

    def _parts(self, name: str) -> list[str] | None:
        """The labels before the cluster's domain; None for a name outside it."""
        if name == self._domain:
            return []
        head = name.removesuffix(f".{self._domain}")
        return None if head == name else head.split(".")

    def _within(self, question: Question, parts: list[str]) -> list[Answer]:
        match parts:
            case [] | ["svc"] | ["pod"]:
                return [self._nothing()]
            case ["dns-version"]:
                text = SPEC_VERSION.encode()
                return self._records(question, wire.TXT, [bytes((len(text),)) + text])
            case [namespace, "svc" | "pod"]:
                return [self._nothing() if self._services.by_index("namespace", namespace) else self._missing()]
            case [dashed, _, "pod"]:
                return self._pod(question, dashed)
            case [*front, name, namespace, "svc"]:
                service = self._services.get(f"{namespace}/{name}")
                if service is not None:
                    return self._service(question, service, front)
        return [self._missing()]

    def _service(self, question: Question, service: Service, front: list[str]) -> list[Answer]:
        if service.external_name:
            if front:
                return [self._missing()]
            return self._records(question, wire.CNAME, [wire.write_name(_target(service))], always=True)
        match front:
            case []:
                if question.type == wire.SRV:
                    return self._srv(service, list(self._targets(service, "", "")))
                return self._addresses(question, [endpoint.address for endpoint in self._ready(service)] or [service.cluster_ip])
            case [hostname] if service.headless:
                found = [endpoint.address for endpoint in self._ready(service) if self._hostname(endpoint) == hostname]
                return self._addresses(question, found) if found else [self._missing()]
            case [port, protocol] if port.startswith("_") and protocol.startswith("_"):
                targets = list(self._targets(service, port[1:], protocol[1:]))
                if not targets:
                    return [self._missing()]
                return self._srv(service, targets) if question.type == wire.SRV else [self._nothing()]
        return [self._missing()]

    def _ready(self, service: Service) -> Iterator[Endpoint]:
        """A headless Service's backends, each address once."""
        if not service.headless:
            return
        seen = set()
        for view in self._views(service):
            for endpoint in view.endpoints:
                if endpoint.ready and endpoint.address not in seen:
                    seen.add(endpoint.address)
                    yield endpoint

    def _views(self, service: Service) -> Iterator[Slice]:
        """Slices may hold IPv6 addresses, or names: of those we have nothing to say."""
        return (view for view in self._slices.by_index("service", service.key) if view.address_type == "IPv4")

    @staticmethod
    def _hostname(endpoint: Endpoint) -> str:
        return endpoint.hostname or endpoint.address.replace(".", "-")

    def _targets(self, service: Service, port: str, protocol: str) -> Iterator[tuple[int, str, str]]:
        """``(port, target name, address)`` of each SRV record; an empty port or protocol means all."""
        own = f"{service.name}.{service.namespace}.svc.{self._domain}"
        if not service.headless:
            for one in service.ports:
                if (not port or one.name == port) and (not protocol or one.protocol.lower() == protocol):
                    yield one.port, own, service.cluster_ip
            return
        for view in self._views(service):
            for name, carried, number in view.ports:
                if (port and name != port) or (protocol and carried.lower() != protocol):
                    continue
                for endpoint in view.endpoints:
                    if endpoint.ready:
                        yield number, f"{self._hostname(endpoint)}.{own}", endpoint.address

    def _srv(self, service: Service, targets: list[tuple[int, str, str]]) -> list[Answer]:
        if not targets:
            return [self._nothing()]
        weight = 100 // len(targets) or 1
        answers = [wire.record(wire.SAME_NAME, wire.SRV, TTL_S, wire.srv(port, target, weight)) for port, target, _ in targets]
        hosts = {target: address for _, target, address in targets}
        extra = [wire.record(wire.write_name(target), wire.A, TTL_S, wire.address(address)) for target, address in hosts.items()]
        return [Answer(wire.NOERROR, len(answers), 0, len(extra), b"".join((*answers, *extra)))]

    def _pod(self, question: Question, dashed: str) -> list[Answer]:
        """``10-42-0-7.any.pod``: the address it spells, as clusters have always answered."""
        try:
            return self._addresses(question, [str(ipaddress.IPv4Address(dashed.replace("-", ".")))])
        except ValueError:
            return [self._missing()]

    def _reverse(self, question: Question) -> list[Answer] | None:
        labels = question.name.removesuffix(".in-addr.arpa").split(".")
        try:
            address = ipaddress.IPv4Address(".".join(reversed(labels)))
        except ValueError:
            return None
        names = [f"{view.name}.{view.namespace}.svc.{self._domain}" for view in self._services.by_index("address", str(address))]
        for view in self._slices.by_index("address", str(address)):
            service = self._services.get(view.service_key)
            if service is not None and service.headless:
                hosts = [self._hostname(endpoint) for endpoint in view.endpoints if endpoint.address == str(address)]
                names += [f"{host}.{view.service}.{view.namespace}.svc.{self._domain}" for host in hosts]
        if names:
            return self._records(question, wire.PTR, [wire.write_name(name) for name in names])
        return [self._missing()] if any(address in network for network in self._networks) else None

    def _addresses(self, question: Question, addresses: list[str]) -> list[Answer]:
        return self._records(question, wire.A, [wire.address(address) for address in addresses if address])

    def _records(self, question: Question, type_: int, contents: list[bytes], *, always: bool = False) -> list[Answer]:
        """Answers with these records, in several orders; no data where another type was asked for."""
        if not contents or (question.type not in (type_, wire.ANY) and not always):
            return [self._nothing()]
        records = [wire.record(wire.SAME_NAME, type_, TTL_S, content) for content in contents]
        turns = min(len(records), ROTATIONS)
        step = len(records) // turns
        orders = [records[turn * step :] + records[: turn * step] for turn in range(turns)]
        return [Answer(wire.NOERROR, len(records), 0, 0, b"".join(order)) for order in orders]

    def _nothing(self, rcode: int = wire.NOERROR) -> Answer:
        """The name is there, what was asked of it is not; with the SOA that says how long that may be remembered."""
        owner = wire.write_name(self._domain)
        return Answer(rcode, 0, 1, 0, wire.record(owner, wire.SOA, NEGATIVE_TTL_S, wire.soa(self._domain, self._changes, NEGATIVE_TTL_S)))

    def _missing(self) -> Answer:
        return self._nothing(wire.NXDOMAIN)


def _target(service: Service) -> str:
    """What an ExternalName Service stands for. It may be no name that DNS can carry: the API does not look at single labels."""
    return service.external_name.rstrip(".").lower()
