"""The link that an agent dials: many streams over one connection, in both directions.

A frame is its type (with ``LAST`` where its stream ends in this direction), its stream's number and its length, then its bytes. Numbers are odd for
streams that the agent opened and even for the server's.

**No deadlock.** The reader never waits: what a stream's owner has not taken is bounded by the stream's window, which the other end keeps. So the
connection is always emptied, and whoever waits to write gets on.

**No leaked stream.** When the link is over, for whatever reason, every stream on this end breaks and every task that served one is cancelled; the
other end sees the same, at the latest when it has heard nothing for ``SILENT_S``. Each end says something every ``ALIVE_S``, so silence means a dead
link; a process that was stopped or starved meanwhile looks at what has come before it calls that silence.
"""

from __future__ import annotations

import contextlib
import math
import struct
from collections import deque
from collections.abc import Awaitable, Callable

import trio
from trio.lowlevel import ParkingLot

from edgek.host import wallclock

OPEN, DATA, RESET, CREDIT, ALIVE = range(5)
LAST = 0x80
HEAD = struct.Struct(">BIH")
COUNT = struct.Struct(">I")

CHUNK = 16 * 1024  # bytes of a frame, so that streams take turns
WINDOW = 256 * 1024  # bytes of a stream that its reader has not taken
WINDOW_MOST = 1024 * 1024  # where its reader keeps up: on a way of 600 ms to and fro, a window a turn is all that gets through
QUEUE = 64 * 1024  # bytes that wait for the connection; who has more to say waits
STREAMS = 1024  # opened by the other end at once; further ones are reset
ALIVE_S = 10.5  # longer than the pause between two renewals of a node's lease: at rest nothing else is said
SILENT_S = 25.0
HELD_UP_S = 2.0  # who was held up for so long himself has not read yet what was said meanwhile
FAREWELL_S = 1.0  # for the last words of an end that is stopping

GONE = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


class BadFrame(Exception):
    """The other end does not speak as it should."""


class Stream(trio.abc.HalfCloseableStream):
    """One stream of a link. One task may read while another writes.

    Raises ``trio.BrokenResourceError`` once the other end gave it up or the link is over; what came before an orderly end can still be read.
    """

    def __init__(self, link: Link, number: int) -> None:
        self._link = link
        self.number = number
        self.scope: trio.CancelScope | None = None  # of the task that serves it
        self.stalled: tuple[trio.CancelScope, float] | None = None  # whoever gives it up when nothing has moved for so long
        self._arrived: deque[bytes] = deque()
        self._taken = 0  # bytes that the other end has not been given back yet
        self._size = WINDOW
        self._window = WINDOW  # what the other end may still send
        self._credit = WINDOW  # what we may still send
        self._ended = False  # nothing more will come
        self._finished = False  # we have said all
        self._broken = ""
        self._closed = False
        self._changed = ParkingLot()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Empty at the end."""
        await trio.lowlevel.checkpoint()
        while not self._arrived:
            self._check_open()
            if self._ended:
                return b""
            if self._broken:
                raise trio.BrokenResourceError(self._broken)
            await self._changed.park()
        self._check_open()
        data = self._arrived.popleft()
        if max_bytes is not None and len(data) > max_bytes:
            self._arrived.appendleft(data[max_bytes:])
            data = data[:max_bytes]
        self._give_back(len(data))
        return data

    def push_back(self, data: bytes) -> None:
        """What was read too early comes first at the next read."""
        if data:
            self._arrived.appendleft(data)
            self._taken -= len(data)  # it is given back when it is read for good

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.send(data)

    async def send(self, data: bytes | bytearray | memoryview, *, last: bool = False) -> None:
        """``last`` spares a frame of its own that says so."""
        view = memoryview(data)
        await trio.lowlevel.checkpoint()
        while len(view) or last:
            await self._until_may_send(len(view))
            size = min(len(view), CHUNK, self._credit)
            ends = last and size == len(view)
            self._credit -= size
            self._link.put(DATA | (LAST if ends else 0), self.number, bytes(view[:size]))
            view = view[size:]
            if ends:
                self._finished = True
                return

    def send_now(self, data: bytes | memoryview) -> int:
        """How many bytes were taken without waiting. Raises as ``send`` does."""
        view, sent = memoryview(data), 0
        self._check_may_send()
        while sent < len(view) and self._credit and self._link.has_room:
            size = min(len(view) - sent, CHUNK, self._credit)
            self._credit -= size
            self._link.put(DATA, self.number, bytes(view[sent : sent + size]))
            sent += size
        return sent

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        self._check_open()
        self.end_now()

    def end_now(self) -> None:
        """As ``send_eof``, which needs no room either."""
        if not self._finished and not self._broken and not self._closed:
            self._link.put(DATA | LAST, self.number)
            self._finished = True

    async def wait_send_all_might_not_block(self) -> None:
        await self._until_may_send(1)

    def drop(self) -> None:
        """Give it up, without waiting. After both ends have said all, that says nothing more. May be called twice."""
        if self._closed:
            return
        self._closed = True
        if not self._broken and not (self._ended and self._finished):
            self._link.put(RESET, self.number)
        self._arrived.clear()
        self._link.forget(self.number)
        self._changed.unpark_all()

    async def aclose(self) -> None:
        self.drop()
        await trio.lowlevel.checkpoint()

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("the stream was closed on this end")

    def _check_may_send(self) -> None:
        self._check_open()
        if self._broken:
            raise trio.BrokenResourceError(self._broken)
        if self._finished:
            raise trio.ClosedResourceError("the end was said already")

    async def _until_may_send(self, size: int) -> None:
        while True:
            self._check_may_send()
            if size and not self._credit:
                await self._changed.park()
            elif not self._link.has_room:
                await self._link.wait_room()
            else:
                return

    def _give_back(self, size: int) -> None:
        """Tell the other end now and then how much was taken, not each time. A reader who leaves little lying gets more at once."""
        self._taken += size
        if self._taken >= self._size // 2 and not self._ended and not self._broken:
            unread = self._size - self._window - self._taken
            more = min(self._size, WINDOW_MOST - self._size) if unread <= self._size // 4 else 0
            self._size += more
            self._link.put(CREDIT, self.number, COUNT.pack(self._taken + more))
            self._window += self._taken + more
            self._taken = 0

    # What the link tells.

    def arrived(self, data: bytes, *, last: bool) -> None:
        self._moved()
        self._window -= len(data)
        if self._window < 0 or self._ended:
            raise BadFrame("more came than was asked for")
        if data:
            self._arrived.append(data)
        self._ended = self._ended or last
        self._changed.unpark_all()

    def credited(self, size: int) -> None:
        self._moved()
        self._credit += size
        self._changed.unpark_all()

    def _moved(self) -> None:
        if self.stalled is not None:
            scope, after_s = self.stalled
            scope.deadline = trio.current_time() + after_s

    def broke(self, why: str) -> None:
        """What came before its orderly end may still be read."""
        self._broken = self._broken or why
        if not self._ended:
            self._arrived.clear()
        self._changed.unpark_all()
        if self.scope is not None:
            self.scope.cancel()


Serve = Callable[[Stream], Awaitable[None]]


class Link:
    """``run`` it, and ``open`` streams meanwhile. ``serve`` is given those that the other end opens, and raises nothing but GONE.

    ``ends`` is when the certificate ends by which the other end was believed (seconds since the epoch): the link does not outlive it.
    """

    def __init__(self, channel: trio.abc.Stream, serve: Serve, *, dialled: bool, ends: float = math.inf) -> None:
        self._channel = channel
        self._serve = serve
        self._ends = ends
        self._next = 1 if dialled else 2
        self._theirs = 0 if dialled else -1  # the last number they used
        self._streams: dict[int, Stream] = {}
        self._served = 0
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._room = ParkingLot()
        self._wake = trio.Event()
        self._scope = trio.CancelScope()
        self._saying = False  # a frame may be on its way in part
        self._heard_at = self._said_at = -math.inf
        self.why = ""  # it is over

    @property
    def streams(self) -> int:
        """How many are open, from both ends."""
        return len(self._streams)

    def open(self) -> Stream:
        """A new stream, known to the other end from the first frame on. Raises ``trio.BrokenResourceError``."""
        if self.why:
            raise trio.BrokenResourceError(self.why)
        stream = self._streams[self._next] = Stream(self, self._next)
        self._next += 2
        self.put(OPEN, stream.number)
        return stream

    def close(self, why: str) -> None:
        """Let ``run`` come to its end. Does not wait."""
        self.why = self.why or why
        self._scope.cancel()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Returns when the link is over; ``why`` says what ended it. The connection is closed then, and so is every stream."""
        self._heard_at = self._said_at = trio.current_time()
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    nursery.start_soon(self._write)
                    nursery.start_soon(self._watch)
                    task_status.started()
                    await self._read()
        finally:
            if not self.why:
                await self._say_last()
            self.why = self.why or "the link was given up"
            for stream in list(self._streams.values()):
                stream.broke(self.why)
            self._streams.clear()
            self._queue.clear()
            self._room.unpark_all()
            await trio.aclose_forcefully(self._channel)

    async def _say_last(self) -> None:
        """This end is stopping, and the other one is there: what its streams have said goes out."""
        last, self.why = b"".join(self._queue), "the link was given up"
        if last and not self._saying:
            with trio.move_on_after(FAREWELL_S, shield=True), contextlib.suppress(*GONE):
                await self._channel.send_all(last)

    # For streams.

    @property
    def has_room(self) -> bool:
        return self._queued < QUEUE or bool(self.why)

    async def wait_room(self) -> None:
        await self._room.park()

    def put(self, kind: int, number: int, data: bytes = b"") -> None:
        """Never waits: data is only put where there is room, and the rest is small and bounded by the number of streams."""
        if self.why:
            return
        self._queue.append(HEAD.pack(kind, number, len(data)) + data)
        self._queued += HEAD.size + len(data)
        self._wake.set()

    def forget(self, number: int) -> None:
        self._streams.pop(number, None)

    # Its three tasks.

    async def _write(self) -> None:
        try:
            while True:
                while self._queue:
                    batch = b"".join(self._queue)
                    self._queue.clear()
                    self._said_at = trio.current_time()
                    self._saying = True
                    await self._channel.send_all(batch)
                    self._saying = False
                    self._queued -= len(batch)
                    self._room.unpark_all()
                self._wake = trio.Event()
                await self._wake.wait()
        except GONE as exc:
            self.close(f"the connection broke: {exc}")

    async def _watch(self) -> None:
        due = math.inf
        while True:
            now = trio.current_time()
            if now > due + HELD_UP_S:
                self._heard_at = max(self._heard_at, now + HELD_UP_S - SILENT_S)
            if now >= self._heard_at + SILENT_S:
                self.close(f"nothing was heard for {SILENT_S:.0f} s")
            if wallclock.now() > self._ends:
                self.close(f"the certificate of the other end was good until {wallclock.rfc3339(self._ends)}")
            if now >= self._said_at + ALIVE_S:
                self._said_at = now
                self.put(ALIVE, 0)
            due = min(self._heard_at + SILENT_S, self._said_at + ALIVE_S)
            await trio.sleep_until(due)

    async def _read(self) -> None:
        pending = bytearray()
        try:
            while True:
                await trio.lowlevel.checkpoint()
                read = await self._channel.receive_some(QUEUE)
                if not read:
                    self.close("the other end hung up")
                    return
                self._heard_at = trio.current_time()
                pending += read
                self._frames(pending)
        except GONE as exc:
            self.close(f"the connection broke: {exc}")
        except BadFrame as exc:
            self.close(f"the other end does not speak our language: {exc}")

    def _frames(self, pending: bytearray) -> None:
        at = 0
        while len(pending) - at >= HEAD.size:
            kind, number, length = HEAD.unpack_from(pending, at)
            end = at + HEAD.size + length
            if len(pending) < end:
                break
            self._frame(kind & ~LAST, number, bytes(pending[at + HEAD.size : end]), last=bool(kind & LAST))
            at = end
        del pending[:at]

    def _frame(self, kind: int, number: int, data: bytes, *, last: bool) -> None:
        if kind == ALIVE:
            return
        if kind == OPEN:
            self._opened(number)
            return
        stream = self._streams.get(number)
        if stream is None:  # we gave it up, and they did not know yet
            return
        if kind == DATA:
            stream.arrived(data, last=last)
        elif kind == CREDIT and len(data) == COUNT.size:
            stream.credited(COUNT.unpack(data)[0])
        elif kind == RESET:
            stream.broke(data.decode(errors="replace") or "the other end gave the stream up")
            self.forget(number)
        else:
            raise BadFrame(f"a frame of the type {kind}")

    def _opened(self, number: int) -> None:
        if number % 2 == self._next % 2 or number <= self._theirs:
            raise BadFrame(f"stream {number} was opened out of turn")
        self._theirs = number
        if self._served >= STREAMS:
            self.put(RESET, number, b"too many streams")
            return
        stream = self._streams[number] = Stream(self, number)
        self._served += 1
        stream.scope = trio.CancelScope()  # at once: it may be given up before its task begins
        self._nursery.start_soon(self._serve_one, stream, stream.scope)

    async def _serve_one(self, stream: Stream, scope: trio.CancelScope) -> None:
        try:
            with scope:
                await self._serve(stream)
        except* GONE:
            pass  # also from a nursery: the stream is dropped, and the other end hears of that
        finally:
            self._served -= 1
            stream.drop()
