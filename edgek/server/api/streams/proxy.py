"""Proxies: HTTP to a pod, to a ready endpoint of a Service, or to a node, dialled by the node itself. WebSockets pass through.

Links of HTML pages and redirects are rewritten, as upstream does, so that a browser stays below the proxy's path.
"""

from __future__ import annotations

import contextlib
import ipaddress
import math
import random
import ssl
from collections.abc import AsyncIterator, Mapping
from urllib.parse import quote, urlencode

import attrs
import trio

from edgek.client.node import NodeDirectory, NodeDoor
from edgek.client.transport import Request, Response
from edgek.host.tls import Channel
from edgek.model import errors, kinds, objects
from edgek.model.objects import Object
from edgek.server.api import responses
from edgek.server.api.call import Call
from edgek.server.api.responses import Answer, Cut, Line, Sink, Streaming, Upgrade
from edgek.server.api.storage import Objects
from edgek.server.api.streams import rewrite, websocket
from edgek.server.api.streams.exchange import HOP_BY_HOP, Exchange
from edgek.server.api.streams.rewrite import Place, Target
from edgek.server.api.streams.spdy_session import GONE

KUBELET_PORT = 10250
WHOLE_BYTES = 256 * 1024  # an answer up to this size is passed on as a whole
PAGE_BYTES = 4 * 1024 * 1024  # of HTML whose links are rewritten; larger pages pass as they are
READ_BYTES = 64 * 1024
# What the client proved itself with is for us alone.
OUR_OWN = frozenset({"authorization", "accept-encoding", "content-length", "expect"})


@attrs.frozen
class Backend:
    """What is dialled. Without a ``door`` it is no node's: it is dialled from here."""

    host: str
    port: int
    scheme: str
    door: NodeDoor | None

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    async def dial(self) -> trio.abc.Stream:
        """Raises ServiceUnavailable."""
        if self.door is not None:
            stream: trio.abc.Stream = await self.door.dial(self.host, self.port)
        else:
            try:
                stream = await trio.open_tcp_stream(self.host, self.port)
            except OSError as exc:
                raise errors.ServiceUnavailable(f"error trying to reach service: dial tcp {self.address}: {exc}") from None
        return trio.SSLStream(stream, _unverified(), https_compatible=True) if self.scheme == "https" else stream


def _unverified() -> ssl.SSLContext:
    """Upstream does not verify what pods and Services show, either: nobody said whose certificate to expect."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Proxy:
    """The connector of all proxies."""

    def __init__(self, store: Objects, nodes: NodeDirectory) -> None:
        self._store = store
        self._nodes = nodes

    async def __call__(self, call: Call) -> Answer:
        await trio.lowlevel.checkpoint()
        request = call.request
        prefix, path = rewrite.backend_path(quote(request.path, safe="/:@!$&'()*+,;=~-._"), namespaced=call.kind.namespaced)
        query = f"?{urlencode(request.query)}" if request.query else ""
        if not path and request.method in ("GET", "HEAD"):
            return Response(301, {"location": f"{prefix}/{query}"}, b"")
        asked = rewrite.target(call.name)
        if asked is None:
            raise errors.BadRequest(f'invalid {call.kind.name.lower()} request "{call.name}"')
        if call.kind is kinds.NODE and asked.port in ("", str(KUBELET_PORT)):
            self._node(asked)
            return await self._nodes.door(asked.name).request(attrs.evolve(request, path=path or "/"))
        backend = self._backend(call, asked)
        place = Place("https", request.headers.get("host", ""), prefix)
        return await _passed(request, backend, path or "/", query, place)

    def _backend(self, call: Call, asked: Target) -> Backend:
        if call.kind is kinds.POD:
            return self._pod(call, asked)
        if call.kind is kinds.SERVICE:
            return self._service(call, asked)
        node = self._node(asked)
        addresses = (node.get("status") or {}).get("addresses") or ()
        host = next((entry["address"] for entry in addresses if entry.get("type") == "InternalIP"), "")
        return Backend(host, _number(asked.port), asked.scheme, self._nodes.door(asked.name))

    def _node(self, asked: Target) -> Object:
        found = self._store.get(kinds.NODE, asked.name)
        if found is None:
            raise responses.not_found(kinds.NODE, asked.name)
        return found

    def _pod(self, call: Call, asked: Target) -> Backend:
        pod = self._store.get(kinds.POD, asked.name, call.namespace)
        if pod is None:
            raise responses.not_found(kinds.POD, asked.name)
        spec, status = pod.get("spec") or {}, pod.get("status") or {}
        address = status.get("podIP") or ""
        _check_address(address)
        ports = [port for container in spec.get("containers") or () for port in container.get("ports") or ()]
        named = next((port["containerPort"] for port in ports if asked.port and port.get("name") == asked.port), None)
        first = ports[0]["containerPort"] if ports else 443 if asked.scheme == "https" else 80
        port = named or (_number(asked.port) if asked.port else int(first))
        return Backend(address, port, asked.scheme, self._nodes.door(spec.get("nodeName") or ""))

    def _service(self, call: Call, asked: Target) -> Backend:
        service = self._store.get(kinds.SERVICE, asked.name, call.namespace)
        if service is None:
            raise responses.not_found(kinds.SERVICE, asked.name)
        wanted = asked.port
        if wanted.isdecimal():
            ports = [port for port in (service.get("spec") or {}).get("ports") or () if port["port"] == int(wanted)]
            if not ports:
                raise errors.ServiceUnavailable(f'no service port {wanted} found for service "{asked.name}"')
            wanted = ports[0].get("name") or ""
        found = list(self._endpoints(call.namespace, asked.name, wanted))
        if not found:
            raise errors.ServiceUnavailable(f'no endpoints available for service "{asked.name}"')
        address, port, node = random.choice(found)
        _check_address(address)
        return Backend(address, port, asked.scheme, self._nodes.door(node) if node else None)

    def _endpoints(self, namespace: str, service: str, port_name: str) -> list[tuple[str, int, str]]:
        """Address, port and node of all that are ready."""
        found = []
        for obj in self._store.find(kinds.ENDPOINT_SLICE, namespace):
            if objects.labels(obj).get("kubernetes.io/service-name") != service:
                continue
            ports = [port["port"] for port in obj.get("ports") or () if (port.get("name") or "") == port_name and port.get("port")]
            for endpoint in obj.get("endpoints") or ():
                if ports and (endpoint.get("conditions") or {}).get("ready") is not False:
                    found.append((endpoint["addresses"][0], ports[0], endpoint.get("nodeName") or ""))
        return found


def _check_address(text: str) -> None:
    """A pod must not lead the API to its own machine. Raises BadRequest."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise errors.BadRequest("address not allowed") from None
    if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
        raise errors.BadRequest("address not allowed")


def _number(port: str) -> int:
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise errors.BadRequest(f'invalid port "{port}"')
    return int(port)


# --- passing on ---------------------------------------------------------------------------------------------------------------------------


async def _passed(request: Request, backend: Backend, path: str, query: str, place: Place) -> Answer:
    upgrading = websocket.asked_for(request)
    exchange = Exchange(await backend.dial(), request.method)
    try:
        await exchange.ask(path + query, _forwarded(request, place, path, upgrading=upgrading), request.rest or _whole(request.body))
        if exchange.status == 101:
            return Upgrade(lambda channel: _tunnel(channel, exchange))
        return await _answered(exchange, backend, place)
    except BaseException:
        await trio.aclose_forcefully(exchange.stream)
        raise


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    if body:
        yield body


def _forwarded(request: Request, place: Place, path: str, *, upgrading: bool) -> Mapping[str, str]:
    dropped = HOP_BY_HOP | OUR_OWN
    headers = {name: value for name, value in request.headers.items() if name not in dropped and not name.startswith(("impersonate-", "x-remote-"))}
    headers["x-forwarded-uri"] = place.prefix + path
    headers["x-forwarded-host"] = place.host
    headers["x-forwarded-proto"] = place.scheme
    if upgrading:
        headers |= {"connection": "Upgrade", "upgrade": request.headers["upgrade"]}
    else:
        headers["connection"] = "close"
    if request.rest is not None:
        length = request.headers.get("content-length", "")
        headers |= {"content-length": length} if length else {"transfer-encoding": "chunked"}
    elif request.body or request.method in ("POST", "PUT", "PATCH"):
        headers["content-length"] = str(len(request.body))
    return headers


async def _answered(exchange: Exchange, backend: Backend, place: Place) -> Answer:
    dropped = HOP_BY_HOP | {"content-length", "date"}
    headers = {name: value for name, value in exchange.headers.items() if name not in dropped and not name.startswith("access-control-")}
    if "location" in headers:
        headers["location"] = place.link(headers["location"], backend.address)
    if not exchange.has_body:
        async with exchange:
            return Response(exchange.status, headers, b"")
    told = exchange.headers.get("content-length", "")
    length = int(told) if told.isdecimal() else -1
    is_page = headers.get("content-type", "").partition(";")[0].strip() == "text/html" and "content-encoding" not in headers
    if is_page or 0 <= length <= WHOLE_BYTES:
        body = await exchange.whole(PAGE_BYTES if is_page else WHOLE_BYTES)
        if body is not None:
            await trio.aclose_forcefully(exchange.stream)
            return Response(exchange.status, headers, place.page(body, backend.address) if is_page else body)
    return Streaming(exchange.status, headers, lambda sink: _stream(sink, exchange))


async def _stream(sink: Sink, exchange: Exchange) -> None:
    broke = False
    async with exchange, trio.open_nursery() as nursery:
        nursery.start_soon(_until_hung_up, sink, nursery.cancel_scope)
        try:
            async for chunk in exchange.chunks():
                sink.push(Line(chunk))
                await sink.drain()
        except (Cut, errors.ServiceUnavailable):
            broke = True
        nursery.cancel_scope.cancel()
    if broke:
        raise Cut  # an end in order would say that this was all


async def _until_hung_up(sink: Sink, scope: trio.CancelScope) -> None:
    await sink.pause(math.inf)
    scope.cancel()


async def _tunnel(channel: Channel, exchange: Exchange) -> None:
    """Both ways, until either side ends."""
    lines = [f"{name}: {line}\r\n" for name, value in exchange.headers.items() for line in value.split("\n")]
    async with exchange, trio.open_nursery() as nursery:
        with contextlib.suppress(*GONE):
            await channel.send_all("".join(["HTTP/1.1 101 Switching Protocols\r\n", *lines, "\r\n"]).encode("latin-1") + exchange.leftover)
            nursery.start_soon(_copied, channel, exchange.stream, nursery.cancel_scope)
            nursery.start_soon(_copied, exchange.stream, channel, nursery.cancel_scope)


async def _copied(source: trio.abc.ReceiveStream, target: trio.abc.SendStream, scope: trio.CancelScope) -> None:
    with contextlib.suppress(*GONE):
        while received := await source.receive_some(READ_BYTES):
            await target.send_all(received)
    scope.cancel()
