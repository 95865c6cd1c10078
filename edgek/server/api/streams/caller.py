"""Who called exec or attach, whichever protocol it speaks: what it types, how big its window is, and how it is told the end."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Awaitable, Callable
from typing import Protocol

import orjson
import trio

from edgek.client.node import ExecOptions, Terminal
from edgek.model.objects import Object
from edgek.server.api.responses import Cut

TYPED_AHEAD = 32  # pieces of stdin, mostly of 32 KB, that wait for the container
PROBE_S = 10.0  # while the container takes no stdin: is the caller still there?


class Caller(Protocol):
    @property
    def terminal(self) -> Terminal: ...

    async def listen(self) -> None:
        """Take what the caller sends, until it hangs up."""
        ...

    async def conclude(self, status: Object) -> None:
        """Tell how it ended, as a Status. Raises Cut when nobody is there to hear it."""
        ...


class Typed:
    """``stdin`` and ``resizes`` are what a ``Terminal`` wants. What is typed is kept, up to a limit, until the container takes it; beyond that
    the caller has to wait.

    A caller that dies while it waits says nothing: its farewell stands behind what it could not send. ``probe`` sends it something that means
    nothing, to which the machine of a dead caller answers with a reset of the connection.
    """

    def __init__(self, options: ExecOptions, probe: Callable[[], Awaitable[None]]) -> None:
        self._probe = probe
        self._open = options.stdin
        self._typing, self.stdin = trio.open_memory_channel[bytes](TYPED_AHEAD)
        self._resizing, self.resizes = trio.open_memory_channel[tuple[int, int]](math.inf)
        if not options.stdin:
            self._typing.close()

    async def type(self, payload: bytes) -> None:
        """What nobody will read is dropped."""
        if not self._open or not payload:
            return
        try:
            self._typing.send_nowait(payload)
            await trio.lowlevel.checkpoint()
        except trio.WouldBlock:
            await self._wait_to_type(payload)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._open = False

    async def _wait_to_type(self, payload: bytes) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._probe_again_and_again)
            try:
                await self._typing.send(payload)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._open = False
            nursery.cancel_scope.cancel()

    async def _probe_again_and_again(self) -> None:
        with contextlib.suppress(Cut):  # whoever listens learns of it, too
            while True:
                await trio.sleep(PROBE_S)
                await self._probe()

    def end_of_input(self) -> None:
        self._open = False
        self._typing.close()

    def resize(self, payload: bytes) -> None:
        """``{"Width":..,"Height":..}``. Anything else is passed over, as upstream does."""
        try:
            size = orjson.loads(payload)
            columns, rows = int(size["Width"]), int(size["Height"])
        except (ValueError, KeyError, TypeError):
            return
        if 0 < columns < 65536 and 0 < rows < 65536:
            self._resizing.send_nowait((columns, rows))


def told(status: Object, *, as_status: bool) -> bytes:
    """The last words of an exec: a Status, or for protocols before v4 the text of what went wrong."""
    if as_status:
        return orjson.dumps(status)
    return b"" if status["status"] == "Success" else status.get("message", "").encode()
