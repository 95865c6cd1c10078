"""What hangs leaves one thread behind, and says so."""

from __future__ import annotations

import threading

import pytest
import trio

from edgek.agent.kubelet.volumes.lanes import Lanes
from edgek.agent.kubelet.volumes.volume import VolumeFailed
from edgek.host.worker import InLine


async def test_a_call_that_hangs_is_given_up_and_the_next_refused_until_it_ends() -> None:
    lanes, begun, dead, calls = Lanes(), threading.Event(), threading.Event(), list[str]()

    def look() -> str:
        calls.append("look")
        begun.set()
        dead.wait(60)
        return "there"

    lane = lanes.of("u1", "v")
    with pytest.raises(VolumeFailed, match=r"no answer within 0\.05 s"):
        await lane.run(look, within_s=0.05)
    with pytest.raises(VolumeFailed, match="has not ended"):
        await lane.run(look)
    assert await lanes.of("u1", "other").run(lambda: "at once") == "at once"
    assert await trio.to_thread.run_sync(begun.wait, 20)
    assert calls == ["look"]
    dead.set()
    with trio.fail_after(20):
        while True:
            try:
                assert await lane.run(look) == "there"
                break
            except VolumeFailed:
                await trio.lowlevel.checkpoint()


async def test_a_cancelled_call_is_left_behind_and_one_that_fails_is_over() -> None:
    lanes, dead = Lanes(), threading.Event()
    lane = lanes.of("u1", "v")

    def stumble() -> None:
        raise OSError("no disk")

    for _ in range(2):
        with pytest.raises(OSError, match="no disk"):
            await lane.run(stumble)
    with trio.move_on_after(0.05):
        await lane.run(dead.wait, 60)
    with pytest.raises(VolumeFailed, match="has not ended"):
        await lane.run(stumble)
    dead.set()


async def test_one_call_follows_another_where_there_are_no_threads() -> None:
    lane = Lanes(InLine()).of("u1", "v")
    assert [await lane.run(lambda: 1), await lane.run(lambda: 2)] == [1, 2]
