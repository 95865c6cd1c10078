"""Calls that may hang for ever, because what they look at is mounted from a server that is dead.

Each volume of a pod has one at a time: trying again while the last one still hangs fails at once, and leaves no second thread behind.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import attrs
import trio

from edgek.agent.kubelet.volumes.volume import VolumeFailed
from edgek.host.worker import InLine, Worker

T = TypeVar("T")

THREADS = 64  # so many volumes may hang before others wait for them
ANSWER_MOST_S = 30.0  # for a look at a path

Key = tuple[str, str]


class Lanes:
    def __init__(self, worker: Worker | InLine | None = None) -> None:
        self._worker = worker or Worker(THREADS)
        self._busy: dict[Key, object] = {}

    def of(self, uid: str, volume: str) -> Lane:
        return Lane(self, (uid, volume))

    async def run(self, key: Key, within_s: float, function: Callable[..., T], *args: object) -> T:
        """Raises VolumeFailed where no answer comes, and what the function raises."""
        if key in self._busy:
            raise VolumeFailed("what was begun earlier has not ended: a server that it waits for does not answer")
        mark = self._busy[key] = object()
        token, ended = trio.lowlevel.current_trio_token(), False

        def work() -> T:
            nonlocal ended
            try:
                return function(*args)
            finally:
                ended = True
                with suppress(trio.RunFinishedError):
                    token.run_sync_soon(self._over, key, mark)

        try:
            with trio.move_on_after(within_s):
                return await self._worker.run(work, abandon=True)
        finally:
            if ended:
                self._over(key, mark)
        raise VolumeFailed(f"no answer within {within_s:g} s: a server that is mounted there may be away")

    def _over(self, key: Key, mark: object) -> None:
        if self._busy.get(key) is mark:
            del self._busy[key]


@attrs.frozen
class Lane:
    """A volume's own."""

    _lanes: Lanes
    _key: Key

    async def run(self, function: Callable[..., T], *args: object, within_s: float = math.inf) -> T:
        """``within_s`` is for what is over at once where all is well. A cancelled caller leaves the thread behind."""
        return await self._lanes.run(self._key, within_s, function, *args)
