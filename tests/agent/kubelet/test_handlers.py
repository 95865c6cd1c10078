"""Asking servers that are really there, on the loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio

from edgek.agent.kubelet.handlers import Answer, Target, ask, port_of
from tests.fakes.runtime import FakeRuntime

RUNTIME: Any = None  # HTTP and TCP handlers do not need one


@asynccontextmanager
async def server(*answers: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Gives each answer to one connection; the port, and what was asked."""
    asked: list[bytes] = []
    left = list(answers)

    async def handle(stream: trio.SocketStream) -> None:
        asked.append(await stream.receive_some())
        with suppress(trio.BrokenResourceError):  # who asked may have heard enough
            await stream.send_all(left.pop(0))
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, handle, 0)
        yield listeners[0].socket.getsockname()[1], asked
        nursery.cancel_scope.cancel()


def target(**container: Any) -> Target:
    return Target("c", "127.0.0.1", container)


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Answer(True, "ok")),
        (b"HTTP/1.0 204 No Content\r\n\r\n", Answer(True, "")),
        (b"HTTP/1.1 503 Busy\r\n\r\nno", Answer(False, "HTTP probe failed with statuscode: 503")),
    ],
)
async def test_http(answer: bytes, wanted: Answer) -> None:
    async with server(answer) as (port, asked):
        assert await ask({"httpGet": {"port": port, "path": "/live", "httpHeaders": [{"name": "X-A", "value": "b"}]}}, target(), RUNTIME, 5) == wanted
        assert asked[0].startswith(b"GET /live HTTP/1.1\r\n")
        assert b"X-A: b\r\n" in asked[0]
        assert b"User-Agent: kube-probe/" in asked[0]


async def test_a_server_that_never_ends_its_head_is_not_listened_to_for_ever() -> None:
    async with server(b"HTTP/1.1 200 OK\r\n" + b"X-More: and more\r\n" * 100_000) as (port, _):
        answer = await ask({"httpGet": {"port": port}}, target(), RUNTIME, 5)
    assert not answer.ok
    assert "malformed HTTP response" in answer.text


async def test_a_redirect_on_the_same_host_is_followed() -> None:
    async with server(b"HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n") as (port, asked):
        assert (await ask({"httpGet": {"port": port}}, target(), RUNTIME, 5)).ok
        assert asked[1].startswith(b"GET /there ")


async def test_a_redirect_to_another_host_is_good_and_told() -> None:
    async with server(b"HTTP/1.1 302 Found\r\nLocation: http://other.example/\r\n\r\n") as (port, asked):
        answer = await ask({"httpGet": {"port": port}}, target(), RUNTIME, 5)
    assert (answer.ok, answer.warning, len(asked)) == (True, True, 1)


async def test_nonsense_is_a_failure() -> None:
    async with server(b"SSH-2.0-OpenSSH\r\n\r\n") as (port, _):
        answer = await ask({"httpGet": {"port": port}}, target(), RUNTIME, 5)
    assert (answer.ok, "malformed HTTP response" in answer.text) == (False, True)


async def test_tcp_and_nobody_there() -> None:
    async with server(b"") as (port, _):
        assert (await ask({"tcpSocket": {"port": "web"}}, target(ports=[{"name": "web", "containerPort": port}]), RUNTIME, 5)).ok
    gone = await ask({"tcpSocket": {"port": port}}, target(), RUNTIME, 5)
    assert gone == Answer(False, f"dial tcp 127.0.0.1:{port}: connect: connection refused")


async def test_a_server_that_does_not_answer_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    class Slow(FakeRuntime):
        async def exec_sync(self, container_id: str, command: Any, timeout_s: float) -> Any:
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        answer = await ask({"exec": {"command": ["a", "b"]}}, target(), Slow(nursery), 3)
    assert answer == Answer(False, 'command timed out: "a b" timed out after 3s')


def test_ports_have_names() -> None:
    assert port_of("web", {"ports": [{"name": "web", "containerPort": 8080}]}) == 8080
    assert (port_of(80, {}), port_of("80", {}), port_of("none", {})) == (80, 80, 0)
