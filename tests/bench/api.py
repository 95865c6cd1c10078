"""What requests cost the API server: its CPU for each, over TLS that stays open, with a service account's token.

A whole server without a node, its controllers and scheduler running: what they do because of a request counts too. Load comes from this process, so
from the other core; a client asks again as soon as it was answered.
"""

from __future__ import annotations

import itertools
import resource
import select
import ssl
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from tests.bench.box import Box
from tests.bench.connection import Access, Connection
from tests.bench.figures import at_most
from tests.bench.process import Process

LINES = {
    "get_32_cpu_us": at_most(80),
    "create_1_cpu_us": at_most(400),
    "create_64_cpu_us": at_most(400),
    "list_10000_pods_cpu_ms": at_most(150),
    "memory_10000_pods_mb": at_most(70),
    "event_to_1000_ms": at_most(40),
}
NAMESPACE = "/api/v1/namespaces/bench"
ROUNDS = 3
GETS, CREATES = 6000, 2000
GROUPS = (200, 1000)
EVENTS = 11
PODS = (1000, 10_000)
LISTS = 5
OPEN_FILES = 8192
SETTLE_S = 5.0


def measure() -> dict[str, float]:
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, max(OPEN_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    box = Box("--disable-agent")
    try:
        box.cluster.start(ready=False)
        box.cluster.until(box.cluster.kubeconfig.exists, 30, "the API listens")
        box.wait_for_account()
        access = box.access().as_account()
        with access.connect() as client:
            client.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "bench"}}, 201)
            client.ask("POST", f"{NAMESPACE}/configmaps", config_map("first"), 201)
        time.sleep(SETTLE_S)
        found = _gets(box.server, access) | _creates(box.server, access)
        for watchers in GROUPS:
            found |= _watchers(box.server, access, watchers)
        return found | _lists(box.server, access)
    finally:
        box.cluster.remove()


def config_map(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": {"key": "x" * 200}}


def pod(name: str) -> dict[str, Any]:
    """Some 4 KB once stored. It says where it runs, so no scheduler looks for a place."""
    env = [{"name": f"VARIABLE_{number}", "value": "x" * 24} for number in range(28)]
    container = {"name": "c", "image": "registry.example.org/team/web:1.2.3", "env": env, "resources": {"limits": {"cpu": "1", "memory": "64Mi"}}}
    return {"metadata": {"name": name, "labels": {"app": "web", "tier": "a"}}, "spec": {"nodeName": "ghost", "containers": [container]}}


# Requests.


def _gets(server: Process, access: Access) -> dict[str, float]:
    found = {}
    for clients in (1, 32):
        costs = [_flood(server, access, clients, GETS // (4 if clients == 1 else 1), _get) for _ in range(ROUNDS)]
        found |= _medians(f"get_{clients}", costs)
    return found


def _creates(server: Process, access: Access) -> dict[str, float]:
    found, numbers = {}, itertools.count()

    def create(client: Connection) -> bytes:
        return client.encoded("POST", f"{NAMESPACE}/configmaps", config_map(f"c-{next(numbers)}"))

    for clients in (1, 64):
        costs = [_flood(server, access, clients, CREATES, create) for _ in range(ROUNDS)]
        found |= _medians(f"create_{clients}", costs)
    return found


def _get(client: Connection) -> bytes:
    return client.encoded("GET", f"{NAMESPACE}/configmaps/first")


@attrs.frozen
class Cost:
    """Of one request."""

    cpu_us: float
    per_s: float
    latencies_ms: list[float]


def _medians(name: str, costs: list[Cost]) -> dict[str, float]:
    every = sorted(itertools.chain.from_iterable(cost.latencies_ms for cost in costs))
    return {
        f"{name}_cpu_us": statistics.median(cost.cpu_us for cost in costs),
        f"{name}_per_s": statistics.median(cost.per_s for cost in costs),
        f"{name}_p50_ms": every[len(every) // 2],
        f"{name}_p99_ms": every[int(len(every) * 0.99)],
    }


def _flood(server: Process, access: Access, clients: int, count: int, request: Callable[[Connection], bytes]) -> Cost:
    """So many requests by so many clients, each with one on its way at a time."""
    connections = {c.sock.fileno(): c for c in (access.connect() for _ in range(clients))}
    poll = select.epoll()
    for descriptor in connections:
        poll.register(descriptor, select.EPOLLIN)
    sent: dict[int, float] = {}
    latencies: list[float] = []

    def ask(descriptor: int) -> None:
        sent[descriptor] = time.monotonic()
        connections[descriptor].sock.sendall(request(connections[descriptor]))

    cpu, began = server.cpu_s(), time.monotonic()
    for descriptor in connections:
        ask(descriptor)
    while len(latencies) < count:
        for descriptor, _ in poll.poll():
            status, answer = connections[descriptor].receive()
            assert status in (200, 201), answer
            latencies.append((time.monotonic() - sent.pop(descriptor)) * 1000)
            if len(latencies) + len(sent) < count:
                ask(descriptor)
    spent, took = server.cpu_s() - cpu, time.monotonic() - began
    for connection in connections.values():
        connection.sock.close()
    return Cost(spent / count * 1e6, count / took, latencies)


# Watches.


def _watchers(server: Process, access: Access, watchers: int) -> dict[str, float]:
    before = server.memory_mb()["resident"]
    connections, poll = {}, select.epoll()
    for _ in range(watchers):
        client = access.connect()
        client.sock.sendall(client.encoded("GET", f"{NAMESPACE}/secrets?watch=1"))
        assert b" 200 " in client.sock.recv(65536)
        client.sock.setblocking(False)
        connections[client.sock.fileno()] = client
        poll.register(client.sock, select.EPOLLIN)
    time.sleep(1)
    _heard(poll, connections, 0.5)  # what was there before
    each_kb = (server.memory_mb()["resident"] - before) / watchers * 1024
    with access.connect() as writer:
        cpu, took = server.cpu_s(), list[float]()
        for number in range(EVENTS):
            body = {"metadata": {"name": f"s-{watchers}-{number}"}, "data": {"key": "eHh4" * 900}}
            began = time.monotonic()
            writer.sock.sendall(writer.encoded("POST", f"{NAMESPACE}/secrets", body))
            left = watchers
            while left:
                left -= _heard(poll, connections, 10)
            took.append((time.monotonic() - began) * 1000)
            assert writer.receive()[0] == 201
        cpu = (server.cpu_s() - cpu) / EVENTS
    for client in connections.values():
        client.sock.close()
    return {f"event_to_{watchers}_ms": statistics.median(took), f"event_to_{watchers}_cpu_ms": cpu * 1000, f"watcher_of_{watchers}_kb": each_kb}


def _heard(poll: select.epoll, connections: dict[int, Connection], timeout_s: float) -> int:
    """How many have heard something; what they heard is read."""
    ready = poll.poll(timeout_s)
    for descriptor, _ in ready:
        for _ in _available(connections[descriptor].sock):
            pass
    return len(ready)


def _available(sock: ssl.SSLSocket) -> Iterator[bytes]:
    try:
        while True:
            yield sock.recv(65536)
    except ssl.SSLWantReadError:
        return


# Long lists.


def _lists(server: Process, access: Access) -> dict[str, float]:
    found, numbers, there = {}, itertools.count(), 0
    with access.connect() as client:
        client.ask("POST", "/api/v1/nodes", {"metadata": {"name": "ghost"}}, 201)

        def create(connection: Connection) -> bytes:
            return connection.encoded("POST", f"{NAMESPACE}/pods", pod(f"p-{next(numbers)}"))

        before = server.memory_mb()["resident"]
        for pods in PODS:
            cost = _flood(server, access, 8, pods - there, create)
            there = pods
            cpu, took = [], []
            for _ in range(LISTS):
                spent, began = server.cpu_s(), time.monotonic()
                client.sock.sendall(client.encoded("GET", f"{NAMESPACE}/pods"))
                status, answer = client.receive()
                assert status == 200, answer[:400]
                took.append((time.monotonic() - began) * 1000)
                cpu.append((server.cpu_s() - spent) * 1000)
            found |= {
                f"create_pod_until_{pods}_cpu_us": cost.cpu_us,
                f"list_{pods}_pods_cpu_ms": sum(cpu) / LISTS,
                f"list_{pods}_pods_ms": statistics.median(took),
                f"list_{pods}_pods_mb": len(answer) / 1e6,
            }
        time.sleep(SETTLE_S)
        found[f"memory_{there}_pods_mb"] = server.memory_mb()["resident"] - before
    return found
