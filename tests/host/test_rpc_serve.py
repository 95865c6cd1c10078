"""The server half of gRPC, asked by the client half over a unix socket."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from edgek.host import rpc_serve
from edgek.host.message import Message, Values, number, text
from edgek.host.rpc import Channel, Method, RpcError, TooSlow, Unreachable

WORD = Message(word=text(1), times=number(2))
SAY, HANG, REFUSE, BREAK = (Method(f"/test.Echo/{name}", WORD, WORD) for name in ("Say", "Hang", "Refuse", "Break"))


class Echo:
    def __init__(self) -> None:
        self.hanging, self.cancelled = trio.Event(), trio.Event()

    async def say(self, request: Values) -> Values:
        await trio.lowlevel.checkpoint()
        return request

    async def hang(self, request: Values) -> Values:
        self.hanging.set()
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled.set()

    async def refuse(self, request: Values) -> Values:
        raise RpcError("NOT_FOUND", "no such word")

    async def fail(self, request: Values) -> Values:
        raise ZeroDivisionError("a defect")


@asynccontextmanager
async def served(path: Path, echo: Echo) -> AsyncIterator[Channel]:
    answers = {SAY: echo.say, HANG: echo.hang, REFUSE: echo.refuse, BREAK: echo.fail}
    async with trio.open_nursery() as nursery:
        await nursery.start(rpc_serve.serve, path, answers)
        channel = Channel(f"unix://{path}")
        try:
            yield channel
        finally:
            channel.close()
            nursery.cancel_scope.cancel()


async def test_many_calls_at_once_are_answered_each_with_its_own(tmp_path: Path) -> None:
    answers = {}
    async with served(tmp_path / "s", Echo()) as channel:

        async def say(at: int) -> None:
            answers[at] = (await channel.call(SAY, {"times": at}, timeout_s=10))["times"]

        async with trio.open_nursery() as nursery:
            for at in range(40):
                nursery.start_soon(say, at)
    assert answers == {at: at for at in range(40)}


async def test_a_refusal_brings_its_code_and_words(tmp_path: Path) -> None:
    async with served(tmp_path / "s", Echo()) as channel:
        with pytest.raises(RpcError) as caught:
            await channel.call(REFUSE, {}, timeout_s=10)
    assert (caught.value.code, caught.value.details) == ("NOT_FOUND", "no such word")


async def test_a_defect_is_an_internal_error_and_the_next_call_is_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with served(tmp_path / "s", Echo()) as channel:
        with pytest.raises(RpcError) as caught:
            await channel.call(BREAK, {}, timeout_s=10)
        assert (await channel.call(SAY, {"word": "still here"}, timeout_s=10))["word"] == "still here"
    assert caught.value.code == "INTERNAL"
    assert "a call failed" in capsys.readouterr().err


async def test_a_caller_that_gives_up_cancels_the_answer(tmp_path: Path) -> None:
    echo = Echo()
    async with served(tmp_path / "s", echo) as channel:
        while not echo.hanging.is_set():  # a call may be given up before it has come
            with pytest.raises(TooSlow):
                await channel.call(HANG, {}, timeout_s=0.3)
        with trio.fail_after(20):
            await echo.cancelled.wait()


async def test_a_server_that_stops_lets_its_callers_go_and_takes_its_socket_along(tmp_path: Path) -> None:
    echo, path, ended = Echo(), tmp_path / "s", []

    async def call(channel: Channel) -> None:
        with pytest.raises(RpcError) as caught:
            await channel.call(HANG, {}, timeout_s=10)
        ended.append(caught.value.code)

    with trio.fail_after(20):
        async with trio.open_nursery() as callers, trio.open_nursery() as server:
            await server.start(rpc_serve.serve, path, {HANG: echo.hang})
            channel = Channel(f"unix://{path}")
            callers.start_soon(call, channel)
            await echo.hanging.wait()
            server.cancel_scope.cancel()
    channel.close()
    assert len(ended) == 1 and ended[0] in ("UNAVAILABLE", "CANCELLED")
    assert not path.exists()


async def test_a_socket_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "s"))
    async with served(tmp_path / "s", Echo()) as channel:
        assert (await channel.call(SAY, {"word": "hello"}, timeout_s=10))["word"] == "hello"


async def test_a_socket_that_is_served_is_left_to_who_serves_it_and_they_are_named(tmp_path: Path) -> None:
    async with served(tmp_path / "s", Echo()) as channel:
        with pytest.raises(OSError, match=rf"is served already by process {os.getpid()} \(.+\): stop that first: '{tmp_path}/s'"):
            await rpc_serve.serve(tmp_path / "s", {})
        assert (await channel.call(SAY, {"word": "still here"}, timeout_s=10))["word"] == "still here"
    assert not (tmp_path / "s").exists()


async def test_nobody_is_there_before_it_serves(tmp_path: Path) -> None:
    channel = Channel(f"unix://{tmp_path}/s")
    with pytest.raises(Unreachable):
        await channel.call(SAY, {}, timeout_s=5)
    channel.close()


async def test_a_file_in_the_sockets_place_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("somebody's")
    with pytest.raises(FileExistsError):
        await rpc_serve.serve(tmp_path / "s", {})
    assert (tmp_path / "s").read_text() == "somebody's"
