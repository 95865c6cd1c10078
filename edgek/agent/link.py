"""The agent's end of the link: dial the server, and dial again when the link is over. What the server asks over it is answered in ``asked.py``.

Pauses between attempts are random, so that a server that comes back is not met by all its agents at once: of 200, fewer than 130 reach it in any
second, and all are back 3 s after it answers. While there is no link nothing else is dialled: a server that cannot be reached for a link cannot be
reached by HTTPS either, unless it said itself that it takes none.

A server that knows another machine as this node, which is there, takes no link from us (its ``Links`` say why): a card was copied. Then nothing is
asked by HTTPS either, for two would write one node's status; the server is tried now and then, and the link is ours once the other one is gone.
Likewise where it has forgotten this node.
"""

from __future__ import annotations

import random
import secrets
import ssl
from collections.abc import Callable, Mapping

import attrs
import trio

from edgek.agent import asked
from edgek.agent.membership import Membership
from edgek.client import link_calls
from edgek.client.client import decoded
from edgek.client.https import Server
from edgek.client.joining import (
    AGENT_HEADER,
    AUTHORITIES_HEADER,
    FORGOTTEN,
    LINK_PATH,
    LINK_PROTOCOL,
    SERVERS_HEADER,
    STILL_THERE,
    TELL_SERVERS,
)
from edgek.client.link import GONE, Link, Stream
from edgek.client.link_calls import BrokenOff, Head
from edgek.client.node import NodeDoor
from edgek.client.transport import Disconnected, Response, Unlinked
from edgek.host import log
from edgek.host.tls import Channel
from edgek.model import errors

FIRST_S = 2.0  # at most, to the first attempt after a link was over
AGAIN_S = 3.0  # at most, between attempts: a server that was restarted finds its agents back within that
RESTART_S = 120.0  # a server that was away for longer was not restarted: it may wait a little
AWAY_S = 10.0  # at most, between attempts to reach that one
SOONEST = 0.1  # of these times
SHUT_OUT_S = 60.0  # at most, between attempts where the server wants nothing of us: somebody has to do something about that
STEADY_S = 60.0  # a link that lasted so long was a good one: the next time it is over is news
WAIT_S = 5.0  # for a link that is being dialled: on a slow way a moment is some seconds
ANSWER_S = 10.0  # the server may ask for 5 s who is at the end of our former link
DOUBTFUL = 3  # servers that hang up so often in a row have something against us: our certificate may have ended, by their clock
HEAD_LIMIT = 16 * 1024


def pause_s(away_s: float, *, first: bool, chance: Callable[[float, float], float] = random.uniform) -> float:
    """How long to wait before the next attempt, when there has been no link for so long."""
    most_s = FIRST_S if first else AGAIN_S if away_s < RESTART_S else AWAY_S
    return chance(SOONEST * most_s, most_s)


class Uplink:
    """``run`` keeps a link up; ``current`` is for the transport that uses it; ``open_door`` is what the server may ask for."""

    def __init__(self, membership: Membership) -> None:
        self._membership = membership
        self._link: Link | None = None
        self._failure: Exception | None = None  # of the last attempt
        self._number = secrets.token_hex(8)  # of this process, for the server to tell it from another
        self._settled = trio.Event()  # there is a link, or the server takes none
        self._hung_up = 0  # how often in a row the server did
        self._passed_over: list[str] = []  # why it was none of those that were dialled before the one that we are linked to
        self._door: NodeDoor | None = None
        self.when_up: Callable[[], None] = lambda: None  # called whenever there is a link

    def open_door(self, node_name: str, door: NodeDoor) -> None:
        self._door = door

    def is_up(self) -> bool:
        return self._link is not None

    def is_taken(self) -> bool:
        """The server said, when it was last asked, that another machine is this node."""
        return isinstance(self._failure, errors.Conflict)

    @property
    def _is_shut_out(self) -> bool:
        """The server wants nothing of us: another machine is this node, or the node was forgotten."""
        return isinstance(self._failure, (errors.Conflict, errors.Unauthorized))

    @property
    def _is_refused(self) -> bool:
        """The server is there and takes no links: there is another way."""
        return isinstance(self._failure, errors.ApiError) and not self._is_shut_out

    def moved(self) -> None:
        """This machine's address is another one: a connection from the former carries nothing, and would be noticed only by its silence."""
        if self._link is not None:
            self._link.close("this machine's address changed")

    async def current(self, *, patient: bool = False) -> Link | None:
        """See ``client.link_transport.Way``."""
        await trio.lowlevel.checkpoint()
        if patient:
            await self._settled.wait()
        elif self._failure is None:
            with trio.move_on_after(WAIT_S):
                await self._settled.wait()
        if self._link is None and not self._is_refused:
            raise Unlinked(f"no link to the server: {self._failure or 'it is being dialled'}")
        return self._link

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        complained, over = "", trio.current_time()
        while True:
            began = trio.current_time()
            why, held = await self._try()
            if why != complained:
                (log.error if self._is_shut_out else log.warning)("no link to the server", why=why)
                complained = why
            if held:
                over = trio.current_time()
                complained = "" if over - began > STEADY_S else complained
            calm_s = random.uniform(SHUT_OUT_S / 2, SHUT_OUT_S)
            await trio.sleep(calm_s if self._is_shut_out else pause_s(trio.current_time() - over, first=held))

    async def _try(self) -> tuple[str, bool]:
        """Why there is no link any more, and whether there was one."""
        try:
            return await self._hold(), True
        except (Disconnected, errors.ApiError) as exc:
            self._failure = exc.with_traceback(None)
            self._membership.note_refusal(str(exc) if isinstance(exc, errors.ApiError) else "")
            if self._is_refused:
                self._settled.set()  # who waits may go another way
            elif self._settled.is_set():
                self._settled = trio.Event()
            if isinstance(exc, errors.Unauthorized) and FORGOTTEN in str(exc):
                self._membership.forgotten()
            return str(exc), False

    async def _hold(self) -> str:
        """Dial, and run the link to its end; why it ended. Raises Disconnected, ApiError."""
        channel, told = await self._dial()
        link = Link(channel, self._serve, dialled=True)
        log.info("linked", server=self._membership.choice.current, **({"passed_over": "; ".join(self._passed_over)} if self._passed_over else {}))
        async with trio.open_nursery() as nursery:
            await nursery.start(link.run)
            self._link, self._failure, self._hung_up = link, None, 0
            self._settled.set()
            self._membership.note_refusal("")
            self.when_up()
            self._membership.learn(attrs.evolve(self._membership.cluster, servers=_addresses(told)))
            self._membership.learn_authorities(told.get(AUTHORITIES_HEADER, ""))
        self._link = None
        self._settled = trio.Event()
        return link.why

    async def _dial(self) -> tuple[Channel, Mapping[str, str]]:
        """At the server that answered last, or else at the next of its addresses that answers."""
        choice = self._membership.choice
        self._passed_over.clear()
        for left in range(len(choice) - 1, -1, -1):
            server = choice.current
            try:
                return await self._dial_at(server)
            except Disconnected as exc:
                choice.failed(server)
                self._passed_over.append(str(exc))
                if not left:
                    raise
        raise Disconnected("there is no server to dial")

    async def _dial_at(self, server: Server) -> tuple[Channel, Mapping[str, str]]:
        """With what the server tells along with its answer."""
        channel = await server.dial()
        try:
            with trio.fail_after(ANSWER_S):
                head = f"host: {server}\r\nconnection: upgrade\r\nupgrade: {LINK_PROTOCOL}\r\n{AGENT_HEADER}: {self._number}\r\n"
                await channel.send_all(f"GET {LINK_PATH} HTTP/1.1\r\n{head}\r\n".encode())
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
            if head.get("do") == STILL_THERE:
                await link_calls.send_head(stream, {}, last=True)
            elif head.get("do") == TELL_SERVERS:
                await self._take_servers(head, stream)
            else:
                await asked.work(head)(self._opened(), head, stream)
        except errors.ApiError as exc:
            await link_calls.send_head(stream, {"error": asked.status(exc)}, last=True)
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


async def _accepted(channel: Channel) -> Mapping[str, str]:
    """The headers of the answer. Raises GONE, ApiError."""
    head, _, body = (await _until(channel, lambda read: b"\r\n\r\n" in read)).partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    told = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
    try:
        status, length = int(first.removeprefix("HTTP/1.1 ")[:3]), int(told.get("content-length", 0))
    except ValueError:
        raise BrokenOff(f"no answer that can be read: {first[:80]!r}") from None
    if status != 101:
        decoded(Response(max(status, 400), {}, await _until(channel, lambda read: len(read) >= length, body)))
    channel.push_back(body)
    return told


async def _until(channel: Channel, enough: Callable[[bytes], bool], read: bytes = b"") -> bytes:
    """Read on until it is enough. Raises GONE."""
    while not enough(read):
        await trio.lowlevel.checkpoint()
        more = await channel.receive_some()
        if not more or len(read) > HEAD_LIMIT:
            raise BrokenOff("no answer")
        read += more
    return read


def _addresses(told: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(filter(None, told.get(SERVERS_HEADER, "").split(",")))
