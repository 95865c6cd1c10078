"""A watch towards a node: its lines arrive whole and in order however slowly they are read, and it costs no task beside its own."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import trio
from trio.testing import MockClock, memory_stream_pair

from edgek.client import link_messages
from edgek.client.link import CHUNK, WINDOW, Link, Stream
from edgek.server.api.responses import Cut, Line
from edgek.server.api.streams.sink import WAITING_LINES, StreamSink

LONG = 3 * CHUNK


def line(number: int, size: int = 20) -> Line:
    """One that cannot be made smaller, so that it weighs what it seems to."""
    return Line(b"%d " % number + random.Random(number).randbytes(size) + b"\n")


@asynccontextmanager
async def watched(watch: Callable[[StreamSink], Awaitable[None]]) -> AsyncIterator[Stream]:
    """The node's end of a watch that is served over a link."""

    async def serve(stream: Stream) -> None:
        sink = StreamSink(stream)
        with suppress(Cut):
            await watch(sink)
        await sink.finish()

    async def nothing(stream: Stream) -> None:
        await stream.aclose()

    near, far = memory_stream_pair()
    agent, server = Link(near, nothing, dialled=True), Link(far, serve, dialled=False)
    async with trio.open_nursery() as nursery:
        await nursery.start(agent.run)
        await nursery.start(server.run)
        yield agent.open()
        agent.close("the test is over")
        server.close("the test is over")


async def read(stream: Stream) -> list[bytes]:
    """All lines up to an orderly end."""
    found = []
    while (message := await link_messages.receive_more(stream)) is not None:
        found.append(message)
    return found


async def test_lines_arrive_at_once_while_the_reader_keeps_up(autojump_clock: MockClock) -> None:
    async def watch(sink: StreamSink) -> None:
        sink.push(line(1), line(2))
        assert await sink.pause(trio.current_time() + 60)
        sink.push(line(3))
        assert await sink.pause(trio.current_time() + 60)

    began = trio.current_time()
    async with watched(watch) as stream:
        assert [await link_messages.receive_more(stream), await link_messages.receive_more(stream)] == [line(1).line, line(2).line]
        assert trio.current_time() == began
        assert await read(stream) == [line(3).line]


async def test_what_a_slow_reader_has_not_taken_is_said_while_the_watch_waits(autojump_clock: MockClock) -> None:
    many = [line(number, LONG) for number in range(2 * WINDOW // LONG)]

    async def watch(sink: StreamSink) -> None:
        sink.push(*many[:-2])
        assert await sink.pause(trio.current_time() + 10)  # over before anybody reads: in the middle of a line
        sink.push(many[-2])
        assert await sink.pause(trio.current_time() + 100)
        sink.push(many[-1])

    async with watched(watch) as stream:
        await trio.sleep(50)
        assert await read(stream) == [each.line for each in many]


async def test_who_drains_waits_until_the_stream_has_taken_everything(autojump_clock: MockClock) -> None:
    drained_at = []

    async def watch(sink: StreamSink) -> None:
        for number in range(2):
            sink.push(line(number, 2 * WINDOW))
            await sink.drain()
            drained_at.append(trio.current_time() - began)

    began = trio.current_time()
    async with watched(watch) as stream:
        await trio.sleep(30)
        assert drained_at == []
        assert await read(stream) == [line(0, 2 * WINDOW).line, line(1, 2 * WINDOW).line]
        assert len(drained_at) == 2


async def test_a_reader_who_is_too_far_behind_is_cut_off_in_an_orderly_way(autojump_clock: MockClock) -> None:
    went_on = []

    async def watch(sink: StreamSink) -> None:
        sink.push(line(0, 2 * WINDOW))
        for number in range(WAITING_LINES + 1):
            sink.push(line(number))
        went_on.append(await sink.pause(trio.current_time() + 10))
        await sink.drain()
        went_on.append("drained")

    async with watched(watch) as stream:
        await trio.sleep(1)
        assert await read(stream) == [line(0, 2 * WINDOW).line]
        assert went_on == [False]


async def test_a_watch_ends_with_the_link_that_carries_it(autojump_clock: MockClock) -> None:
    ended = trio.Event()

    async def watch(sink: StreamSink) -> None:
        try:
            sink.push(line(0, 2 * WINDOW))
            await sink.pause(trio.current_time() + 1000)
        finally:
            ended.set()

    async with watched(watch) as stream:
        await trio.sleep(1)
        stream.drop()
        with trio.fail_after(10):
            await ended.wait()
