"""The ways to the API in a simulated cluster: every request is counted, and a way can be cut, lose answers, or be told of conflicts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Literal

import attrs
import orjson
import trio

from edgek.client.transport import Disconnected, Request, Response, StreamResponse
from edgek.server.api.app import Api
from edgek.server.api.identity import User
from edgek.server.api.local import LocalTransport

Trouble = Literal["", "request lost", "answer lost", "conflict"]
WRITES = ("POST", "PUT", "PATCH", "DELETE")


@attrs.frozen
class Asked:
    at: float  # trio.current_time()
    who: str
    method: str
    path: str
    watch: bool = False

    @property
    def writes(self) -> bool:
        return self.method in WRITES


def no_trouble(who: str, request: Request) -> Trouble:
    return ""


def no_delay(who: str) -> float:
    return 0.0


class Exchange:
    """Where all wires end: the API of now, what it was asked, what goes wrong on the way (``trouble(who, request)``), and how long it takes: a
    request to come, its answer to return, and each line of a watch (``delay_s(who)``).
    """

    def __init__(self, api: Api) -> None:
        self.api = api
        self.asked: list[Asked] = []
        self.trouble: Callable[[str, Request], Trouble] = no_trouble
        self.delay_s: Callable[[str], float] = no_delay
        self._lines: dict[_Line, None] = {}

    def cut_watches(self, wire: Wire | None = None) -> None:
        """Every watch breaks, or those of one wire."""
        for line in list(self._lines):
            if wire in (None, line.wire):
                line.cut()

    @contextmanager
    def line(self, wire: Wire) -> Iterator[_Line]:
        line = _Line(wire)
        self._lines[line] = None
        try:
            yield line
        finally:
            del self._lines[line]


class Wire:
    """A Transport for ``user``. ``who`` names the one who asks in the exchange's books."""

    def __init__(self, exchange: Exchange, user: User, who: str) -> None:
        self._exchange = exchange
        self._user = user
        self._who = who
        self.up = True

    def cut(self) -> None:
        """Nothing comes through any more, and watches break."""
        self.up = False
        self._exchange.cut_watches(self)

    def mend(self) -> None:
        self.up = True

    async def request(self, request: Request) -> Response:
        await trio.sleep(self._exchange.delay_s(self._who))
        trouble = self._ask(request)
        if trouble == "conflict":
            status = {"kind": "Status", "reason": "Conflict", "message": "the object has been modified (a storm)", "code": 409, "details": {}}
            return Response(409, {}, orjson.dumps(status))
        answer = await LocalTransport(self._exchange.api, self._user).request(request)
        await trio.sleep(self._exchange.delay_s(self._who))
        if trouble == "answer lost" or not self.up:
            raise Disconnected("the answer was lost")
        return answer

    async def lag(self) -> None:
        delay_s = self._exchange.delay_s(self._who)
        if delay_s:
            await trio.sleep(delay_s)

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[StreamResponse]:
        await trio.lowlevel.checkpoint()
        self._ask(request, watch=True)
        with self._exchange.line(self) as line:
            async with LocalTransport(self._exchange.api, self._user).stream(request) as answer:
                yield _Breakable(answer, line)

    def _ask(self, request: Request, *, watch: bool = False) -> Trouble:
        if not self.up:
            raise Disconnected("the wire is cut")
        self._exchange.asked.append(Asked(trio.current_time(), self._who, request.method, request.path, watch))
        trouble = self._exchange.trouble(self._who, request)
        if trouble == "request lost":
            raise Disconnected("the request was lost")
        return trouble


class _Line:
    """One watch on its way."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.broken = False
        self.turn: trio.CancelScope | None = None  # around the wait for the next chunk

    def cut(self) -> None:
        self.broken = True
        if self.turn is not None:
            self.turn.cancel()


class _Breakable:
    """A stream that ends in the middle when its line is cut."""

    def __init__(self, answer: StreamResponse, line: _Line) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self._answer = answer
        self._line = line

    async def read(self) -> bytes:
        return await self._answer.read()

    def chunks(self) -> AsyncIterator[bytes]:
        return self._unbroken(self._answer.chunks())

    def lines(self) -> AsyncIterator[bytes]:
        return self._unbroken(self._answer.lines())

    async def _unbroken(self, source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        while not self._line.broken:
            chunk = None
            with trio.CancelScope() as self._line.turn:
                chunk = await anext(source, b"")
                await self._line.wire.lag()
            if not chunk:
                break
            yield chunk
        if self._line.broken:
            raise Disconnected("the watch broke")
