"""What this node last heard of the cluster's Services and their endpoints: one that boots without its server answers names and carries traffic by it.

A file for each informer. It is written a moment after a change; while changes go on, the pauses between writes grow to ten minutes. What waits when
the node stops in good order is written then. So a node at rest writes nothing, and one in a busy cluster some hundred files a day at most.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import attrs
import orjson
import trio

from edgek.client.informer import Informer
from edgek.host import files, log
from edgek.host.worker import InLine, Worker

V = TypeVar("V", bound=attrs.AttrsInstance)

SEED_AFTER_S = 10.0  # a server that takes longer to answer is away
PAUSE_FIRST_S, PAUSE_MOST_S = 1.0, 600.0  # between a change and its writing
QUIET_S = 600.0  # after so long without a change, the next is written soon again


class Heard(Generic[V]):
    """``decode`` makes a view of what ``attrs.asdict`` made of it; it raises KeyError, TypeError or ValueError for anything else."""

    def __init__(self, informer: Informer[V], file: Path, decode: Callable[[Any], V], worker: Worker | InLine | None = None) -> None:
        self._informer = informer
        self._file = file
        self._decode = decode
        self._worker = worker or Worker(1)
        self._changed = trio.Event()
        self._written = b""  # digest of what the file holds
        self._complained = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Seed the informer when no server answers, and keep what it shows, for ever."""
        self._informer.add_handler(lambda *_: self._changed.set())
        task_status.started()
        kept = await self._worker.run(self._read)
        with trio.move_on_after(SEED_AFTER_S):
            await self._informer.synced.wait()
        if kept and not self._informer.synced.is_set():
            log.warning("the server cannot be reached, going by what was heard last", kind=self._informer.kind.plural, count=len(kept))
            self._informer.seed(kept)
        await self._keep()

    async def _keep(self) -> None:
        pause_s = PAUSE_FIRST_S
        try:
            while True:
                since = trio.current_time()
                await self._changed.wait()
                pause_s = PAUSE_FIRST_S if trio.current_time() - since > QUIET_S else pause_s
                await trio.sleep(pause_s)
                self._changed = trio.Event()
                if not await self._worker.run(self._write, dict(self._informer.items)):
                    self._changed.set()
                pause_s = min(2 * pause_s, PAUSE_MOST_S)
        finally:
            if self._changed.is_set():
                self._write(self._informer.items)

    def _read(self) -> Mapping[str, V]:
        """Blocks. Nothing from a file that is not there, or that a stranger wrote."""
        try:
            raw = self._file.read_bytes()
            self._written = _digest(raw)
            return {key: self._decode(found) for key, found in orjson.loads(raw).items()}
        except FileNotFoundError:
            return {}
        except (OSError, KeyError, TypeError, ValueError, AttributeError) as exc:
            log.warning("what was heard last cannot be read", file=self._file, error=exc)
            return {}

    def _write(self, items: Mapping[str, V]) -> bool:
        """Blocks. False where that has to be tried again: a card that is full or went read-only stops nothing."""
        raw = orjson.dumps({key: attrs.asdict(view) for key, view in items.items()}, option=orjson.OPT_SORT_KEYS)
        if _digest(raw) == self._written:
            return True
        try:
            files.make_private(self._file.parent)
            files.write_atomically(self._file, raw, files.SECRET_MODE)
        except OSError as exc:
            if not self._complained:
                log.warning("cannot keep what was heard for times without a server", file=self._file, error=exc)
            self._complained = True
            return False
        self._written, self._complained = _digest(raw), False
        return True


def _digest(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()
