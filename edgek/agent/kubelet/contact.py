"""When the server last counted this node in, as the node may safely believe.

It is the moment at which the last Lease renewal *that was answered* was sent: the server, which gives a node up some time after the last renewal that
it saw, never begins to count earlier. The clock is the machine's time since its boot. Nobody sets it, and it means the same to the next process.

For that next process the time is kept in a file: with every renewal where the file lies in memory (``/run``), elsewhere only when the contact is lost
and at the end, for a node at rest writes to no disk. A time that is not known counts as too long ago.
"""

from __future__ import annotations

import os
from pathlib import Path

import trio

from edgek.host import files, log, uptime

LATE_S = 20.0  # renewals come every 10 s. Later than that nobody knows whether the server still counts on us
NEVER = float("inf")


class Contact:
    """``boot`` names this boot of the machine: what was kept in another one says nothing. Without a ``file`` nothing is kept; ``cheap`` where it lies
    in memory.
    """

    def __init__(self, file: Path | None = None, boot: str = "", *, cheap: bool = False) -> None:
        self._file = file
        self._boot = boot
        self._cheap = cheap
        self._last = self._kept()
        self._written = self._last
        self._news = trio.Event()

    @property
    def silent_s(self) -> float:
        """How long ago it was; NEVER where that is not known."""
        return NEVER if self._last is None else max(0.0, uptime.now() - self._last)

    @property
    def silent_since(self) -> float:
        """That moment, since the boot; far in the past where it is not known."""
        return -NEVER if self._last is None else self._last

    @property
    def here(self) -> bool:
        return self.silent_s < LATE_S

    @property
    def lost(self) -> bool:
        """It was there in this boot, and has been silent for longer than a renewal may be late."""
        return self._last is not None and not self.here

    def heard(self, at: float) -> None:
        """A renewal that was sent ``at`` this time since the boot was answered, and the server counts us in."""
        self._last = at
        if self._cheap:
            self.keep()
        self._news.set()
        self._news = trio.Event()

    async def news(self) -> None:
        """Until the server is heard of again."""
        await self._news.wait()

    def keep(self) -> None:
        """Leave the time for the next process. A lost power needs no thought: with it the boot is over, too."""
        if self._file is None or self._last is None or self._written == self._last:
            return
        line = f"{self._boot} {self._last:020.3f}\n".encode()  # always as long as the one before: it is written over that
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT, files.SECRET_MODE)
            try:
                os.pwrite(descriptor, line, 0)
            finally:
                os.close(descriptor)
            self._written = self._last
        except OSError as exc:
            log.warning("cannot keep when the server was last heard of", file=self._file, error=exc)

    def _kept(self) -> float | None:
        try:
            boot, _, text = (self._file.read_text() if self._file else "").strip().rpartition(" ")
            return float(text) if boot == self._boot and 0 <= float(text) <= uptime.now() else None
        except (OSError, ValueError):
            return None
