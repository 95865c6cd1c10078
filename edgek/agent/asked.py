"""What a server may ask of this node over its link, and how it is answered: logs, exec, attach, connections into pods, the kubelet's own pages.

The questions are those of ``server/api/streams/link.py``; the answers come from the node's ``NodeDoor``.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import orjson
import trio

from edgek.client import link_calls
from edgek.client.link import GONE, Stream
from edgek.client.link_calls import BrokenOff, Head
from edgek.client.link_terminal import EXIT, RESIZE, STDIN, receive_message, send_message
from edgek.client.node import ContainerRef, ExecOptions, LogOptions, NodeDoor, Terminal
from edgek.model import errors

READ_BYTES = 32 * 1024

Work = Callable[[NodeDoor, Head, Stream], Awaitable[None]]


def work(head: Head) -> Work:
    """Who answers this. Raises BadRequest."""
    found = WORK.get(str(head.get("do")))
    if found is None:
        raise errors.BadRequest(f"this node does not know how to {head.get('do')!r}")
    return found


def status(exc: errors.ApiError) -> Head:
    return {"message": exc.message, "reason": exc.reason, "code": exc.code, "details": exc.details()}


async def _logs(door: NodeDoor, head: Head, stream: Stream) -> None:
    async with contextlib.aclosing(door.logs(ContainerRef(**head["ref"]), LogOptions(**head["options"]))) as found:
        first = await anext(found, b"")  # a refusal comes in its place
        await link_calls.send_head(stream, {}, first)
        try:
            async for chunk in found:
                await stream.send(chunk)
        except errors.ApiError as exc:
            raise BrokenOff(f"the log cannot be read on: {exc}") from None
    await stream.send_eof()


async def _terminal(what: str, door: NodeDoor, head: Head, stream: Stream) -> None:
    options = ExecOptions(**{**head["options"], "command": tuple(head["options"]["command"])})
    ref = ContainerRef(**head["ref"])
    lock = trio.Lock()
    typed, stdin = trio.open_memory_channel[bytes](4)
    resized, resizes = trio.open_memory_channel[tuple[int, int]](16)
    ended: Head = {"code": 0}

    async def write(kind: int, data: bytes) -> None:
        try:
            await send_message(stream, lock, kind, data)
        except GONE:
            await trio.sleep_forever()  # the stream broke, so whoever serves it is about to be cancelled

    await link_calls.send_head(stream, {})
    async with trio.open_nursery() as nursery, stdin, resizes:
        nursery.start_soon(_distribute, stream, typed, resized)
        terminal = Terminal(_received(stdin), write, _received(resizes))
        try:
            if what == "exec":
                ended = {"code": await door.exec(ref, options, terminal)}
            else:
                await door.attach(ref, options, terminal)
        except errors.ApiError as exc:
            ended = {"error": status(exc)}
        await send_message(stream, lock, EXIT, orjson.dumps(ended))
        nursery.cancel_scope.cancel()
    await stream.send_eof()


async def _received(channel: trio.MemoryReceiveChannel[Any]) -> AsyncIterator[Any]:
    async for each in channel:
        yield each


async def _distribute(stream: Stream, typed: trio.MemorySendChannel[bytes], resized: trio.MemorySendChannel[tuple[int, int]]) -> None:
    """What the caller types and how he drags his window, until the stream ends."""
    async with typed, resized:
        try:
            while True:
                kind, data = await receive_message(stream)
                if kind == RESIZE:
                    columns, rows = orjson.loads(data)
                    await resized.send((columns, rows))
                elif kind == STDIN and data:
                    await typed.send(data)
                elif kind == STDIN:
                    await typed.aclose()
        except GONE:
            return


async def _dial_pod(door: NodeDoor, head: Head, stream: Stream) -> None:
    await _join(await door.dial_pod(head["namespace"], head["pod"], head["pod_uid"], head["port"]), stream)


async def _dial(door: NodeDoor, head: Head, stream: Stream) -> None:
    await _join(await door.dial(head["host"], head["port"]), stream)


async def _join(near: trio.abc.HalfCloseableStream, stream: Stream) -> None:
    """Both ways, each to its own end; a break ends both."""
    async with near:
        await link_calls.send_head(stream, {})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_pass_on, stream, near, nursery.cancel_scope)
            nursery.start_soon(_pass_on, near, stream, nursery.cancel_scope)


async def _pass_on(source: trio.abc.HalfCloseableStream, to: trio.abc.HalfCloseableStream, scope: trio.CancelScope) -> None:
    try:
        while data := await source.receive_some(READ_BYTES):
            await to.send_all(data)
        await to.send_eof()
    except GONE:
        scope.cancel()


async def _request(door: NodeDoor, head: Head, stream: Stream) -> None:
    found = await door.request(link_calls.request_of(head, await link_calls.rest(stream)))
    await link_calls.send_head(stream, {"status": found.status, "headers": dict(found.headers)}, found.body, last=True)


WORK: Mapping[str, Work] = {
    "logs": _logs,
    "exec": partial(_terminal, "exec"),
    "attach": partial(_terminal, "attach"),
    "dial_pod": _dial_pod,
    "dial": _dial,
    "request": _request,
}
