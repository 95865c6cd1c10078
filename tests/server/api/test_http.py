import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from edgek.client.transport import Request, Response
from edgek.server.api import http, incoming
from edgek.server.api.http import Peer
from edgek.server.api.responses import Answer, Cut, Line, Parts, Sink, Streaming, Upgrade

Handle = Callable[[Request], Awaitable[Answer]]


@asynccontextmanager
async def serving(handle: Handle) -> AsyncIterator[int]:
    """A server without TLS on some port."""

    async def handler(request: Request, peer: Peer) -> Answer:
        return await handle(request)

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        async with trio.open_nursery() as nursery:
            await nursery.start(http.serve, handler, [listener], None)
            yield listener.getsockname()[1]
            nursery.cancel_scope.cancel()


async def echo(request: Request) -> Answer:
    return Response(200, {"x-method": request.method}, f"{request.path} {request.query} {request.body.decode()}".encode())


async def told(port: int, *sent: bytes) -> bytes:
    """All that the server says until it hangs up."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        for piece in sent:
            await stream.send_all(piece)
        with trio.fail_after(20):
            return b"".join([chunk async for chunk in stream])


async def test_a_request_is_parsed_however_the_network_cut_it() -> None:
    async with serving(echo) as port:
        answer = await told(
            port, b"POST /a%20b?x=1&y=%2F&", b"flag HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Le", b"ngth: 4\r\n\r\nbo", b"dy"
        )
    assert answer.endswith(b"/a b (('x', '1'), ('y', '/'), ('flag', '')) body")
    assert b"HTTP/1.1 200 OK" in answer


async def test_a_connection_serves_one_request_after_the_other() -> None:
    async with serving(echo) as port:
        first = b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\n"
        answer = await told(port, first + b"GET /2 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert answer.index(b"/1 ()") < answer.index(b"/2 ()")


async def test_a_chunked_body_is_read() -> None:
    async with serving(echo) as port:
        head = b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        assert (await told(port, head, b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")).endswith(b" abcde")


async def test_a_client_that_waits_for_leave_gets_it() -> None:
    async with serving(echo) as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            await stream.send_all(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
            with trio.fail_after(20):
                assert await stream.receive_some() == b"HTTP/1.1 100 Continue\r\n\r\n"
                await stream.send_all(b"ok")
                assert b"".join([chunk async for chunk in stream]).endswith(b" ok")


async def test_repeated_headers_are_kept_apart() -> None:
    async def handle(request: Request) -> Answer:
        return Response(200, {}, request.headers["impersonate-group"].replace("\n", "|").encode())

    async with serving(handle) as port:
        head = b"GET / HTTP/1.1\r\nHost: h\r\nImpersonate-Group: a,b\r\nIMPERSONATE-GROUP: c\r\nConnection: close\r\n\r\n"
        assert (await told(port, head)).endswith(b"a,b|c")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(b"nonsense\r\n\r\n", b"400", id="what is no HTTP"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * incoming.HEAD_LIMIT + b"\r\n\r\n", b"431", id="headers without end"),
        pytest.param(b"GET /" + b"x" * incoming.HEAD_LIMIT + b" HTTP/1.1\r\nHost: h\r\n\r\n", b"431", id="a path without end"),
        pytest.param(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (incoming.BODY_LIMIT + 1), b"413", id="a body announced too big"),
    ],
)
async def test_what_is_beyond_a_limit_is_refused(sent: bytes, status: bytes) -> None:
    async with serving(echo) as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(sent)
        await stream.send_eof()
        with trio.fail_after(20):
            answer = b"".join([chunk async for chunk in stream])
    assert answer.startswith(b"HTTP/1.1 " + status)


async def test_a_body_that_grows_too_big_is_refused_on_its_way() -> None:
    async with serving(echo) as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
        for _ in range(4):
            await stream.send_all(chunk)
        await stream.send_eof()
        with trio.fail_after(20):
            answer = b"".join([chunk async for chunk in stream])
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"Request entity too large: limit is 3145728" in answer


async def test_a_list_is_sent_in_pieces_under_one_length() -> None:
    async def handle(request: Request) -> Answer:
        return Parts(200, {}, 300_000, (b"x" * 100_000 for _ in range(3)))

    async with serving(handle) as port:
        head, _, body = (await told(port, b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")).partition(b"\r\n\r\n")
    assert b"content-length: 300000" in head
    assert body == b"x" * 300_000


async def test_each_warning_is_a_header_of_its_own() -> None:
    async def handle(request: Request) -> Answer:
        return Response(200, {"warning": '299 - "a"\n299 - "b"'}, b"")

    async with serving(handle) as port:
        answer = await told(port, b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert answer.count(b'warning: 299 - "') == 2


async def test_a_stream_goes_on_until_its_handler_ends_it() -> None:
    async def run(sink: Sink) -> None:
        sink.push(Line(b"one\n"))
        assert await sink.pause(trio.current_time() + 0.01)
        sink.push(Line(b"two\n"))

    async def handle(request: Request) -> Answer:
        return Streaming(200, {}, run)

    async with serving(handle) as port:
        _, _, body = (await told(port, b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")).partition(b"\r\n\r\n")
    assert body == b"4\r\none\n\r\n4\r\ntwo\n\r\n0\r\n\r\n"


async def test_a_connection_can_be_used_again_after_its_stream_ended() -> None:
    async def run(sink: Sink) -> None:
        sink.push(Line(b"one\n"))

    async def handle(request: Request) -> Answer:
        return Streaming(200, {}, run) if request.path == "/stream" else await echo(request)

    async with serving(handle) as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            await stream.send_all(b"GET /stream HTTP/1.1\r\nHost: h\r\n\r\n")
            got = b""
            with trio.fail_after(20):
                while not got.endswith(b"0\r\n\r\n"):
                    got += await stream.receive_some()
                await stream.send_all(b"GET /next HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                assert b"/next ()" in b"".join([chunk async for chunk in stream])


async def test_a_stream_learns_that_its_reader_hung_up() -> None:
    alive: list[bool] = []
    over = trio.Event()

    async def run(sink: Sink) -> None:
        alive.append(await sink.pause(trio.current_time() + 60))
        over.set()

    async def handle(request: Request) -> Answer:
        return Streaming(200, {}, run)

    async with serving(handle) as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await stream.receive_some()
        await stream.aclose()
        with trio.fail_after(20):
            await over.wait()
    assert alive == [False]


async def test_a_reader_that_does_not_keep_up_is_cut_off() -> None:
    outcome: list[str] = []
    over = trio.Event()

    async def run(sink: Sink) -> None:
        line = Line(b"x" * 1_000_000)
        for _ in range(16):
            sink.push(line)
        outcome.append("alive" if await sink.pause(trio.current_time() + 60) else "cut")
        try:
            await sink.drain()
        except Cut:
            outcome.append("drain says so")
        over.set()

    async def handle(request: Request) -> Answer:
        return Streaming(200, {}, run)

    async with serving(handle) as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        with trio.fail_after(20):
            await over.wait()
        await stream.aclose()
    assert outcome == ["cut", "drain says so"]


async def test_a_slow_reader_gets_everything_when_the_writer_waits_for_it() -> None:
    async def run(sink: Sink) -> None:
        for _ in range(16):
            sink.push(Line(b"x" * 1_000_000))
            await sink.drain()

    async def handle(request: Request) -> Answer:
        return Streaming(200, {}, run)

    async with serving(handle) as port:
        assert len(await told(port, b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")) > 16_000_000


async def test_an_upgrade_hands_over_the_bytes_that_came_too_early() -> None:
    async def run(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        first = await stream.receive_some()
        await stream.send_all(first + b"!")

    async def handle(request: Request) -> Answer:
        assert request.headers["upgrade"] == "websocket"
        return Upgrade(run)

    async with serving(handle) as port:
        asked = b"GET /x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly"
        assert (await told(port, asked)).endswith(b"\r\n\r\nearly!")


async def test_an_upgrade_that_is_refused_gets_its_answer() -> None:
    async with serving(echo) as port:
        asked = b"GET /x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
        assert b"/x ()" in await told(port, asked)
