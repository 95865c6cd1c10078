import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from edgek.client.https import HttpsTransport, Server
from edgek.client.transport import Disconnected, Request, Response
from edgek.host import pki, tls
from edgek.host.pki import Pair, Subject
from edgek.server.api import http
from edgek.server.api.http import Peer
from edgek.server.api.responses import Answer, Line, Sink, Streaming

LOCAL = Subject("server", names=("127.0.0.1",), client=False, server=True)


@pytest.fixture(scope="module")
def authority() -> Pair:
    return pki.make_authority("test-ca")


@pytest.fixture
def chain(authority: Pair, tmp_path: Path) -> Path:
    path = tmp_path / "serving.pem"
    pki.save(path, pki.issue(authority, LOCAL))
    return path


async def handler(request: Request, peer: Peer) -> Answer:
    if request.path == "/endless":
        return Streaming(200, {}, _wait)
    if request.path == "/stream":
        return Streaming(200, {"x-kind": "stream"}, _count)
    said = f"{request.method} {request.path} {request.headers.get('authorization', '')} {request.body.decode()}"
    if peer.certificate:
        said += " certified"
    return Response(200, {"x-query": str(request.query)}, said.encode())


async def _wait(sink: Sink) -> None:
    sink.push(Line(b'{"n":0}\n'))
    await trio.sleep_forever()


async def _count(sink: Sink) -> None:
    for number in range(3):
        sink.push(Line(b'{"n":%d}\n' % number))


@asynccontextmanager
async def serving(context: ssl.SSLContext) -> AsyncIterator[int]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        async with trio.open_nursery() as nursery:
            await nursery.start(http.serve, handler, [listener], context)
            yield listener.getsockname()[1]
            nursery.cancel_scope.cancel()


async def test_a_request_travels_there_and_back(authority: Pair, chain: Path) -> None:
    async with serving(tls.server_context(chain)) as port:
        server = Server("127.0.0.1", port, tls.client_context(authority.certificate.decode()), token=lambda: "t")
        transport = HttpsTransport(server)
        answer = await transport.request(Request("PUT", "/a b/ü", (("q", "x/y"),), {}, b"body"))
        transport.close()
    assert answer.body.decode() == "PUT /a b/ü Bearer t body"
    assert answer.headers["x-query"] == "(('q', 'x/y'),)"


async def test_a_client_certificate_is_seen_by_the_server(authority: Pair, chain: Path, tmp_path: Path) -> None:
    mine = tmp_path / "client.pem"
    pki.save(mine, pki.issue(authority, Subject("me", ("g",))))
    async with serving(tls.server_context(chain, authority.certificate.decode())) as port:
        transport = HttpsTransport(Server("127.0.0.1", port, tls.client_context(authority.certificate.decode(), mine)))
        answer = await transport.request(Request("GET", "/"))
        transport.close()
    assert answer.body.endswith(b"certified")


async def test_a_server_of_another_authority_is_not_believed(chain: Path) -> None:
    other = pki.make_authority("other-ca")
    async with serving(tls.server_context(chain)) as port:
        transport = HttpsTransport(Server("127.0.0.1", port, tls.client_context(other.certificate.decode())))
        with pytest.raises(Disconnected, match=r"cannot reach .* holds no certificate of this cluster .* Nothing was sent"):
            await transport.request(Request("GET", "/"))


async def test_nobody_at_the_other_end_is_disconnected() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]  # nobody else's, and nobody listens
        with pytest.raises(Disconnected):
            await HttpsTransport(Server("127.0.0.1", port, ssl.create_default_context())).request(Request("GET", "/"))


async def test_a_kept_connection_that_died_is_replaced(authority: Pair, chain: Path) -> None:
    context = tls.client_context(authority.certificate.decode())
    async with serving(tls.server_context(chain)) as port:
        transport = HttpsTransport(Server("127.0.0.1", port, context))
        await transport.request(Request("GET", "/first"))
    # The server and all its connections are gone; another one takes the port.
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        async with trio.open_nursery() as nursery:
            await nursery.start(http.serve, handler, [listener], tls.server_context(chain))
            answer = await transport.request(Request("GET", "/second"))
            nursery.cancel_scope.cancel()
    transport.close()
    assert answer.body.startswith(b"GET /second")


async def test_a_stream_comes_line_by_line(authority: Pair, chain: Path) -> None:
    async with serving(tls.server_context(chain)) as port:
        transport = HttpsTransport(Server("127.0.0.1", port, tls.client_context(authority.certificate.decode())))
        async with transport.stream(Request("GET", "/stream")) as answer:
            assert (answer.status, answer.headers["x-kind"]) == (200, "stream")
            assert [line async for line in answer.lines()] == [b'{"n":0}', b'{"n":1}', b'{"n":2}']


async def test_a_new_serving_certificate_is_used_from_the_next_connection_on(authority: Pair, chain: Path, tmp_path: Path) -> None:
    context = tls.server_context(chain)
    other = pki.make_authority("next-ca")
    async with serving(context) as port:
        renewed = tmp_path / "renewed.pem"
        pki.save(renewed, pki.issue(other, LOCAL))
        tls.reload(context, renewed)
        transport = HttpsTransport(Server("127.0.0.1", port, tls.client_context(other.certificate.decode())))
        answer = await transport.request(Request("GET", "/"))
        transport.close()
    assert answer.status == 200


async def test_told_of_a_better_way_it_holds_no_connection_and_its_streams_break(authority: Pair, chain: Path) -> None:
    async with serving(tls.server_context(chain)) as port, trio.open_nursery() as nursery:
        transport = HttpsTransport(Server("127.0.0.1", port, tls.client_context(authority.certificate.decode())))
        broken = trio.Event()

        async def follow(*, task_status: trio.TaskStatus[None]) -> None:
            try:
                async with transport.stream(Request("GET", "/endless")) as answer:
                    async for _ in answer.lines():
                        task_status.started()
            except Disconnected:
                broken.set()

        await nursery.start(follow)
        await transport.request(Request("GET", "/a"))
        assert len(transport._idle) == 1
        transport.hang_up()
        with trio.fail_after(20):
            await broken.wait()
        assert not transport._idle
        assert not transport._streams
        assert (await transport.request(Request("GET", "/b"))).status == 200, "it may be used again"
        transport.close()
