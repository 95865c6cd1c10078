"""The node's door, with containers in memory."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
import trio
import trio.testing

from edgek.agent.kubelet.serve import LOG_MOST, Door, log_file
from edgek.client.node import ContainerRef, ExecOptions, LogOptions, Terminal
from edgek.client.transport import Request
from edgek.host.worker import InLine
from edgek.model import errors
from tests.agent.kubelet.scene import container, node, pod

MAIN = ContainerRef("default", "web", "", "main")


def terminal(got: list[tuple[int, bytes]], stdin: bytes = b"") -> Terminal:
    async def read() -> AsyncIterator[bytes]:
        if stdin:
            yield stdin

    async def write(channel: int, chunk: bytes) -> None:
        await trio.lowlevel.checkpoint()
        got.append((channel, chunk))

    async def resizes() -> AsyncIterator[tuple[int, int]]:
        return
        yield 0, 0

    return Terminal(read(), write, resizes())


async def text(door: Door, ref: ContainerRef = MAIN, options: LogOptions | None = None) -> bytes:
    return b"".join([chunk async for chunk in door.logs(ref, options or LogOptions())])


async def test_a_command_runs_with_its_streams(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        await here.create(pod())
        door, got = Door(here.kubelet), list[tuple[int, bytes]]()
        assert await door.exec(MAIN, ExecOptions(("cat",), stdin=True), terminal(got, b"hello")) == 0
        assert await door.exec(MAIN, ExecOptions(("complain", "no")), terminal(got)) == 1
        assert got == [(1, b"hello"), (2, b"no\n")]
        with pytest.raises(errors.InternalError, match="executable file not found"):
            await door.exec(MAIN, ExecOptions(("nothing",)), terminal(got))


async def test_who_is_not_there_is_said(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        await here.create(pod(containers=[container("main", "exit", "0")], restartPolicy="Never"))
        door = Door(here.kubelet)
        with pytest.raises(errors.NotFound):
            await door.exec(ContainerRef("default", "other", "", "main"), ExecOptions(("cat",)), terminal([]))
        with pytest.raises(errors.NotFound):
            await text(door, ContainerRef("default", "web", "another-uid", "main"))
        with pytest.raises(errors.NotFound, match='container "main" not found'):
            await door.exec(MAIN, ExecOptions(("cat",)), terminal([]))  # its sandbox has gone


async def test_logs_of_this_run_and_the_one_before(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        runs = iter(range(9))

        async def say(process: object) -> int:
            await process.write(1, f"run {next(runs)}\n".encode())  # type: ignore[attr-defined]
            return 1

        here.runtime.programs["say"] = say
        await here.create(pod(containers=[container("main", "say")]))
        await here.settle(3)
        door = Door(here.kubelet)
        assert await text(door) == b"run 1\n"
        assert await text(door, options=LogOptions(previous=True)) == b"run 1\n"  # it waits: the newest run is the previous one
        await here.settle(9)
        assert await text(door) == b"run 2\n"


async def test_logs_that_are_not_there(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        await here.create(pod(containers=[{"name": "main", "image": "example.org/none:1"}]))
        await here.settle(3)
        with pytest.raises(errors.BadRequest, match='container "main" in pod "web" is waiting to start: ImagePullBackOff'):
            await text(Door(here.kubelet))
        with pytest.raises(errors.BadRequest, match='previous terminated container "main" in pod "web" not found'):
            await text(Door(here.kubelet), options=LogOptions(previous=True))


async def test_the_kubelet_s_own_pages(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        await here.create(pod())
        door = Door(here.kubelet, dialers=InLine())

        async def page(path: str) -> tuple[int, bytes]:
            answer = await door.request(Request("GET", path))
            return answer.status, answer.body

        assert await page("/healthz") == (200, b"ok")
        assert [p["metadata"]["name"] for p in orjson.loads((await page("/pods"))[1])["items"]] == ["web"]
        assert (await page("/nothing"))[0] == 404
        first = orjson.loads((await page("/stats/summary"))[1])
        assert "usageNanoCores" not in first["pods"][0]["cpu"]
        await here.settle(10)
        second = orjson.loads((await page("/stats/summary"))[1])
        assert second["pods"][0]["cpu"]["usageNanoCores"] == pytest.approx(1_000_000, rel=0.01)  # the fake uses a thousandth of a core
        assert b'container_memory_working_set_bytes{container="main",namespace="default",pod="web"}' in (await page("/metrics/resource"))[1]


def test_log_files_of_the_node_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "logs/sub").mkdir(parents=True)
    (tmp_path / "logs/a&b").write_text("line\n")
    (tmp_path / "secret").write_text("x")
    (tmp_path / "logs/trap").symlink_to(tmp_path / "secret")
    root = tmp_path / "logs"
    assert log_file("a&b", root).body == b"line\n"
    assert b'<a href="sub/">sub/</a>' in log_file("", root).body
    assert b"a&amp;b" in log_file("", root).body
    os.mkfifo(root / "pipe")
    with (root / "huge").open("wb") as huge:
        huge.truncate(LOG_MOST + 1)  # a hole: it takes no room
    assert log_file("huge", root).status == 413
    for outside in ("../secret", "trap", "/etc/passwd", "none", "pipe"):
        assert log_file(outside, root).status == 404


async def test_a_container_is_entered_while_another_is_still_being_pulled(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        here.runtime.delays_s["pull_image"] = 1000
        here.runtime.registry.add("example.org/slow:1")
        await here.create(pod(containers=[container(), {"name": "slow", "image": "example.org/slow:1"}]))
        got: list[tuple[int, bytes]] = []
        assert await Door(here.kubelet).exec(MAIN, ExecOptions(("echo", "here")), terminal(got)) == 0
        assert got == [(1, b"here\n")]
        assert "running" in here.shown()["state"]  # and it is shown
