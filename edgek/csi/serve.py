"""The CSI services of a driver: Identity, Controller and Node, for a caller in this process or on a socket.

The driver's blocking calls run in threads that are left behind when their caller gives up; the volume is then pending until the thread ends, and
calls for it are refused (ABORTED) meanwhile. The driver is opened at the first call that needs it: until then it costs nothing.
"""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import trio

from edgek import __version__
from edgek.csi import messages
from edgek.csi.controller import Controller
from edgek.csi.driver import Driver, Pending, Refused
from edgek.csi.node import Node
from edgek.host import log
from edgek.host.message import Values
from edgek.host.rpc import Method, RpcError, TooSlow
from edgek.host.worker import InLine, Worker

T = TypeVar("T")

THREADS = 32  # of a driver, those included that hang on a dead server. Then calls are refused: there is help elsewhere, not in more threads

Answer = Callable[[Values], Awaitable[Values]]


class Runner:
    """Runs what blocks, one thing at a time for each key."""

    def __init__(self, worker: Worker | InLine | None = None) -> None:
        # We count. The worker must never make anyone wait: who is cancelled in its line would never give the keys back.
        self._worker = worker or Worker(2 * THREADS)
        self._busy: set[str] = set()
        self._running = 0

    async def run(self, keys: tuple[str, ...], function: Callable[..., T], *args: Any) -> T:
        """Raises Pending, and what the function raises. A cancelled caller leaves the thread behind, and the keys with it."""
        await trio.lowlevel.checkpoint_if_cancelled()
        taken = [key for key in keys if key in self._busy]
        if taken:
            raise Pending(f"an operation for {taken[0]!r} is under way; ask again")
        if self._running >= THREADS:
            raise Pending(f"{THREADS} operations are under way; ask again")
        token = trio.lowlevel.current_trio_token()
        self._busy.update(keys)
        self._running += 1

        def work() -> T:
            try:
                return function(*args)
            finally:
                with suppress(trio.RunFinishedError):
                    token.run_sync_soon(self._done, keys)

        return await self._worker.run(work, abandon=True)

    def _done(self, keys: tuple[str, ...]) -> None:
        self._busy.difference_update(keys)
        self._running -= 1


class Services:
    """``open_driver`` may block and may raise what a driver raises; it is called once it succeeded, never again."""

    def __init__(self, name: str, open_driver: Callable[[], Driver], node_id: str, *, worker: Worker | InLine | None = None) -> None:
        self._name = name
        self._open_driver = open_driver
        self._driver: Driver | None = None
        self._opening = trio.Lock()
        self._runner = Runner(worker)
        controller, node = Controller(self._opened, self._runner.run), Node(self._opened, self._runner.run, node_id)
        identity: Mapping[Method, Answer] = {
            messages.GET_PLUGIN_INFO: self._plugin_info,
            messages.GET_PLUGIN_CAPABILITIES: self._plugin_capabilities,
            messages.PROBE: self._probe,
        }
        everything = {**identity, **controller.answers, **node.answers}
        self.answers: Mapping[Method, Answer] = {method: self._refusing(method, answer) for method, answer in everything.items()}

    async def call(self, method: Method, values: Mapping[str, Any], *, timeout_s: float | None) -> Values:
        """As ``Channel.call``, without a socket: the same answers, the same errors. Raises RpcError."""
        request = method.request.decode(method.request.encode(values))
        with trio.move_on_after(math.inf if timeout_s is None else timeout_s):
            answer = await self.answers[method](request)
            return method.response.decode(method.response.encode(answer))
        raise TooSlow("DEADLINE_EXCEEDED", f"{method.path} took more than {timeout_s} s")

    async def _opened(self) -> Driver:
        async with self._opening:
            if self._driver is None:
                self._driver = await self._runner.run((), self._open_driver)
            return self._driver

    def _refusing(self, method: Method, answer: Answer) -> Answer:
        """What drivers raise, as an RpcError."""

        async def answered(request: Values) -> Values:
            try:
                return await answer(request)
            except Refused as refusal:
                raise RpcError(refusal.code, str(refusal)) from None
            except OSError as exc:
                log.warning("a storage call failed", driver=self._name, call=method.path.rpartition("/")[2], error=exc)
                raise RpcError(_code(exc), _words(exc)) from None

        return answered

    async def _plugin_info(self, request: Values) -> Values:
        return {"name": self._name, "vendor_version": __version__}

    async def _plugin_capabilities(self, request: Values) -> Values:
        driver = await self._opened()
        services = [messages.CONTROLLER_SERVICE, *([messages.VOLUME_ACCESSIBILITY_CONSTRAINTS] if driver.topology else [])]
        found: list[Values] = [{"service": {"type": each}} for each in services]
        return {"capabilities": [*found, {"volume_expansion": {"type": messages.EXPANSION_ONLINE}}]}

    async def _probe(self, request: Values) -> Values:
        await self._opened()
        return {"ready": {"value": True}}


def _words(exc: OSError) -> str:
    """For users, who read them in Events: without Python's number of the error. A file that a pod named in no encoding is shown in ours."""
    text = ": ".join(os.fsdecode(part) if isinstance(part, bytes) else str(part) for part in (exc.strerror or exc, exc.filename) if part)
    return text.encode(errors="backslashreplace").decode()


def _code(exc: OSError) -> str:
    if isinstance(exc, TimeoutError):
        return "DEADLINE_EXCEEDED"
    return "RESOURCE_EXHAUSTED" if exc.errno in (errno.ENOSPC, errno.EDQUOT) else "INTERNAL"


async def serve(services: Services, socket: Path, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """On a unix socket, until cancelled. Raises OSError."""
    from edgek.host import rpc_serve

    await rpc_serve.serve(socket, services.answers, task_status=task_status)
