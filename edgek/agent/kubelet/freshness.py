"""Whether a pod's volumes are built, and when they are to be built again: a token ends, or something that they show has changed."""

from __future__ import annotations

from collections.abc import Awaitable

import trio


class Freshness:
    def __init__(self) -> None:
        self.built = False  # once, since this worker began
        self._due: float | None = None
        self._changes = 0  # one that comes while volumes are built from what was before must not be lost

    def changed(self) -> None:
        """Something that they show is different now."""
        self._changes += 1
        if self.built:
            self._due = trio.current_time()

    async def build(self, building: Awaitable[float | None]) -> None:
        """``building`` gives the seconds after which to do it again, if ever."""
        changes = self._changes
        again_s = await building
        self.built = True
        if changes != self._changes:
            self._due = trio.current_time()
        else:
            self._due = None if again_s is None else trio.current_time() + again_s

    def put_off(self, seconds: float) -> None:
        self._due = trio.current_time() + seconds

    @property
    def left_s(self) -> float:
        """Seconds until they are to be built again; infinite while nothing asks for it."""
        return float("inf") if self._due is None else self._due - trio.current_time()
