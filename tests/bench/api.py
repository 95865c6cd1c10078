"""What requests cost the API server: CPU of the server per request, over TLS with a token.

    python -m tests.bench.api [--pods 10000] [--watchers 1000] [--sqlite]

starts the bare server of the golden check in a process of its own. The lines to hold: GET 80 us, CREATE 400 us (ConfigMap), LIST of 10k Pods
150 ms, an event to 1,000 watchers 40 ms, 30 KB for an idle watcher. One client in turn (a wake-up per request) costs more than many at once; both
are shown.
"""

from __future__ import annotations

import argparse
import os
import select
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import orjson

PORT = 16599
HEADERS = "Host: x\r\nAuthorization: Bearer golden-admin-token\r\nAccept: application/json\r\nUser-Agent: bench\r\n"
HERE = "/api/v1/namespaces/bench"
TICKS = os.sysconf("SC_CLK_TCK")


@attrs.frozen
class Server:
    pid: int
    context: ssl.SSLContext

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory_kb(self) -> int:
        return next(int(line.split()[1]) for line in Path(f"/proc/{self.pid}/status").read_text().splitlines() if line.startswith("VmRSS"))

    def connect(self) -> ssl.SSLSocket:
        sock = socket.create_connection(("127.0.0.1", PORT))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.context.wrap_socket(sock, server_hostname="127.0.0.1")


def encoded(method: str, path: str, body: object = None) -> bytes:
    raw = b"" if body is None else orjson.dumps(body)
    return f"{method} {path} HTTP/1.1\r\n{HEADERS}Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n".encode() + raw


def ask(sock: ssl.SSLSocket, method: str, path: str, body: object = None) -> int:
    """The status; the body is read to its end."""
    sock.sendall(encoded(method, path, body))
    buffer = b""
    while b"\r\n\r\n" not in buffer:
        buffer += sock.recv(65536)
    head, _, rest = buffer.partition(b"\r\n\r\n")
    left = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]) - len(rest)
    while left > 0:
        left -= len(sock.recv(1 << 20))
    return int(head.split()[1])


def measured(server: Server, name: str, count: int, one: Callable[[int], Any]) -> None:
    cpu, began = server.cpu_s(), time.monotonic()
    for number in range(count):
        one(number)
    spent, wall = server.cpu_s() - cpu, time.monotonic() - began
    print(f"{name:34} cpu {spent / count * 1e6:10.0f} us   wall {wall / count * 1e6:10.0f} us", flush=True)


def pod(name: str) -> object:
    env = [{"name": f"VARIABLE_{number}", "value": "x" * 20} for number in range(20)]
    container = {"name": "c", "image": "nginx", "env": env, "resources": {"limits": {"cpu": "1", "memory": "64Mi"}}}
    return {"metadata": {"name": name, "labels": {"app": "a"}}, "spec": {"containers": [container]}}


def one_at_a_time(server: Server) -> None:
    with server.connect() as sock:
        assert ask(sock, "POST", "/api/v1/namespaces", {"metadata": {"name": "bench"}}) == 201
        ask(sock, "POST", f"{HERE}/serviceaccounts", {"metadata": {"name": "default"}})
        assert ask(sock, "POST", f"{HERE}/pods", pod("first")) == 201
        measured(server, "GET", 5000, lambda _: ask(sock, "GET", f"{HERE}/pods/first"))
        config = {"data": {"a": "x" * 200}}
        measured(server, "CREATE ConfigMap", 1000, lambda n: ask(sock, "POST", f"{HERE}/configmaps", {**config, "metadata": {"name": f"c{n}"}}))


def many_at_once(server: Server, clients: int = 32) -> None:
    socks = [server.connect() for _ in range(clients)]
    request = encoded("GET", f"{HERE}/pods/first")

    def turn(_: int) -> None:
        for sock in socks:
            sock.sendall(request)
        for sock in socks:
            got = sock.recv(65536)
            while not got.endswith(b"}"):
                got += sock.recv(65536)

    measured(server, f"GET x {clients}, a round", 150, turn)
    for sock in socks:
        sock.close()


def a_long_list(server: Server, pods: int) -> None:
    with server.connect() as sock:
        measured(server, "CREATE Pod", pods, lambda n: ask(sock, "POST", f"{HERE}/pods", pod(f"p{n}")))
        measured(server, f"LIST {pods} Pods", 5, lambda _: ask(sock, "GET", f"{HERE}/pods"))


def many_watchers(server: Server, watchers: int) -> None:
    before = server.memory_kb()
    socks = {}
    poll = select.epoll()
    for _ in range(watchers):
        sock = server.connect()
        sock.sendall(encoded("GET", f"{HERE}/secrets?watch=1"))
        sock.recv(4096)
        sock.setblocking(False)
        socks[sock.fileno()] = sock
        poll.register(sock, select.EPOLLIN)
    print(f"{'an idle watcher':34} {(server.memory_kb() - before) / watchers:14.1f} KB")

    def event(number: int) -> None:
        ask(writer, "POST", f"{HERE}/secrets", {"metadata": {"name": f"s{number}"}, "stringData": {"a": "x" * 3500}})
        left = watchers
        while left:
            for descriptor, _ in poll.poll():
                try:
                    while socks[descriptor].recv(65536):
                        pass
                except ssl.SSLWantReadError:
                    left -= 1

    with server.connect() as writer:
        measured(server, f"an event to {watchers} watchers", 10, event)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pods", type=int, default=2000)
    parser.add_argument("--watchers", type=int, default=200)
    parser.add_argument("--sqlite", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.golden.bare_server", "--port", str(PORT), "--dir", folder]
        with subprocess.Popen(command + ["--sqlite"] * asked.sqlite, stdout=subprocess.PIPE) as child:
            try:
                assert child.stdout is not None
                child.stdout.readline()  # it says when it answers
                context = ssl.create_default_context(cafile=f"{folder}/pki/server-ca.crt")
                server = Server(child.pid, context)
                print(f"{'at rest':34} {server.memory_kb() / 1024:14.1f} MB")
                one_at_a_time(server)
                many_at_once(server)
                many_watchers(server, asked.watchers)
                a_long_list(server, asked.pods)
                print(f"{'at the end':34} {server.memory_kb() / 1024:14.1f} MB")
            finally:
                child.terminate()


if __name__ == "__main__":
    main()
