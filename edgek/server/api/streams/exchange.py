"""One request to a backend and its answer, over a stream that somebody dialled: HTTP/1.1, as much of it as a proxy needs."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncIterator, Mapping

import httptools
import trio

from edgek.model import errors

HEAD_LIMIT = 128 * 1024  # bytes of an answer's headers
READ_BYTES = 64 * 1024
EARLY_BYTES = 8 * 1024 * 1024  # of an answer that comes while the request is still being sent
# They speak of one connection, not of what is passed on.
HOP_BY_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "proxy-authenticate", "te", "trailer", "transfer-encoding", "upgrade"})


class Exchange:
    """``ask`` once, then read ``chunks``. ``async with`` closes the stream."""

    def __init__(self, stream: trio.abc.Stream, method: str) -> None:
        self.stream = stream
        self.status = 0
        self.headers: dict[str, str] = {}  # lower case; repeated ones apart by line breaks
        self.leftover = b""  # after a 101: what the backend said already
        self._method = method
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: deque[bytes] = deque()
        self._head_bytes = 0
        self._head_done = False
        self._done = False

    async def ask(self, target: str, headers: Mapping[str, str], body: AsyncIterator[bytes]) -> None:
        """Returns with the answer's head, once the body was sent. Raises ServiceUnavailable."""
        lines = [f"{self._method} {target} HTTP/1.1\r\n"]
        for name, value in headers.items():
            lines += [f"{name}: {line}\r\n" for line in value.split("\n")]
        try:
            await self.stream.send_all("".join([*lines, "\r\n"]).encode("latin-1", "replace"))
            await self._send(body, chunked="transfer-encoding" in headers)
            while not self._head_done or self.status == 100:
                if not await self._read():
                    raise errors.ServiceUnavailable("error trying to reach service: EOF")
        except (OSError, trio.BrokenResourceError, httptools.HttpParserError) as exc:
            raise errors.ServiceUnavailable(f"error trying to reach service: {exc or 'the connection broke'}") from None

    async def _send(self, body: AsyncIterator[bytes], *, chunked: bool) -> None:
        """A backend may answer before it has read all; what it says meanwhile is kept, and when it hangs up the rest is not sent."""
        failures: list[errors.ServiceUnavailable] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_early, nursery.cancel_scope, failures)
            with contextlib.suppress(OSError, trio.BrokenResourceError):
                async for piece in body:
                    await self.stream.send_all(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                if chunked:
                    await self.stream.send_all(b"0\r\n\r\n")
            nursery.cancel_scope.cancel()
        if failures:
            raise failures[0]

    async def _read_early(self, scope: trio.CancelScope, failures: list[errors.ServiceUnavailable]) -> None:
        try:
            while sum(map(len, self._chunks)) < EARLY_BYTES:
                if not await self._read():
                    break
            else:
                failures.append(errors.ServiceUnavailable(f"the service answered with {EARLY_BYTES} bytes before it had read the request"))
        except (OSError, trio.BrokenResourceError, httptools.HttpParserError) as exc:
            if not self._head_done:
                failures.append(errors.ServiceUnavailable(f"error trying to reach service: {exc or 'the connection broke'}"))
        scope.cancel()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body. Raises ServiceUnavailable when it ends too early."""
        try:
            while True:
                while self._chunks:
                    yield self._chunks.popleft()
                if self._done or not await self._read():
                    break
        except (OSError, trio.BrokenResourceError, httptools.HttpParserError) as exc:
            raise errors.ServiceUnavailable(f"the service broke off: {exc}") from None
        if not self._done and ("content-length" in self.headers or "transfer-encoding" in self.headers):
            raise errors.ServiceUnavailable("the service broke off")

    async def whole(self, limit: int) -> bytes | None:
        """The body, if it has no more than ``limit`` bytes; otherwise None, and ``chunks`` has all of it. Raises ServiceUnavailable."""
        parts = []
        size = 0
        async for chunk in self.chunks():
            parts.append(chunk)
            size += len(chunk)
            if size > limit:
                self._chunks.extendleft(reversed(parts))
                return None
        return b"".join(parts)

    @property
    def has_body(self) -> bool:
        return self._method != "HEAD" and self.status not in (204, 304)

    async def _read(self) -> bool:
        received = bytes(await self.stream.receive_some(READ_BYTES))
        if received:
            try:
                self._parser.feed_data(received)
            except httptools.HttpParserUpgrade as upgrade:
                self.leftover = received[upgrade.args[0] :]
        return bool(received)

    # What the parser tells.

    def on_status(self, status: bytes) -> None:
        self.headers.clear()
        self._head_done = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > HEAD_LIMIT:
            raise errors.ServiceUnavailable("the service answered with more headers than can be passed on")
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self.headers[key] = f"{self.headers[key]}\n{text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self._head_done = True

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        if self.status != 100:
            self._done = True

    async def __aenter__(self) -> Exchange:
        return self

    async def __aexit__(self, *_: object) -> None:
        await trio.aclose_forcefully(self.stream)
