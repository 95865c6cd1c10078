"""A SPDY/3.1 connection, the server's end: streams that the client opens, read and written like any trio stream.

What comes for a stream that nobody reads is kept, up to a limit; beyond that the whole connection waits, for SPDY as it is spoken here has no flow
control of its own.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Mapping

import trio

from edgek.server.api.responses import Cut
from edgek.server.api.streams import spdy
from edgek.server.api.streams.spdy import Data, Frame, Ping, Reset, SynReply, SynStream

UNREAD_BYTES = 1024 * 1024  # of one stream, before the connection waits
STREAMS_AT_ONCE = 2000  # more are refused
FRAMES_AHEAD = 4  # that wait for the connection to take them
FAREWELL_S = 2.0  # for the client to read the end before the connection goes

# What a connection says when its other end is no more.
GONE = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


class SpdyStream:
    """One stream. ``headers`` are those with which the client opened it."""

    def __init__(self, session: SpdySession, number: int, headers: Mapping[str, str]) -> None:
        self.number = number
        self.headers = headers
        self._session = session
        self._unread: deque[bytes] = deque()
        self._size = 0
        self._arrived = trio.Event()
        self._taken = trio.Event()
        self._heard_all = False
        self._said_all = False
        self._broken = trio.Event()

    # What the session tells.

    async def took(self, payload: bytes, fin: bool) -> None:
        """Waits while too much is unread."""
        if payload and not self._heard_all:
            self._unread.append(payload)
            self._size += len(payload)
        self._heard_all = self._heard_all or fin
        self._arrived.set()
        while self._size > UNREAD_BYTES and not self._broken.is_set():
            self._taken = trio.Event()
            await self._taken.wait()

    def broke(self) -> None:
        """Reset by the client, or the connection ended."""
        self._heard_all = True
        self._broken.set()
        self._arrived.set()
        self._taken.set()

    # What its user does.

    @property
    def is_over(self) -> bool:
        return self._broken.is_set() or (self._heard_all and self._said_all)

    async def wait_broken(self) -> None:
        """Until the client resets the stream, or is gone."""
        await self._broken.wait()

    async def receive_some(self) -> bytes:
        """Empty at the end. Raises Cut when the stream was reset, or the connection broke."""
        await trio.lowlevel.checkpoint()
        while not self._unread:
            if self._broken.is_set():
                raise Cut
            if self._heard_all:
                return b""
            self._arrived = trio.Event()
            await self._arrived.wait()
        payload = self._unread.popleft()
        self._size -= len(payload)
        self._taken.set()
        return payload

    async def send_all(self, payload: bytes) -> None:
        """Raises Cut."""
        for at in range(0, len(payload), spdy.DATA_BYTES):
            if self._broken.is_set() or self._said_all:
                raise Cut
            await self._session.send(Data(self.number, payload[at : at + spdy.DATA_BYTES]))

    async def send_eof(self) -> None:
        """No more comes from us. May be called twice. Raises Cut."""
        if not self._said_all and not self._broken.is_set():
            self._said_all = True
            await self._session.send(Data(self.number, b"", fin=True))
        self._session.forget_if_over(self)

    def drop(self) -> None:
        """What still comes for it is thrown away. May be called twice."""
        self.broke()
        self._session.forget_if_over(self)


class SpdySession:
    """``opened`` gets each new stream, before anything else that comes for it. Nothing moves without ``run``."""

    def __init__(self, stream: trio.abc.Stream, opened: Callable[[SpdyStream], None]) -> None:
        self._stream = stream
        self._opened = opened
        # One task writes, so that a frame is never cut in two by the cancellation of whoever sends it.
        self._outgoing, self._frames = trio.open_memory_channel[Frame](FRAMES_AHEAD)
        self._streams: dict[int, SpdyStream] = {}

    async def run(self) -> None:
        """Until the client hangs up, or everything was sent after ``finish``."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, nursery.cancel_scope)
            await self._write()
            with trio.move_on_after(FAREWELL_S):  # the client may still be reading; it hangs up when it is done
                await trio.sleep_forever()
            nursery.cancel_scope.cancel()

    def finish(self) -> None:
        """All was said: what waits is still sent. May be called twice."""
        self._outgoing.close()

    async def send(self, frame: Frame) -> None:
        """Waits while the client is slow. Raises Cut once it is gone."""
        try:
            await self._outgoing.send(frame)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Cut from None

    async def _write(self) -> None:
        encoder = spdy.Encoder()
        with self._frames, contextlib.suppress(*GONE):
            async for frame in self._frames:
                await self._stream.send_all(encoder.encode(frame))

    async def _listen(self, scope: trio.CancelScope) -> None:
        decoder = spdy.Decoder()
        try:
            while data := await self._stream.receive_some():
                for frame in decoder.feed(bytes(data)):
                    await self._heard(frame)
        except (spdy.Broken, Cut, *GONE):
            pass
        finally:
            for stream in self._streams.values():
                stream.broke()
            self._streams.clear()
            self._frames.close()
            scope.cancel()

    async def _heard(self, frame: Frame) -> None:
        match frame:
            case SynStream(number, headers, fin):
                await self._open(number, headers, fin)
            case Data(number, payload, fin):
                stream = self._streams.get(number)
                if stream is not None:
                    await stream.took(payload, fin)
                    self.forget_if_over(stream)
            case Reset(number, _):
                stream = self._streams.pop(number, None)
                if stream is not None:
                    stream.broke()
            case Ping(number) if number % 2:  # theirs; ours would be even
                await self.send(frame)
            case _:
                pass  # GOAWAY: it opens no more streams, those that are open go on

    async def _open(self, number: int, headers: Mapping[str, str], fin: bool) -> None:
        if number in self._streams or len(self._streams) >= STREAMS_AT_ONCE:
            await self.send(Reset(number, spdy.REFUSED_STREAM))
            return
        stream = self._streams[number] = SpdyStream(self, number, headers)
        await self.send(SynReply(number))
        self._opened(stream)
        if fin:
            await stream.took(b"", True)

    def forget_if_over(self, stream: SpdyStream) -> None:
        if stream.is_over:
            self._streams.pop(stream.number, None)
