"""Cluster DNS with the names of 2,000 Services: queries per second of its CPU, latency at a steady pace, and the memory it adds.

    python -m tests.bench.dns

is the server in a process of its own: it prints its port, and its memory before the server was made.
"""

from __future__ import annotations

import json
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import trio

from tests.bench.caches import Caches
from tests.bench.figures import at_least, at_most
from tests.bench.process import Process
from tests.e2e.cluster import REPOSITORY

LINES = {"queries_per_cpu_s": at_least(50_000), "memory_mb": at_most(3)}
SERVICES = 2000
QUERIES = 100_000
OUTSTANDING = 50
ROUNDS = 3
PACE_PER_S, PACED = 1000, 5000


def measure() -> dict[str, float]:
    argv = [sys.executable, "-m", "tests.bench.dns"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as child:
        assert child.stdin and child.stdout
        try:
            started = json.loads(child.stdout.readline())
            server = Process(child.pid)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.connect(("127.0.0.1", started["port"]))
                rounds = sorted(_flood(server, client) for _ in range(ROUNDS))
                latencies = _paced(client)
            return {
                "queries_per_cpu_s": rounds[ROUNDS // 2][0],
                "queries_per_s": rounds[ROUNDS // 2][1],
                "p50_at_1000_per_s_ms": latencies[len(latencies) // 2],
                "p99_at_1000_per_s_ms": latencies[int(len(latencies) * 0.99)],
                "memory_mb": server.memory_mb()["resident"] - started["before_mb"],
            }
        finally:
            child.kill()


def question(number: int, name: int) -> bytes:
    """An A question as musl and glibc ask it."""
    labels = b"".join(bytes([len(label)]) + label for label in (b"web-%d" % name, b"default", b"svc", b"cluster", b"local"))
    return struct.pack("!HHHHHH", number & 0xFFFF, 0x0100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"


def _flood(server: Process, client: socket.socket) -> tuple[float, float]:
    """Queries per second of the server's CPU, and per second."""
    questions = [question(number, random.randrange(SERVICES)) for number in range(10_000)]
    cpu, began, sent = server.cpu_s(), time.monotonic(), OUTSTANDING
    client.settimeout(2)
    for number in range(OUTSTANDING):
        client.send(questions[number])
    for _ in range(QUERIES):
        answer = client.recv(512)
        assert answer[3] & 15 == 0 and answer[7] == 1, "no answer with one record"
        if sent < QUERIES:
            client.send(questions[sent % len(questions)])
            sent += 1
    return QUERIES / (server.cpu_s() - cpu), QUERIES / (time.monotonic() - began)


def _paced(client: socket.socket) -> list[float]:
    """Milliseconds, sorted."""
    took, began = [], time.monotonic()
    client.setblocking(False)
    for number in range(PACED):
        due = began + number / PACE_PER_S
        while (left := due - time.monotonic()) > 0:
            select.select([], [], [], left)
        sent = time.monotonic()
        client.send(question(number, number % SERVICES))
        assert select.select([client], [], [], 2)[0], "no answer"
        client.recv(512)
        took.append((time.monotonic() - sent) * 1000)
    return sorted(took)


async def _serve() -> None:
    """What others share (the caches and the modules of trio) is there before we weigh."""
    caches = Caches()
    caches.fill(SERVICES)
    caches.slices.add_index("service", lambda view: (view.service_key,))  # the proxy's
    before = Process(os.getpid()).memory_mb()["resident"]
    from edgek import dns

    networks = ["10.42.0.0/16", "10.43.0.0/16"]
    server = dns.build("127.0.0.1", "cluster.local", networks, caches.services, caches.slices, port=0, resolv_conf=Path("/dev/null"))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        print(json.dumps({"port": server.port, "before_mb": before}), flush=True)


if __name__ == "__main__":
    trio.run(_serve)
