"""The link by which agents reach their server, over a pair of connected streams: no deadlock, no stream left behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair

from edgek.client.link import ALIVE_S, HELD_UP_S, SILENT_S, WINDOW, WINDOW_MOST, Link, Stream
from edgek.host import wallclock
from tests.fakes.cable import Way


async def echo(stream: Stream) -> None:
    while data := await stream.receive_some():
        await stream.send(data)
    await stream.send_eof()


async def deaf(stream: Stream) -> None:
    await trio.sleep_forever()


@attrs.frozen
class Pair:
    agent: Link
    server: Link
    cable: trio.StapledStream  # the agent's end of the connection


@asynccontextmanager
async def linked(serve: Callable[[Stream], object] = echo, make: Callable[[], tuple[object, object]] = memory_stream_pair) -> AsyncIterator[Pair]:
    near, far = make()
    pair = Pair(Link(near, serve, dialled=True), Link(far, serve, dialled=False), near)
    async with trio.open_nursery() as nursery:
        await nursery.start(pair.agent.run)
        await nursery.start(pair.server.run)
        yield pair
        pair.agent.close("the test is over")
        pair.server.close("the test is over")


async def told(link: Link, message: bytes) -> bytes:
    """What an echo at the other end makes of it. Sent and read at once, as it may be longer than the window."""
    stream = link.open()
    found = bytearray()

    async def read() -> None:
        while data := await stream.receive_some():
            found.extend(data)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await stream.send(message, last=True)
    stream.drop()
    return bytes(found)


@pytest.mark.parametrize("make", [memory_stream_pair, lockstep_stream_pair], ids=["a wide connection", "a connection that holds nothing"])
async def test_both_ends_open_streams_and_long_messages_arrive_whole(make: Callable[[], tuple[object, object]]) -> None:
    long = bytes(range(256)) * 4096
    assert len(long) > 2 * WINDOW
    async with linked(make=make) as pair:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for link in (pair.agent, pair.server, pair.agent, pair.server):

                    async def check(link: Link = link) -> None:
                        assert await told(link, long) == long

                    nursery.start_soon(check)
        assert (pair.agent.streams, pair.server.streams) == (0, 0)


async def test_a_stream_that_nobody_reads_holds_up_no_other() -> None:
    async def serve(stream: Stream) -> None:
        await (deaf if await stream.receive_some(1) == b"d" else echo)(stream)

    async with linked(serve) as pair:
        stuck = pair.agent.open()
        with trio.move_on_after(0.05):
            await stuck.send(b"d" + bytes(2 * WINDOW))
        with trio.fail_after(20):
            assert await told(pair.agent, b"-hello") == b"hello"


async def test_after_its_end_a_stream_can_still_be_answered() -> None:
    async def late(stream: Stream) -> None:
        parts = []
        while data := await stream.receive_some():
            parts.append(data)
        await stream.send(b"".join(parts).upper(), last=True)

    async with linked(late) as pair:
        assert await told(pair.server, b"half-closed") == b"HALF-CLOSED"


async def test_giving_a_stream_up_cancels_who_serves_it() -> None:
    cancelled = trio.Event()

    async def serve(stream: Stream) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    async with linked(serve) as pair:
        stream = pair.agent.open()
        await stream.send(b"x")
        stream.drop()
        with trio.fail_after(20):
            await cancelled.wait()
            while pair.server.streams:
                await trio.lowlevel.checkpoint()


async def test_a_broken_connection_breaks_every_stream_on_both_ends() -> None:
    async with linked(deaf) as pair:
        streams = [link.open() for link in (pair.agent, pair.server) for _ in range(5)]
        for stream in streams:
            await stream.send(b"x")
        await pair.cable.aclose()
        for stream in streams:
            with trio.fail_after(20), pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()
        assert (pair.agent.streams, pair.server.streams) == (0, 0)
        with pytest.raises(trio.BrokenResourceError):
            pair.agent.open()


async def test_silence_ends_a_link_within_thirty_seconds(autojump_clock: MockClock) -> None:
    """A cable that is cut says nothing: bytes go nowhere, none come."""
    near, _ = memory_stream_pair()
    link = Link(near, deaf, dialled=True)
    began = trio.current_time()
    await link.run()
    assert trio.current_time() - began == SILENT_S < 30
    assert "nothing was heard" in link.why


async def test_who_was_stopped_himself_listens_for_a_moment_before_he_calls_it_silence(mock_clock: MockClock) -> None:
    async with linked() as pair:
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(SILENT_S + 60)
        await trio.testing.wait_all_tasks_blocked()
        assert await told(pair.agent, b"hello") == b"hello"
    near, _ = memory_stream_pair()
    alone = Link(near, deaf, dialled=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alone.run)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(SILENT_S + 60)
        await trio.testing.wait_all_tasks_blocked()
        assert not alone.why
        mock_clock.jump(HELD_UP_S)
    assert "nothing was heard" in alone.why


async def test_a_link_at_rest_stays(autojump_clock: MockClock) -> None:
    async with linked() as pair:
        await trio.sleep(100 * ALIVE_S)
        assert not pair.agent.why and not pair.server.why


async def test_a_long_way_does_not_make_a_stream_slow(autojump_clock: MockClock) -> None:
    """600 ms to and fro: with a window that stays as it begins, 8 MB would take 20 s."""
    taken = 0

    async def take(stream: Stream) -> None:
        nonlocal taken
        while data := await stream.receive_some():
            taken += len(data)

    async with trio.open_nursery() as nursery, linked(take, Way(nursery, 0.3).connect) as pair:
        began = trio.current_time()
        stream = pair.agent.open()
        await stream.send(bytes(8 << 20), last=True)
        with trio.fail_after(10):
            while taken < 8 << 20:
                await trio.sleep(0.01)
        assert trio.current_time() - began < 8


async def test_who_stops_reading_holds_no_more_than_the_widest_window(autojump_clock: MockClock) -> None:
    async with linked(deaf) as pair:
        stream = pair.server.open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send, bytes(64 * WINDOW_MOST))
            await trio.sleep(1)
            held = sum(len(each) for stream in pair.agent._streams.values() for each in stream._arrived)
            assert 0 < held <= WINDOW
            nursery.cancel_scope.cancel()


async def test_a_way_that_is_silent_for_a_while_costs_nothing_but_that_time(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        way = Way(nursery, 0.3)
        async with linked(make=way.connect) as pair:
            for _ in range(20):
                await trio.sleep(ALIVE_S)
                way.cut()
                await trio.sleep(SILENT_S - ALIVE_S - 1)
                way.mend()
                assert await told(pair.agent, b"hello") == b"hello"
            assert not pair.agent.why and not pair.server.why


async def test_a_link_does_not_outlive_the_certificate_behind_it(autojump_clock: MockClock) -> None:
    former = wallclock.use(lambda: 1_800_000_000.0 + trio.current_time())
    try:
        near, far = memory_stream_pair()
        link, other = Link(near, deaf, dialled=False, ends=wallclock.now() + 1000), Link(far, echo, dialled=True)
        async with trio.open_nursery() as nursery:
            await nursery.start(other.run)
            nursery.start_soon(link.run)
            await trio.sleep(999)
            assert not link.why
            stream = link.open()
            await trio.sleep(1 + ALIVE_S)
            assert link.why == "the certificate of the other end was good until 2027-01-15T08:16:40Z"
            assert other.why == "the other end hung up"
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()
    finally:
        wallclock.use(former)


@pytest.mark.parametrize("junk", [b"GET / HTTP/1.1\r\n\r\n" * 2, b"\x00\x00\x00\x00\x01\x00\x00", b"\x07\x00\x00\x00\x02\x00\x00"])
async def test_who_does_not_speak_our_language_is_left(junk: bytes) -> None:
    near, far = memory_stream_pair()
    link = Link(near, deaf, dialled=True)
    async with trio.open_nursery() as nursery:
        await nursery.start(link.run)
        link.open()
        await far.send_all(junk)
        await far.aclose()
    assert link.why and link.streams == 0


MESSAGES = st.lists(st.tuples(st.booleans(), st.binary(max_size=300_000)), min_size=1, max_size=6)


@settings(max_examples=15, deadline=None)
@given(messages=MESSAGES, cut_after=st.one_of(st.none(), st.integers(0, 40)))
def test_whatever_is_said_arrives_whole_or_breaks_and_nothing_is_left(messages: list[tuple[bool, bytes]], cut_after: int | None) -> None:
    async def scene() -> None:
        async def one(link: Link, message: bytes) -> None:
            try:
                assert await told(link, message) == message
            except* trio.BrokenResourceError:
                assert cut_after is not None

        with trio.fail_after(20):
            async with linked() as pair, trio.open_nursery() as nursery:
                for by_agent, message in messages:
                    nursery.start_soon(one, pair.agent if by_agent else pair.server, message)
                if cut_after is not None:
                    for _ in range(cut_after):
                        await trio.lowlevel.checkpoint()
                    await pair.cable.aclose()
            assert (pair.agent.streams, pair.server.streams) == (0, 0)

    trio.run(scene)
