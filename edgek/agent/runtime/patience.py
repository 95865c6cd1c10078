"""How long a containerd of ours may be of no use before it is ended, so that its keeper starts another.

One that hangs without dying, and one that lost sight of its plugins, look alive to whoever only waits for its end.
"""

from __future__ import annotations

import trio

LIMIT_S = 60.0  # a slow card may hold up containerd for long, and a restart costs pods nothing
LIMIT_MOST_S = 3600.0  # where restarts do not help


class Patience:
    def __init__(self) -> None:
        self._since: float | None = None
        self._limit_s = LIMIT_S
        self._lost = trio.Event()

    def of_use(self) -> None:
        """It answered, and all is well."""
        self._since = None
        self._limit_s = LIMIT_S

    def of_no_use(self) -> None:
        """It did not answer in time, or says itself that it cannot work."""
        now = trio.current_time()
        if self._since is None:
            self._since = now
        elif now - self._since >= self._limit_s:
            self._lost.set()

    def start_anew(self) -> None:
        """Another containerd, another chance; a longer one each time."""
        if self._lost.is_set():
            self._limit_s = min(2 * self._limit_s, LIMIT_MOST_S)
        self._since, self._lost = None, trio.Event()

    async def lost(self) -> None:
        """Until it is over with patience."""
        await self._lost.wait()
