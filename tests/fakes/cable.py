"""Connections in memory over a way that can be long, fall silent, and break: TCP as those who use it see it. Time is trio's, so it may be virtual."""

from __future__ import annotations

import math
from collections import deque

import trio
from trio.lowlevel import ParkingLot


class Way:
    """Between two places. While it is not ``up``, what is sent waits, as TCP sends it again until it arrives or somebody gives up."""

    def __init__(self, nursery: trio.Nursery, delay_s: float = 0.0) -> None:
        self.nursery = nursery
        self.delay_s = delay_s
        self.up = True
        self.ends: list[End] = []
        self._mended = ParkingLot()

    def connect(self) -> tuple[End, End]:
        near, far = End(self), End(self)
        near.other, far.other = far, near
        self.ends += [near, far]
        for end in (near, far):
            self.nursery.start_soon(end.carry)
        return near, far

    def cut(self) -> None:
        self.up = False

    def mend(self) -> None:
        self.up = True
        self._mended.unpark_all()

    def reset(self) -> None:
        """All connections break, and both ends know."""
        for end in list(self.ends):
            end.break_off()

    async def until_up(self) -> None:
        while not self.up:
            await self._mended.park()


class End(trio.abc.Stream):
    """One end of a connection, like ``host.tls.Channel``."""

    other: End

    def __init__(self, way: Way) -> None:
        self._way = way
        self._read: deque[bytes] = deque()
        self._inbox_in, self._inbox = trio.open_memory_channel[tuple[float, bytes]](math.inf)
        self._changed = ParkingLot()
        self._ended = self._broken = self._closed = False

    async def carry(self) -> None:
        """What the other end has said, to here. Its last word is empty."""
        async for due, data in self._inbox:
            await trio.sleep_until(due)
            await self._way.until_up()
            if data:
                self._read.append(data)
            else:
                self._ended = True
            self._changed.unpark_all()
            if self._ended:
                break

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise trio.ClosedResourceError
        if self._broken:
            raise trio.BrokenResourceError("the connection was reset")
        self.other._hear(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        while not self._read:
            if self._closed:
                raise trio.ClosedResourceError
            if self._broken:
                raise trio.BrokenResourceError("the connection was reset")
            if self._ended:
                return b""
            await self._changed.park()
        return self._read.popleft()

    def push_back(self, leftover: bytes) -> None:
        if leftover:
            self._read.appendleft(leftover)

    def break_off(self) -> None:
        self._broken = True
        self._read.clear()
        self._inbox_in.close()
        self._changed.unpark_all()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._way.ends.remove(self)
        self.other._hear(b"")
        self._inbox_in.close()
        self._changed.unpark_all()

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()

    def _hear(self, data: bytes) -> None:
        if not self._closed and not self._broken:
            self._inbox_in.send_nowait((trio.current_time() + self._way.delay_s, data))
