"""exec and attach: a caller's streams, over WebSocket or SPDY, joined to those of a container."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import trio

from edgek.client.node import ContainerRef, ExecOptions, NodeDirectory, NodeDoor, Terminal
from edgek.client.transport import Request
from edgek.host.tls import Channel
from edgek.model import errors
from edgek.model.errors import Cause
from edgek.model.objects import Object
from edgek.server.api import options, responses
from edgek.server.api.call import Call
from edgek.server.api.responses import Answer, Upgrade
from edgek.server.api.storage import Objects
from edgek.server.api.streams import channels, pods, spdy_remote, websocket, websocket_remote
from edgek.server.api.streams.caller import Caller

HANGUP_GRACE_S = 5.0  # to deliver what a caller sent before it hung up
SUCCESS: Object = {"metadata": {}, "status": "Success"}

# Does what was asked with the caller's streams; how it ended.
Work = Callable[[Terminal], Awaitable[Object]]


class Remote:
    """The connector of exec and attach."""

    def __init__(self, store: Objects, nodes: NodeDirectory) -> None:
        self._store = store
        self._nodes = nodes

    async def __call__(self, call: Call) -> Answer:
        await trio.lowlevel.checkpoint()
        asked = exec_options(call.request)
        pod = pods.pod_of(call, self._store)
        ref = pods.container_of(pod, call.request.arg("container"))
        door = self._nodes.door(pods.node_of(pod))
        if call.subresource == "attach":
            return upgrade(call.request, asked, lambda terminal: _attached(door, ref, asked, terminal))
        if not asked.command:
            raise errors.BadRequest("you must specify at least 1 command for the container")
        return upgrade(call.request, asked, lambda terminal: _executed(door, ref, asked, terminal))


def exec_options(request: Request) -> ExecOptions:
    """Raises BadRequest."""
    stdin, stdout, stderr, tty = (options.boolean(request.arg(name)) for name in ("stdin", "stdout", "stderr", "tty"))
    if not (stdin or stdout or stderr):
        raise errors.BadRequest("you must specify at least 1 of stdin, stdout, stderr")
    command = tuple(value for key, value in request.query if key == "command")
    return ExecOptions(command, stdin, stdout, stderr and not tty, tty)


def upgrade(request: Request, asked: ExecOptions, work: Work) -> Upgrade:
    """Raises BadRequest and Forbidden for a caller who does not speak as we do."""
    if websocket.asked_for(request):
        dialect = channels.BY_NAME[websocket.negotiated(request, tuple(channels.BY_NAME))]
        return Upgrade(lambda channel: _serve(channel, websocket_remote.called(channel, request, dialect, asked), work))
    protocol = spdy_remote.negotiated(request)
    return Upgrade(lambda channel: _serve(channel, spdy_remote.called(channel, protocol, asked), work))


async def _serve(channel: Channel, called: AbstractAsyncContextManager[Caller], work: Work) -> None:
    async with called as caller, trio.open_nursery() as nursery:
        nursery.start_soon(_listen, caller, nursery.cancel_scope)
        nursery.start_soon(_watch, channel, nursery.cancel_scope)
        await caller.conclude(await work(caller.terminal))
        nursery.cancel_scope.cancel()


async def _listen(caller: Caller, scope: trio.CancelScope) -> None:
    await caller.listen()
    scope.cancel()


async def _watch(channel: Channel, scope: trio.CancelScope) -> None:
    """For a farewell that stands behind stdin which the container does not read: the connection is seen to end all the same."""
    await channel.wait_hung_up()
    await trio.sleep(HANGUP_GRACE_S)
    scope.cancel()


async def _attached(door: NodeDoor, ref: ContainerRef, asked: ExecOptions, terminal: Terminal) -> Object:
    try:
        await door.attach(ref, asked, terminal)
    except errors.ApiError as exc:
        return _failed(exc)
    return SUCCESS


async def _executed(door: NodeDoor, ref: ContainerRef, asked: ExecOptions, terminal: Terminal) -> Object:
    try:
        code = await door.exec(ref, asked, terminal)
    except errors.ApiError as exc:
        return _failed(exc)
    return exited(asked.command, code) if code else SUCCESS


def exited(command: tuple[str, ...], code: int) -> Object:
    """How clients learn an exit code: from the cause, never from the message."""
    message = f"command terminated with non-zero exit code: error executing command [{' '.join(command)}], exit code {code}"
    causes = [{"reason": "ExitCode", "message": str(code)}]
    return {"metadata": {}, "status": "Failure", "message": message, "reason": "NonZeroExitCode", "details": {"causes": causes}}


def _failed(exc: errors.ApiError) -> Object:
    if isinstance(exc, errors.InternalError):
        exc = errors.InternalError(f"Internal error occurred: {exc.message}", causes=[Cause("", exc.message)])
    return responses.status_of(exc)
