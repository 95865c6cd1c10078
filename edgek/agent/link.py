"""The agent's end of the link: dial the server, answer what it asks of this node, and dial again when the link is over.

Pauses between attempts are random, so that a server that comes back is not met by all its agents at once: of 200, fewer than 130 reach it in any
second, and all are back 3 s after it answers. While there is no link nothing else is dialled: a server that cannot be reached for a link cannot be
reached by HTTPS either, unless it said itself that it takes none.
"""

from __future__ import annotations

import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import attrs
import orjson
import trio

from edgek.agent.membership import Membership
from edgek.client import link_calls
from edgek.client.client import decoded
from edgek.client.https import Server
from edgek.client.joining import AUTHORITIES_HEADER, FORGOTTEN, LINK_PATH, LINK_PROTOCOL, SERVERS_HEADER, TELL_SERVERS
from edgek.client.link import GONE, Link, Stream
from edgek.client.link_calls import BrokenOff, Head
from edgek.client.link_terminal import EXIT, RESIZE, STDIN, receive_message, send_message
from edgek.client.node import ContainerRef, ExecOptions, LogOptions, NodeDoor, Terminal
from edgek.client.transport import Disconnected, Response
from edgek.host import log
from edgek.host.tls import Channel
from edgek.model import errors

FIRST_S = 2.0  # at most, to the first attempt after a link was over
AGAIN_S = 3.0  # at most, between attempts: a server that was restarted finds its agents back within that
RESTART_S = 120.0  # a server that was away for longer was not restarted: it may wait a little
AWAY_S = 10.0  # at most, between attempts to reach that one
SOONEST = 0.1  # of these times
STEADY_S = 60.0  # a link that lasted so long was a good one: the next time it is over is news
WAIT_S = 5.0  # for a link that is being dialled: on a slow way a moment is some seconds
ANSWER_S = 10.0
DOUBTFUL = 3  # servers that hang up so often in a row have something against us: our certificate may have ended, by their clock
HEAD_LIMIT = 16 * 1024
READ_BYTES = 32 * 1024


def pause_s(away_s: float, *, first: bool, chance: Callable[[float, float], float] = random.uniform) -> float:
    """How long to wait before the next attempt, when there has been no link for so long."""
    most_s = FIRST_S if first else AGAIN_S if away_s < RESTART_S else AWAY_S
    return chance(SOONEST * most_s, most_s)


class Uplink:
    """``run`` keeps a link up; ``current`` is for the transport that uses it; ``open_door`` is what the server may ask for."""

    def __init__(self, membership: Membership) -> None:
        self._membership = membership
        self._link: Link | None = None
        self._problem = ""  # why the last attempt failed, if it did
        self._refused = False  # it was the server who said no
        self._settled = trio.Event()  # there is a link, or the server takes none
        self._hung_up = 0  # how often in a row the server did
        self._door: NodeDoor | None = None
        self.when_up: Callable[[], None] = lambda: None  # called whenever there is a link

    def open_door(self, node_name: str, door: NodeDoor) -> None:
        self._door = door

    def is_up(self) -> bool:
        return self._link is not None

    def moved(self) -> None:
        """This machine's address is another one: a connection from the former carries nothing, and would be noticed only by its silence."""
        if self._link is not None:
            self._link.close("this machine's address changed")

    async def current(self, *, patient: bool = False) -> Link | None:
        """See ``client.link_transport.Way``."""
        await trio.lowlevel.checkpoint()
        if patient:
            await self._settled.wait()
        elif not self._problem:
            with trio.move_on_after(WAIT_S):
                await self._settled.wait()
        if self._link is None and not self._refused:
            raise Disconnected(f"no link to the server: {self._problem or 'it is being dialled'}")
        return self._link

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        complained, over = "", trio.current_time()
        while True:
            began = trio.current_time()
            why, held = await self._try()
            if why != complained:
                log.warning("no link to the server", why=why)
                complained = why
            if held:
                over = trio.current_time()
                complained = "" if over - began > STEADY_S else complained
            await trio.sleep(pause_s(trio.current_time() - over, first=held))

    async def _try(self) -> tuple[str, bool]:
        """Why there is no link any more, and whether there was one."""
        try:
            return await self._hold(), True
        except (Disconnected, errors.ApiError) as exc:
            self._problem, self._refused = str(exc), isinstance(exc, errors.ApiError)
            if self._refused:
                self._settled.set()  # who waits may go another way
            elif self._settled.is_set():
                self._settled = trio.Event()
            if isinstance(exc, errors.Unauthorized) and FORGOTTEN in self._problem:
                self._membership.forgotten()
            return self._problem, False

    async def _hold(self) -> str:
        """Dial, and run the link to its end; why it ended. Raises Disconnected, ApiError."""
        channel, told = await self._dial()
        link = Link(channel, self._serve, dialled=True)
        log.info("linked", server=self._membership.choice.current)
        async with trio.open_nursery() as nursery:
            await nursery.start(link.run)
            self._link, self._problem, self._refused, self._hung_up = link, "", False, 0
            self._settled.set()
            self.when_up()
            self._membership.learn(attrs.evolve(self._membership.cluster, servers=_addresses(told)))
            self._membership.learn_authorities(told.get(AUTHORITIES_HEADER, ""))
        self._link = None
        self._settled = trio.Event()
        return link.why

    async def _dial(self) -> tuple[Channel, Mapping[str, str]]:
        """At the server that answered last, or else at the next of its addresses that answers."""
        choice = self._membership.choice
        for left in range(len(choice) - 1, -1, -1):
            server = choice.current
            try:
                return await self._dial_at(server)
            except Disconnected:
                choice.failed(server)
                if not left:
                    raise
        raise Disconnected("there is no server to dial")

    async def _dial_at(self, server: Server) -> tuple[Channel, Mapping[str, str]]:
        """With what the server tells along with its answer."""
        channel = await server.dial()
        try:
            with trio.fail_after(ANSWER_S):
                asked = f"GET {LINK_PATH} HTTP/1.1\r\nhost: {server}\r\nconnection: upgrade\r\nupgrade: {LINK_PROTOCOL}\r\n\r\n"
                await channel.send_all(asked.encode())
                told = await _accepted(channel)
        except (*GONE, trio.TooSlowError) as exc:
            channel.close()
            self._wonder(exc)
            raise Disconnected(f"{server} took no link: {exc or 'no answer'}") from exc
        except BaseException:
            channel.close()
            raise
        return channel, told

    def _wonder(self, error: Exception) -> None:
        """Why a server hangs up on us that has shown itself to be ours. Once may be the way's fault, or the server has just been restarted."""
        self._hung_up += 1
        if (isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or "")) or self._hung_up >= DOUBTFUL:
            self._membership.doubted()

    # What the server asks.

    def _opened(self) -> NodeDoor:
        """Raises ServiceUnavailable."""
        if self._door is None:
            raise errors.ServiceUnavailable("the node is starting")
        return self._door

    async def _serve(self, stream: Stream) -> None:
        """The border of requests on this end: a refusal, or a defect of ours, is an answer. Raises GONE."""
        head = await link_calls.receive_head(stream)
        try:
            if head.get("do") == TELL_SERVERS:
                await self._take_servers(head, stream)
            else:
                await _work(head)(self._opened(), head, stream)
        except errors.ApiError as exc:
            await link_calls.send_head(stream, {"error": _status(exc)}, last=True)
        except GONE:
            raise
        except Exception as exc:
            log.error("a request of the server failed", asked=head.get("do"), error=repr(exc))
            raise BrokenOff("the request failed") from exc

    async def _take_servers(self, head: Head, stream: Stream) -> None:
        self._membership.learn(attrs.evolve(self._membership.cluster, servers=tuple(map(str, head["servers"]))))
        if head.get("authorities"):
            self._membership.follow(str(head["authorities"]).encode())
        await link_calls.send_head(stream, {}, last=True)


def _work(head: Head) -> Work:
    """Raises BadRequest."""
    found = WORK.get(str(head.get("do")))
    if found is None:
        raise errors.BadRequest(f"this node does not know how to {head.get('do')!r}")
    return found


async def _accepted(channel: Channel) -> Mapping[str, str]:
    """The headers of the answer. Raises GONE, ApiError."""
    read = b""
    while b"\r\n\r\n" not in read:
        await trio.lowlevel.checkpoint()
        more = await channel.receive_some()
        if not more or len(read) > HEAD_LIMIT:
            raise BrokenOff("no answer")
        read += more
    head, _, leftover = read.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    status = int(first.split(" ")[1]) if first.startswith("HTTP/1.1 ") else 0
    if status != 101:
        decoded(Response(max(status, 400), {}, leftover))
    channel.push_back(leftover)
    return dict(line.lower().split(": ", 1) for line in lines if ": " in line)


def _addresses(told: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(filter(None, told.get(SERVERS_HEADER, "").split(",")))


def _status(exc: errors.ApiError) -> Head:
    return {"message": exc.message, "reason": exc.reason, "code": exc.code, "details": exc.details()}


async def _logs(door: NodeDoor, head: Head, stream: Stream) -> None:
    found = door.logs(ContainerRef(**head["ref"]), LogOptions(**head["options"]))
    first = await anext(found, b"")  # a refusal comes in its place
    await link_calls.send_head(stream, {}, first)
    try:
        async for chunk in found:
            await stream.send(chunk)
    except errors.ApiError as exc:
        raise BrokenOff(f"the log cannot be read on: {exc}") from None
    await stream.send_eof()


async def _terminal(what: str, door: NodeDoor, head: Head, stream: Stream) -> None:
    options = ExecOptions(**{**head["options"], "command": tuple(head["options"]["command"])})
    ref = ContainerRef(**head["ref"])
    lock = trio.Lock()
    typed, stdin = trio.open_memory_channel[bytes](4)
    resized, resizes = trio.open_memory_channel[tuple[int, int]](16)
    ended: Head = {"code": 0}

    async def write(kind: int, data: bytes) -> None:
        try:
            await send_message(stream, lock, kind, data)
        except GONE:
            await trio.sleep_forever()  # the stream broke, so whoever serves it is about to be cancelled

    await link_calls.send_head(stream, {})
    async with trio.open_nursery() as nursery, stdin, resizes:
        nursery.start_soon(_distribute, stream, typed, resized)
        terminal = Terminal(_received(stdin), write, _received(resizes))
        try:
            if what == "exec":
                ended = {"code": await door.exec(ref, options, terminal)}
            else:
                await door.attach(ref, options, terminal)
        except errors.ApiError as exc:
            ended = {"error": _status(exc)}
        await send_message(stream, lock, EXIT, orjson.dumps(ended))
        nursery.cancel_scope.cancel()
    await stream.send_eof()


async def _received(channel: trio.MemoryReceiveChannel[Any]) -> AsyncIterator[Any]:
    async for each in channel:
        yield each


async def _distribute(stream: Stream, typed: trio.MemorySendChannel[bytes], resized: trio.MemorySendChannel[tuple[int, int]]) -> None:
    """What the caller types and how he drags his window, until the stream ends."""
    async with typed, resized:
        try:
            while True:
                kind, data = await receive_message(stream)
                if kind == RESIZE:
                    columns, rows = orjson.loads(data)
                    await resized.send((columns, rows))
                elif kind == STDIN and data:
                    await typed.send(data)
                elif kind == STDIN:
                    await typed.aclose()
        except GONE:
            return


async def _dial_pod(door: NodeDoor, head: Head, stream: Stream) -> None:
    await _join(await door.dial_pod(head["namespace"], head["pod"], head["pod_uid"], head["port"]), stream)


async def _dial(door: NodeDoor, head: Head, stream: Stream) -> None:
    await _join(await door.dial(head["host"], head["port"]), stream)


async def _join(near: trio.abc.HalfCloseableStream, stream: Stream) -> None:
    """Both ways, each to its own end; a break ends both."""
    async with near:
        await link_calls.send_head(stream, {})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_pass_on, stream, near, nursery.cancel_scope)
            nursery.start_soon(_pass_on, near, stream, nursery.cancel_scope)


async def _pass_on(source: trio.abc.HalfCloseableStream, to: trio.abc.HalfCloseableStream, scope: trio.CancelScope) -> None:
    try:
        while data := await source.receive_some(READ_BYTES):
            await to.send_all(data)
        await to.send_eof()
    except GONE:
        scope.cancel()


async def _request(door: NodeDoor, head: Head, stream: Stream) -> None:
    found = await door.request(link_calls.request_of(head, await link_calls.rest(stream)))
    await link_calls.send_head(stream, {"status": found.status, "headers": dict(found.headers)}, found.body, last=True)


Work = Callable[[NodeDoor, Head, Stream], Awaitable[None]]

WORK: Mapping[str, Work] = {
    "logs": _logs,
    "exec": partial(_terminal, "exec"),
    "attach": partial(_terminal, "attach"),
    "dial_pod": _dial_pod,
    "dial": _dial,
    "request": _request,
}
