from __future__ import annotations

import threading

import pytest
import trio

from edgek.csi.driver import Pending
from edgek.csi.serve import Runner


async def test_a_call_that_hangs_holds_its_volume_only_and_only_until_it_ends() -> None:
    runner, begun, release = Runner(), threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        release.wait(10)

    async def give_up() -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(runner.run, ("volume a",), hang)
                await trio.to_thread.run_sync(begun.wait, 10)
                scope.cancel()

    with trio.fail_after(20):
        await give_up()
        with pytest.raises(Pending, match="volume a"):
            await runner.run(("volume a",), str)
        assert await runner.run(("volume b",), lambda: "well") == "well"
        release.set()
        answer = ""
        while not answer:
            try:
                answer = await runner.run(("volume a",), lambda: "again")
            except Pending:
                await trio.lowlevel.checkpoint()
    assert answer == "again"
