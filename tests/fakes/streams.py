"""Ends of streams that tests look at."""

from __future__ import annotations

import trio


class Collected(trio.abc.SendStream):
    """A stream that keeps what it is sent."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.more = trio.Event()  # set and replaced with each chunk

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        self.content += data
        self.more.set()
        self.more = trio.Event()

    async def holds(self, wanted: bytes) -> None:
        """Wait until ``wanted`` is among what came."""
        while wanted not in self.content:
            await self.more.wait()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
