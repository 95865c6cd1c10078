"""Against a gRPC server in this process, on a unix socket."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
import trio

from edgek.host.message import Message, number, text
from edgek.host.rpc import Channel, Method, RpcError, TooSlow, Unreachable

WORD = Message(word=text(1), times=number(2))
SAY, HANG, FAIL = (Method(f"/test.Echo/{name}", WORD, WORD) for name in ("Say", "Hang", "Fail"))
COUNT, HANG_ON, SHOUT = (Method(f"/test.Echo/{name}", WORD, WORD) for name in ("Count", "HangOn", "Shout"))


class Echo:
    """What the server does; ``began`` is set by a call that hangs, and ``ended`` when it is cancelled."""

    def __init__(self) -> None:
        self.began, self.ended = threading.Event(), threading.Event()
        self.metadata: dict[str, str] = {}

    def say(self, values: Any, context: Any) -> Any:
        self.metadata = dict(context.invocation_metadata())
        return values

    def hang(self, values: Any, context: Any) -> Any:
        context.add_callback(self.ended.set)
        self.began.set()
        self.ended.wait(30)
        return values

    def fail(self, values: Any, context: Any) -> Any:
        context.abort(grpc.StatusCode.NOT_FOUND, "no such word")

    def count(self, values: Any, context: Any) -> Iterator[Any]:
        for at in range(values["times"]):
            yield {"times": at}

    def hang_on(self, values: Any, context: Any) -> Iterator[Any]:
        context.add_callback(self.ended.set)
        yield values
        self.ended.wait(30)

    def shout(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        for request in requests:
            yield {"word": request["word"].upper()}


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def socket(echo: Echo, tmp_path: Path) -> Iterator[str]:
    target = f"unix://{tmp_path}/echo.sock"
    server = grpc.server(ThreadPoolExecutor(8))
    unary, stream, both = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler, grpc.stream_stream_rpc_method_handler
    codec = {"request_deserializer": WORD.decode, "response_serializer": WORD.encode}
    handlers = {
        "Say": unary(echo.say, **codec), "Hang": unary(echo.hang, **codec), "Fail": unary(echo.fail, **codec), "Count": stream(echo.count, **codec),
        "HangOn": stream(echo.hang_on, **codec), "Shout": both(echo.shout, **codec),
    }  # fmt: skip
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", handlers),))
    server.add_insecure_port(target)
    server.start()
    yield target
    server.stop(None).wait(5)


@pytest.fixture
async def channel(socket: str) -> Any:
    opened = Channel(socket, {"containerd-namespace": "k8s.io"})
    yield opened
    opened.close()


async def test_a_call_brings_its_answer_and_carries_the_channels_metadata(channel: Channel, echo: Echo) -> None:
    answer = await channel.call(SAY, {"word": "hello"}, timeout_s=20, metadata=(("lease", "one"),))
    assert answer == {"word": "hello", "times": 0}
    assert (echo.metadata["containerd-namespace"], echo.metadata["lease"]) == ("k8s.io", "one")


async def test_many_calls_at_once_do_not_mix(channel: Channel) -> None:
    answers = {}

    async def say(at: int) -> None:
        answers[at] = (await channel.call(SAY, {"times": at}, timeout_s=20))["times"]

    async with trio.open_nursery() as nursery:
        for at in range(50):
            nursery.start_soon(say, at)
    assert answers == {at: at for at in range(50)}


async def test_a_refusal_has_its_code_and_words(channel: Channel) -> None:
    with pytest.raises(RpcError) as caught:
        await channel.call(FAIL, {}, timeout_s=20)
    assert (caught.value.code, caught.value.details) == ("NOT_FOUND", "no such word")


async def test_a_call_that_takes_too_long_is_given_up(channel: Channel) -> None:
    with pytest.raises(TooSlow):
        await channel.call(HANG, {}, timeout_s=0.1)


async def test_cancelling_the_task_cancels_the_call_on_the_server(channel: Channel, echo: Echo) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(channel.call, HANG, {}, timeout_s=60))
        assert await trio.to_thread.run_sync(echo.began.wait, 20)
        nursery.cancel_scope.cancel()
    assert await trio.to_thread.run_sync(echo.ended.wait, 20)


async def test_nobody_there_is_unreachable(tmp_path: Path) -> None:
    channel = Channel(f"unix://{tmp_path}/nobody.sock")
    with pytest.raises(Unreachable):
        await channel.call(SAY, {}, timeout_s=20)
    channel.close()


async def test_waiting_for_a_server_returns_when_it_is_there(channel: Channel) -> None:
    with trio.fail_after(20):
        await channel.wait_until_there(SAY, timeout_s=20)


async def test_waiting_for_a_server_that_does_not_come_ends(tmp_path: Path) -> None:
    channel = Channel(f"unix://{tmp_path}/nobody.sock")
    with pytest.raises(RpcError):
        await channel.wait_until_there(SAY, timeout_s=0.2)
    channel.close()


async def test_a_stream_arrives_in_order_and_ends(channel: Channel) -> None:
    stream = channel.stream(COUNT, {"times": 500})
    assert [message["times"] async for message in stream] == list(range(500))


async def test_a_reader_that_falls_behind_is_cut_off(channel: Channel) -> None:
    stream = channel.stream(COUNT, {"times": 20_000})
    await stream.__anext__()
    while not stream.cut_off:
        await trio.lowlevel.checkpoint()
    with pytest.raises(RpcError, match="wait to be read"):
        async for _ in stream:
            pass


async def test_a_broken_stream_raises(socket: str) -> None:
    channel = Channel(socket)
    stream = channel.stream(FAIL, {})
    with pytest.raises(RpcError):
        await stream.__anext__()
    channel.close()


async def test_closing_a_stream_ends_it_on_both_sides(channel: Channel, echo: Echo) -> None:
    stream = channel.stream(HANG_ON, {"word": "first"})
    assert (await stream.__anext__())["word"] == "first"
    stream.close()
    stream.close()
    assert await trio.to_thread.run_sync(echo.ended.wait, 20)
    with pytest.raises(StopAsyncIteration):
        await stream.__anext__()


async def test_an_exchange_sends_all_and_gathers_all(channel: Channel) -> None:
    answers = await channel.exchange(SHOUT, ({"word": word} for word in ("a", "b")), timeout_s=20)
    assert [answer["word"] for answer in answers] == ["A", "B"]
