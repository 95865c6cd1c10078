"""A request and its answer, whichever way they travel.

One protocol, three ways: a call into the request pipeline of the same process (``server/api/local.py``), HTTPS (``https.py``), and a stream of
an agent's link. Nothing here knows what a request means.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import attrs


@attrs.frozen
class Request:
    """What is asked. Header names are lower case; ``query`` keeps order and repeats; ``body`` is whole.

    Only a proxy meets a body that is longer than others may be: it comes in ``rest``, while it is sent, and ``body`` is empty.

    Who asks with ``patient`` has nothing better to do than to wait for a way to the server: a link that is away holds the request until it is back.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: bytes = b""
    rest: AsyncIterator[bytes] | None = None
    patient: bool = False

    def arg(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        return next((value for key, value in self.query if key == name), default)


@attrs.frozen
class Response:
    """A whole answer. Header names are lower case."""

    status: int
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: bytes = b""


class StreamResponse(Protocol):
    """An answer that goes on: a watch, a log that is followed. For a watch each chunk from ``lines`` is one JSON event."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    async def read(self) -> bytes:
        """All of it, for an answer that turned out to be an error."""
        ...

    def chunks(self) -> AsyncIterator[bytes]: ...

    def lines(self) -> AsyncIterator[bytes]: ...


async def lines_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Events of a watch, whichever way they were cut on the way."""
    left = b""
    async for chunk in chunks:
        *lines, left = (left + chunk).split(b"\n")
        for line in lines:
            yield line
    if left:
        yield left


class Transport(Protocol):
    """Carries requests. An answer of any status is an answer; only a broken way raises (``Disconnected``)."""

    async def request(self, request: Request) -> Response: ...

    def stream(self, request: Request) -> AbstractAsyncContextManager[StreamResponse]:
        """Leaving the context ends the stream on both sides."""
        ...


class Disconnected(Exception):
    """The way to the server broke, or never was: nothing is known about what became of the request. Try again."""


class Unlinked(Disconnected):
    """The node's link is over, or is not there: whoever keeps it has said so in the log, once for all who use it."""
