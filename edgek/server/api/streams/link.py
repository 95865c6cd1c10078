"""The server's end of the links that agents dial: what a node asks of the API, and what the API asks of a node, as streams of one connection."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import orjson
import trio

from edgek.client import link_calls, link_messages
from edgek.client.client import MINIMAL
from edgek.client.joining import AGENT_HEADER, AUTHORITIES_HEADER, LINK_PROTOCOL, SERVERS_HEADER, STILL_THERE, TELL_SERVERS
from edgek.client.link import GONE, Link, Stream
from edgek.client.link_calls import BrokenOff
from edgek.client.link_terminal import EXIT, RESIZE, STDIN, receive_message, send_message
from edgek.client.node import ContainerRef, ExecOptions, LogOptions, Terminal
from edgek.client.transport import Request, Response
from edgek.host import der, log
from edgek.host.tls import Channel
from edgek.model import errors
from edgek.model.credentials import authority_hash
from edgek.server.api.app import Api
from edgek.server.api.http import Peer
from edgek.server.api.identity import AUTHENTICATED_GROUP, User
from edgek.server.api.negotiation import joined
from edgek.server.api.node_access import NODE_PREFIX, NODES_GROUP
from edgek.server.api.responses import Answer, Cut, Streaming, Upgrade
from edgek.server.api.streams.doors import Doors
from edgek.server.api.streams.sink import StreamSink

ANSWER_S = 5.0  # for a node to answer on its former link, before another takes its place: time for a packet that is lost twice
ANSWER_SAME_S = 1.0  # for one that dials again, as far as we can see: when its address changes nobody answers
TOLD = frozenset({"content-type", "retry-after", "warning"})  # the headers that a node has use for: the link is thin


@attrs.frozen
class Linked:
    """A node's link: who dialled it, from where, and by which number of its process."""

    name: str
    link: Link
    address: str
    agent: str

    @property
    def node(self) -> LinkedNode:
        return LinkedNode(self.name, self.link)


class Links:
    """The page that agents dial. ``node_of`` says who asks and refuses who is no node; ``servers`` are the addresses to be found again at, and
    ``authorities`` (PEM) those to be known by.

    A node has one link. Its agent lets the former go before it dials again; so where the former still answers, another machine is at its end, which
    has the same key: the card was copied. The first one keeps the link.
    """

    def __init__(
        self,
        api: Api,
        doors: Doors,
        node_of: Callable[[Request, Peer], str],
        servers: Callable[[], tuple[str, ...]],
        authorities: Callable[[], bytes] = bytes,
    ) -> None:
        self._api = api
        self._doors = doors
        self._node_of = node_of
        self._servers = servers
        self._authorities = authorities
        self._links: dict[str, Linked] = {}

    async def __call__(self, request: Request, peer: Peer) -> Answer:
        name = self._node_of(request, peer)
        await trio.lowlevel.checkpoint()
        if request.headers.get("upgrade", "").lower() != LINK_PROTOCOL:
            raise errors.BadRequest(f"this page is for agents, which ask for the protocol {LINK_PROTOCOL}")
        ends = der.read(peer.certificate).not_after if peer.certificate else math.inf
        agent = request.headers.get(AGENT_HEADER, "")
        await self._make_room(name, agent)
        return Upgrade(lambda channel: self._run(channel, ends, name, peer.address, agent))

    async def _make_room(self, name: str, agent: str) -> None:
        """Raises Conflict where another machine is that node, and is there."""
        while (former := self._links.get(name)) is not None and not former.link.why:
            if await former.node.answers(ANSWER_SAME_S if agent and agent == former.agent else ANSWER_S):
                raise errors.Conflict(
                    f"node {name!r} is linked already, from {former.address}, by another machine with the same certificate: one of them has a copy "
                    "of the other's --data-dir (a cloned card?). Give this one a name of its own (--node-name NAME, with --token), or stop the "
                    f"other for good; `edgek node forget {name}` on the server shuts both out, until they join again"
                )
            former.link.close("the node dialled again")

    def end(self, name: str, why: str) -> None:
        """A node's link is over, where it has one."""
        found = self._links.get(name)
        if found is not None:
            found.link.close(why)

    def end_all(self, why: str) -> None:
        for each in list(self._links.values()):
            each.link.close(why)

    async def tell_servers(self) -> None:
        """The servers have other addresses, or others vouch for them: who is linked keeps that from now on. Who is not hears of it when he dials."""
        async with trio.open_nursery() as nursery:
            for each in self._links.values():
                nursery.start_soon(each.node.tell_servers, self._servers(), self._authorities())

    async def _run(self, channel: Channel, ends: float, name: str, address: str, agent: str) -> None:
        """Until the link is over. Of two that dialled at once the second has it, and finds the first silent or is found there."""
        head = f"connection: upgrade\r\nupgrade: {LINK_PROTOCOL}\r\n{SERVERS_HEADER}: {','.join(self._servers())}\r\n"
        if self._authorities():
            head += f"{AUTHORITIES_HEADER}: {authority_hash(self._authorities())}\r\n"
        await channel.send_all(f"HTTP/1.1 101 Switching Protocols\r\n{head}\r\n".encode())
        user = User(f"{NODE_PREFIX}{name}", groups=(NODES_GROUP, AUTHENTICATED_GROUP))
        link = Link(channel, lambda stream: answer(stream, self._api, user), dialled=False, ends=ends)
        self.end(name, "the node dialled again")
        linked = self._links[name] = Linked(name, link, address, agent)
        door = linked.node
        self._doors.open(name, door)
        try:
            await link.run()
        finally:
            self._doors.close(name, door)
            if self._links.get(name) is linked:
                del self._links[name]
        log.info("the link of a node is over", node=name, why=link.why)


async def answer(stream: Stream, api: Api, user: User) -> None:
    """One request of a node to the API. Raises GONE."""
    request = link_calls.request_of(*await link_messages.receive(stream, link_messages.REQUEST_MOST))
    found = await api.handle_as(request, user)
    if isinstance(found, Upgrade):
        raise BrokenOff(f"{request.path} takes a connection over, and there is none")
    told = {"status": found.status, "headers": {name: value for name, value in found.headers.items() if name in TOLD}}
    if not isinstance(found, Streaming):
        await link_messages.send(stream, told, b"" if _suffices(request, found.status) else joined(found), last=True)
        return
    await link_messages.send(stream, told)
    sink = StreamSink(stream)
    try:
        with contextlib.suppress(Cut):
            await found.run(sink)
    except trio.Cancelled:
        sink.finish_now()
        raise
    await sink.finish()


def _suffices(request: Request, status: int) -> bool:
    """Who asks for as little as may be (RFC 7240) is told by the status alone that it was done: a watch shows him what became of it."""
    return 200 <= status < 300 and request.headers.get("prefer") == MINIMAL


class LinkedNode:
    """A node's door at the other end of its link. See ``client.node.NodeDoor``."""

    def __init__(self, name: str, link: Link) -> None:
        self._name = name
        self._link = link

    @asynccontextmanager
    async def _called(self, what: str, *, body: bytes = b"", last: bool = False, **more: Any) -> AsyncIterator[tuple[Stream, dict[str, Any]]]:
        """The node has agreed. Raises the ApiError by which it refuses, ServiceUnavailable when the link breaks, also in the block."""
        stream: Stream | None = None
        try:
            stream = self._link.open()
            await link_calls.send_head(stream, {"do": what, **more}, body, last=last)
            head = await link_calls.receive_head(stream)
            if "error" in head:
                raise errors.from_status(head["error"], head["error"].get("code", 500))
            yield stream, head
        except GONE as exc:
            raise errors.ServiceUnavailable(f"node {self._name!r} cannot be reached now: {exc}") from None
        finally:
            if stream is not None:
                stream.drop()

    async def answers(self, within_s: float) -> bool:
        """Whether anybody is at the other end."""
        with trio.move_on_after(within_s):
            try:
                async with self._called(STILL_THERE, last=True):
                    return True
            except errors.ApiError:
                return not self._link.why  # an agent that does not know the question, or is asked too much, is there
        return False

    async def tell_servers(self, servers: tuple[str, ...], authorities: bytes = b"") -> None:
        try:
            async with self._called(TELL_SERVERS, last=True, servers=servers, authorities=authorities.decode()):
                pass
        except errors.ApiError as exc:
            log.debug("a node was not told of the servers' addresses", node=self._name, error=exc)

    async def logs(self, ref: ContainerRef, options: LogOptions) -> AsyncGenerator[bytes, None]:
        async with self._called("logs", last=True, ref=attrs.asdict(ref), options=attrs.asdict(options)) as (stream, _):
            async for chunk in link_calls.chunks(stream):
                yield chunk

    async def exec(self, ref: ContainerRef, options: ExecOptions, terminal: Terminal) -> int:
        return await self._joined("exec", ref, options, terminal)

    async def attach(self, ref: ContainerRef, options: ExecOptions, terminal: Terminal) -> None:
        await self._joined("attach", ref, options, terminal)

    async def _joined(self, what: str, ref: ContainerRef, options: ExecOptions, terminal: Terminal) -> int:
        async with self._called(what, ref=attrs.asdict(ref), options=attrs.asdict(options)) as (stream, _):
            ended: dict[str, Any] = {}
            lock = trio.Lock()
            async with trio.open_nursery() as nursery:
                if options.stdin:
                    nursery.start_soon(_typed, stream, terminal, lock)
                if options.tty:
                    nursery.start_soon(_resized, stream, terminal, lock)
                try:
                    ended = await _shown(stream, terminal)
                except GONE as exc:
                    ended = {"broken": str(exc)}
                nursery.cancel_scope.cancel()
            if "broken" in ended:
                raise errors.ServiceUnavailable(f"node {self._name!r} cannot be reached now: {ended['broken']}")
            if "error" in ended:
                raise errors.from_status(ended["error"], ended["error"].get("code", 500))
            return int(ended["code"])

    async def dial_pod(self, namespace: str, pod: str, pod_uid: str, port: int) -> trio.abc.HalfCloseableStream:
        return await self._dialled("dial_pod", namespace=namespace, pod=pod, pod_uid=pod_uid, port=port)

    async def dial(self, host: str, port: int) -> trio.abc.HalfCloseableStream:
        return await self._dialled("dial", host=host, port=port)

    async def _dialled(self, what: str, **more: Any) -> trio.abc.HalfCloseableStream:
        """The stream is the caller's to close."""
        stream: Stream | None = None
        kept = False
        try:
            stream = self._link.open()
            await link_calls.send_head(stream, {"do": what, **more})
            head = await link_calls.receive_head(stream)
            if "error" in head:
                raise errors.from_status(head["error"], head["error"].get("code", 500))
            kept = True
            return stream
        except GONE as exc:
            raise errors.ServiceUnavailable(f"node {self._name!r} cannot be reached now: {exc}") from None
        finally:
            if stream is not None and not kept:
                stream.drop()

    async def request(self, request: Request) -> Response:
        async with self._called("request", body=request.body, last=True, **link_calls.request_head(request)) as (stream, head):
            return Response(head["status"], head["headers"], await link_calls.rest(stream))


async def _typed(stream: Stream, terminal: Terminal, lock: trio.Lock) -> None:
    try:
        async for data in terminal.stdin:
            if data:
                await send_message(stream, lock, STDIN, data)
        await send_message(stream, lock, STDIN, b"")
    except GONE:
        return  # whoever reads the answers says so


async def _resized(stream: Stream, terminal: Terminal, lock: trio.Lock) -> None:
    try:
        async for size in terminal.resizes:
            await send_message(stream, lock, RESIZE, orjson.dumps(size))
    except GONE:
        return


async def _shown(stream: Stream, terminal: Terminal) -> dict[str, Any]:
    """How it ended. Raises GONE."""
    while True:
        kind, data = await receive_message(stream)
        if kind == EXIT:
            ended: dict[str, Any] = orjson.loads(data)
            return ended
        await terminal.write(kind, data)
