"""Where a watch of a node goes: a stream of its link.

What is pushed goes out at once, as far as the stream takes it; the rest waits here, and is said by the watch's own task while that waits for news. So
a watch costs one task: nodes have eight of them, and a server a hundred nodes.
"""

from __future__ import annotations

from collections import deque

import trio

from edgek.client.link import GONE, Stream
from edgek.server.api.responses import Cut, Line

WAITING_LINES = 10_000  # a reader this far behind is cut off: he watches again from his last revision, or lists


class StreamSink:
    """See ``responses.Sink``. The end is for whoever made it to say: ``finish``."""

    __slots__ = ("_cut", "_news", "_rest", "_stream", "_waiting")

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._rest: bytes | memoryview = b""  # of a line that was begun
        self._waiting: deque[Line] | None = None
        self._news: trio.Event | None = None
        self._cut = False

    def push(self, *lines: Line) -> None:
        if self._cut or not lines:
            return
        if not self._behind:
            try:
                lines = lines[self._say_now(lines) :]
            except GONE:
                self._cut_off()
                return
        if lines:
            self._waiting = self._waiting or deque()
            self._waiting.extend(lines)
            if len(self._waiting) > WAITING_LINES:
                self._cut_off()
        if self._behind and self._news is not None:
            self._news.set()

    async def drain(self) -> None:
        await trio.lowlevel.checkpoint()
        await self._say()
        if self._cut:
            raise Cut

    async def pause(self, until: float) -> bool:
        with trio.CancelScope(deadline=until):
            while not self._cut:
                await self._say()
                self._news = trio.Event()
                await self._news.wait()
        self._news = None
        return not self._cut

    async def finish(self) -> None:
        """What is still to be said, then the end. Raises GONE."""
        await self._say()
        await self._stream.send_eof()

    def finish_now(self) -> None:
        """We are stopping: the end, unless there is more to say than the stream takes at once."""
        if not self._behind:
            self._stream.end_now()

    @property
    def _behind(self) -> bool:
        return bool(self._rest or self._waiting)

    def _say_now(self, lines: tuple[Line, ...]) -> int:
        """How many of them were begun: all but the last of those were taken whole. Raises GONE."""
        for begun, line in enumerate(lines, 1):
            self._begin(line.packed)
            if self._rest:
                return begun
        return len(lines)

    def _begin(self, piece: bytes | memoryview) -> None:
        self._rest = memoryview(piece)[self._stream.send_now(piece) :]

    async def _say(self) -> None:
        """Until everything is said. May be cancelled at any time: what is not said yet stays."""
        try:
            while self._behind:
                self._begin(self._rest or (self._waiting.popleft().packed if self._waiting else b""))
                if self._rest:
                    await self._stream.wait_send_all_might_not_block()
            self._waiting = None
        except GONE:
            self._cut_off()

    def _cut_off(self) -> None:
        """A line that was begun is still said to its end: the reader is to see an orderly one."""
        self._cut = True
        self._waiting = None
        if self._news is not None:
            self._news.set()
