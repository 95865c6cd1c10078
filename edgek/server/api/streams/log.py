"""The log of a container, as it is or as it grows: plain text in chunks, or a WebSocket."""

from __future__ import annotations

import base64
import contextlib
import math
from collections.abc import AsyncGenerator

import trio

from edgek.client.node import ContainerRef, LogOptions, NodeDirectory, NodeDoor
from edgek.client.transport import Request, Response
from edgek.host import wallclock
from edgek.host.tls import Channel
from edgek.model import errors
from edgek.model.errors import Cause
from edgek.server.api import options, responses
from edgek.server.api.call import Call
from edgek.server.api.responses import Answer, Cut, Line, Sink, Streaming, Upgrade
from edgek.server.api.storage import Objects
from edgek.server.api.streams import pods, websocket

SILENCE_S = 0.5  # a log that says nothing for so long is answered with a status before its first byte
STREAMS = ("All", "Stderr", "Stdout")
WEBSOCKET_PROTOCOLS = ("", "binary.k8s.io", "base64.binary.k8s.io")
HEADERS = {"content-type": "text/plain"}


class Logs:
    def __init__(self, store: Objects, nodes: NodeDirectory) -> None:
        self._store = store
        self._nodes = nodes

    async def __call__(self, call: Call) -> Answer:
        wanted = log_options(call.request, call.name)
        pod = pods.pod_of(call, self._store)
        ref = pods.container_of(pod, call.request.arg("container"))
        if not (pod.get("spec") or {}).get("nodeName"):
            return Response(200, HEADERS, b"")  # what upstream says of a pod that no node has yet
        door = self._nodes.door(pods.node_of(pod))
        if websocket.asked_for(call.request):
            return await _over_websocket(call.request, door, ref, wanted)
        return await _chunked(door, ref, wanted)


async def _opened(door: NodeDoor, ref: ContainerRef, wanted: LogOptions) -> tuple[bytes, AsyncGenerator[bytes, None]]:
    """The first piece is waited for, because a refusal comes in its place; but a silent log that is followed has none for now."""
    log = door.logs(ref, wanted)
    with trio.move_on_after(SILENCE_S if wanted.follow else math.inf):
        return await anext(log, b""), log
    return b"", door.logs(ref, wanted)  # the wait ended the first look, which had shown nothing


async def _chunked(door: NodeDoor, ref: ContainerRef, wanted: LogOptions) -> Answer:
    first, log = await _opened(door, ref, wanted)

    async def run(sink: Sink) -> None:
        async with contextlib.aclosing(log), trio.open_nursery() as nursery:
            nursery.start_soon(_until_hung_up, sink, nursery.cancel_scope)
            # An error here means that the reader went away, or the log did: there is no other way to say so now.
            with contextlib.suppress(Cut, errors.ApiError):
                if first:  # an empty chunk would be the end
                    sink.push(Line(first))
                async for chunk in log:
                    sink.push(Line(chunk))
                    await sink.drain()
            nursery.cancel_scope.cancel()

    return Streaming(200, HEADERS, run)


async def _until_hung_up(sink: Sink, scope: trio.CancelScope) -> None:
    await sink.pause(math.inf)
    scope.cancel()


async def _over_websocket(request: Request, door: NodeDoor, ref: ContainerRef, wanted: LogOptions) -> Upgrade:
    protocol = websocket.negotiated(request, WEBSOCKET_PROTOCOLS)
    text = protocol.startswith("base64")
    first, log = await _opened(door, ref, wanted)

    async def run(channel: Channel) -> None:
        async with contextlib.aclosing(log), websocket.accepted(channel, request, protocol) as socket, trio.open_nursery() as nursery:
            nursery.start_soon(_until_closed, socket, nursery.cancel_scope)
            await socket.send(b"")  # upstream's way to say that it is open
            await socket.send(base64.b64encode(first) if text else first, text=text)
            with contextlib.suppress(errors.ApiError):
                async for chunk in log:
                    await socket.send(base64.b64encode(chunk) if text else chunk, text=text)
            nursery.cancel_scope.cancel()

    return Upgrade(run)


async def _until_closed(socket: websocket.WebSocket, scope: trio.CancelScope) -> None:
    while await socket.receive() is not None:
        pass
    scope.cancel()


def log_options(request: Request, name: str) -> LogOptions:
    """Raises BadRequest, Invalid."""
    tail, limit, seconds = (options.integer(request.arg(key)) for key in ("tailLines", "limitBytes", "sinceSeconds"))
    since_time = request.arg("sinceTime")
    stream = request.arg("stream", "All")
    causes = []
    if tail is not None and tail < 0:
        causes.append(_wrong("tailLines", tail, "must be greater than or equal to 0"))
    if limit is not None and limit < 1:
        causes.append(_wrong("limitBytes", limit, "must be greater than 0"))
    if seconds is not None and since_time:
        causes.append(Cause("FieldValueForbidden", "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"))
    elif seconds is not None and seconds < 1:
        causes.append(_wrong("sinceSeconds", seconds, "must be greater than 0"))
    if stream not in STREAMS:
        supported = ", ".join(f'"{known}"' for known in STREAMS)
        causes.append(Cause("FieldValueNotSupported", f'Unsupported value: "{stream}": supported values: {supported}', "stream"))
    elif stream != "All" and tail is not None:
        causes.append(Cause("FieldValueForbidden", "Forbidden: `tailLines` and specific `stream` are mutually exclusive for now"))
    if causes:
        raise responses.invalid("", "PodLogOptions", name, causes)
    return LogOptions(
        follow=options.boolean(request.arg("follow")),
        previous=options.boolean(request.arg("previous")),
        timestamps=options.boolean(request.arg("timestamps")),
        tail_lines=tail,
        limit_bytes=limit,
        since=wallclock.now() - seconds if seconds else _moment(since_time),
        stream=stream,
    )


def _wrong(field: str, value: int, why: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {value}: {why}", field)


def _moment(text: str) -> float | None:
    if not text:
        return None
    try:
        return wallclock.parse(text)
    except ValueError:
        raise errors.BadRequest(f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00": cannot parse "{text}" as "2006"') from None
