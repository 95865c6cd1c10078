from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest
import trio

from edgek.model import kinds
from tests.server.api.streams.scene import POD, Scene, head, serving

PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Backend:
    """A web server that answers every request with ``answer`` and keeps what it was asked."""

    def __init__(self) -> None:
        self.answer = OK
        self.asked = b""
        self.hold = False
        self.impatient = False  # answers a body that comes in chunks before it has read it
        self.left = trio.Event()

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            while b"\r\n\r\n" not in self.asked or not self._whole():
                received = await stream.receive_some()
                if not received:
                    break
                self.asked += received
            await stream.send_all(self.answer)
            if self.hold:
                async for chunk in stream:
                    await stream.send_all(chunk.upper())
        self.left.set()

    def _whole(self) -> bool:
        start, _, body = self.asked.partition(b"\r\n\r\n")
        if b"transfer-encoding: chunked" in start and not self.impatient:
            return body.endswith(b"0\r\n\r\n")
        lengths = [int(line.split(b": ")[1]) for line in start.split(b"\r\n") if line.startswith(b"content-length")]
        return len(body) >= sum(lengths)

    @property
    def headers(self) -> dict[str, str]:
        lines = self.asked.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        return dict(line.split(": ", 1) for line in lines)


@asynccontextmanager
async def proxied() -> AsyncIterator[tuple[Scene, Backend]]:
    backend = Backend()
    async with serving() as scene, trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        scene.door.port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, backend.serve, [listener])
        yield scene, backend
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_every_method_reaches_the_pod(method: str) -> None:
    async with proxied() as (scene, backend):
        status, _, body = await scene.get(f"{POD}/proxy/a%20b?x=1&y=%26", method, b"body" if method != "GET" else b"")
    assert (status, body) == (200, b"ok")
    assert backend.asked.startswith(f"{method} /a%20b?x=1&y=%26 HTTP/1.1\r\n".encode())
    assert backend.asked.endswith(b"\r\n\r\n" if method == "GET" else b"\r\n\r\nbody")


async def test_the_pod_is_told_who_was_asked_and_not_with_which_right() -> None:
    async with proxied() as (scene, backend):
        await scene.get(f"{POD}/proxy/a", **{"x-mine": "1", "te": "trailers"})
    assert backend.headers["x-forwarded-uri"] == f"{POD}/proxy/a"
    assert backend.headers["x-forwarded-host"] == backend.headers["host"] == "api.example"
    assert backend.headers["x-mine"] == "1"
    assert not {"authorization", "te"} & set(backend.headers)


@pytest.mark.parametrize(
    ("name", "dialled"),
    [("p", ("10.1.2.3", 8080)), ("p:9", ("10.1.2.3", 9)), ("http:p:9", ("10.1.2.3", 9)), ("p:web", ("10.1.2.3", 8080))],
)
async def test_a_pod_is_dialled_at_the_port_that_is_named_or_its_first(name: str, dialled: tuple[str, int]) -> None:
    async with proxied() as (scene, _):
        assert (await scene.get(f"{PODS}/{name}/proxy/"))[0] == 200
    assert scene.door.asked == [dialled]


async def test_a_path_without_a_slash_is_sent_to_the_one_with_it() -> None:
    async with proxied() as (scene, backend):
        status, headers, _ = await scene.get(f"{POD}/proxy?x=1")
    assert (status, headers["location"]) == (301, f"{POD}/proxy/?x=1")
    assert backend.asked == b""


async def test_redirects_and_links_lead_back_through_the_proxy() -> None:
    async with proxied() as (scene, backend):
        backend.answer = b"HTTP/1.1 302 Found\r\nlocation: /next\r\ncontent-length: 0\r\naccess-control-allow-origin: *\r\n\r\n"
        status, headers, _ = await scene.get(f"{POD}/proxy/a")
        assert (status, headers["location"]) == (302, f"{POD}/proxy/next")
        assert "access-control-allow-origin" not in headers
        backend.asked = b""
        backend.answer = b"HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\n\r\n<a href='/x'>"  # ends with the connection
        assert (await scene.get(f"{POD}/proxy/a"))[2] == f"<a href='{POD}/proxy/x'>".encode()


async def test_a_long_answer_is_passed_on_as_it_comes() -> None:
    async with proxied() as (scene, backend):
        backend.answer = (
            b"HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nset-cookie: b=2\r\ntransfer-encoding: chunked\r\n\r\n" + b"3\r\nabc\r\n" * 1000 + b"0\r\n\r\n"
        )
        status, headers, body = await scene.get(f"{POD}/proxy/a")
    assert (status, body) == (200, b"abc" * 1000)
    assert headers["set-cookie"] == "a=1\nb=2"


async def test_an_answer_that_breaks_off_does_not_look_whole() -> None:
    async with proxied() as (scene, backend):
        backend.answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"
        async with await scene.connect() as stream:
            await stream.send_all(head(f"GET {POD}/proxy/a", {"authorization": "Bearer secret-of-admin"}))
            raw = b"".join([chunk async for chunk in stream])
    assert raw.endswith(b"abc\r\n")


async def test_head_has_no_body() -> None:
    async with proxied() as (scene, backend):
        backend.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-mine: 1\r\n\r\n"
        status, headers, body = await scene.get(f"{POD}/proxy/a", "HEAD")
    assert (status, headers["x-mine"], body) == (200, "1", b"")


async def test_a_reader_that_hangs_up_ends_the_connection_to_the_pod() -> None:
    async with proxied() as (scene, backend):
        backend.answer, backend.hold = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", True
        async with await scene.connect() as stream:
            await stream.send_all(head(f"GET {POD}/proxy/a", {"authorization": "Bearer secret-of-admin"}))
            with trio.fail_after(20):
                while b"abc" not in await stream.receive_some():
                    pass
        with trio.fail_after(20):
            await backend.left.wait()


UPGRADE = {"authorization": "Bearer secret-of-admin", "connection": "Upgrade", "upgrade": "websocket"}


async def test_a_websocket_passes_through() -> None:
    async with proxied() as (scene, backend):
        backend.answer, backend.hold = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\nfirst", True
        async with await scene.connect() as stream:
            await stream.send_all(head(f"GET {POD}/proxy/ws", UPGRADE))
            received = b""
            with trio.fail_after(20):
                while b"first" not in received:
                    received += await stream.receive_some()
                assert received.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
                await stream.send_all(b"hello")
                assert await stream.receive_some() == b"HELLO"
        with trio.fail_after(20):
            await backend.left.wait()
    assert backend.headers["upgrade"] == "websocket"


async def test_after_a_refused_upgrade_nothing_more_reaches_the_pod() -> None:
    async with proxied() as (scene, backend):
        backend.answer, backend.hold = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\nno", True
        async with await scene.connect() as stream:
            await stream.send_all(head(f"GET {POD}/proxy/ws", UPGRADE) + b"GET /secret HTTP/1.1\r\n\r\n")
            with trio.fail_after(20):
                raw = b"".join([chunk async for chunk in stream])
    assert raw.startswith(b"HTTP/1.1 400 Bad Request")
    assert b"secret" not in backend.asked


async def slice_of(scene: Scene, *, ready: bool) -> None:
    ports = [{"name": "", "port": 80, "targetPort": 8080}]
    await scene.client.create(kinds.SERVICE, {"metadata": {"name": "s", "namespace": "default"}, "spec": {"selector": {"a": "b"}, "ports": ports}})
    meta = {"name": "s-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "s"}}
    endpoints = [{"addresses": ["10.1.2.3"], "conditions": {"ready": ready}, "nodeName": "n"}]
    await scene.client.create(
        kinds.ENDPOINT_SLICE, {"metadata": meta, "addressType": "IPv4", "ports": [{"name": "", "port": 8080}], "endpoints": endpoints}
    )


async def test_a_service_is_reached_through_a_ready_endpoint() -> None:
    async with proxied() as (scene, _):
        await slice_of(scene, ready=True)
        assert (await scene.get(f"{SERVICES}/s/proxy/"))[0] == 200
        scene_asked = scene.door.asked.pop()
        assert scene_asked == ("10.1.2.3", 8080)


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        (f"{SERVICES}/s/proxy/", 503, 'no endpoints available for service "s"'),
        (f"{SERVICES}/s:99/proxy/", 503, 'no service port 99 found for service "s"'),
        (f"{SERVICES}/t/proxy/", 404, 'services "t" not found'),
        (f"{PODS}/q/proxy/", 404, 'pods "q" not found'),
        (f"{PODS}/a:b:c:d/proxy/", 400, 'invalid pod request "a:b:c:d"'),
        ("/api/v1/nodes/m/proxy/", 404, 'nodes "m" not found'),
    ],
)
async def test_what_is_not_there_is_said_in_upstreams_words(path: str, code: int, message: str) -> None:
    async with proxied() as (scene, _):
        await slice_of(scene, ready=False)
        status, _, body = await scene.get(path)
    assert (status, orjson.loads(body)["message"]) == (code, message)


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "::1", "0.0.0.0"])
async def test_a_pod_does_not_lead_the_api_to_a_machine_itself(address: str) -> None:
    async with proxied() as (scene, _):
        pod = await scene.client.get(kinds.POD, "p", "default")
        await scene.client.update(kinds.POD, {**pod, "status": {**pod["status"], "podIP": address, "podIPs": [{"ip": address}]}}, "status")
        status, _, body = await scene.get(f"{POD}/proxy/")
    assert (status, orjson.loads(body)["message"]) == (400, "address not allowed")
    assert scene.door.asked == []


async def test_the_kubelets_pages_come_through_the_nodes_door() -> None:
    async with proxied() as (scene, _):
        assert (await scene.get("/api/v1/nodes/n/proxy/stats/summary"))[2] == b"GET /stats/summary"
        assert (await scene.get("/api/v1/nodes/n:10250/proxy/healthz"))[2] == b"GET /healthz"


async def test_a_body_of_any_length_is_passed_on_while_it_is_sent() -> None:
    async with proxied() as (scene, backend):
        body = bytes(range(256)) * 16 * 1024 + b"end"  # more than anybody else may send
        status, _, answer = await scene.get(f"{POD}/proxy/upload", "POST", body)
        assert (status, answer) == (200, b"ok")
        assert backend.headers["content-length"] == str(len(body))
        assert backend.asked.partition(b"\r\n\r\n")[2] == body
        assert (await scene.get(f"{PODS}/p/status", "PUT", body))[0] == 413


async def test_a_body_of_unknown_length_is_passed_on_in_chunks() -> None:
    async with proxied() as (scene, backend), await scene.connect() as stream:
        await stream.send_all(head(f"PUT {POD}/proxy/a", {"authorization": "Bearer secret-of-admin", "transfer-encoding": "chunked"}))
        with trio.fail_after(20):
            while b"abc" not in backend.asked:  # it has come there before all was sent
                await stream.send_all(b"3\r\nabc\r\n")
            await stream.send_all(b"0\r\n\r\n")
            raw = b"".join([chunk async for chunk in stream])
    assert raw.startswith(b"HTTP/1.1 200 OK")
    assert backend.headers["transfer-encoding"] == "chunked"
    assert b"3\r\nabc\r\n" in backend.asked


async def test_a_service_that_refuses_early_is_heard_before_all_was_sent() -> None:
    async with proxied() as (scene, backend):
        backend.impatient = True
        backend.answer = b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig"
        async with await scene.connect() as stream:
            await stream.send_all(head(f"PUT {POD}/proxy/a", {"authorization": "Bearer secret-of-admin", "transfer-encoding": "chunked"}))
            with trio.fail_after(20):
                raw = await stream.receive_some()
    assert raw.startswith(b"HTTP/1.1 413")
