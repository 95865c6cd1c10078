from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest
import trio

from edgek.csi import messages
from edgek.csi.driver import Driver, Pending
from edgek.csi.hostpath import HostPath
from edgek.csi.serve import Runner, Services
from edgek.host.rpc import RpcError
from edgek.host.worker import InLine


async def test_a_call_that_hangs_holds_its_volume_only_and_only_until_it_ends() -> None:
    runner, begun, release = Runner(), threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        release.wait(60)

    async def give_up() -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(runner.run, ("volume a",), hang)
                await trio.to_thread.run_sync(begun.wait, 20)
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


@pytest.mark.parametrize(
    ("problem", "code", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/srv/volumes/v"), "RESOURCE_EXHAUSTED", "No space left on device: /srv/volumes/v"),
        (OSError(errno.EIO, "mount failed: exit status 32"), "INTERNAL", "mount failed: exit status 32"),
        (PermissionError(errno.EACCES, "Permission denied", "caf\udce9"), "INTERNAL", r"Permission denied: caf\udce9"),
        (TimeoutError("cp did not end within 60 s"), "DEADLINE_EXCEEDED", "cp did not end within 60 s"),
    ],
    ids=["a full disk", "a mount that failed", "a file whose name is no text", "a program that hung"],
)
async def test_what_the_machine_refuses_is_told_as_users_read_it(tmp_path: Path, problem: OSError, code: str, words: str) -> None:
    class Troubled(HostPath):
        def delete(self, volume_id: str) -> None:
            raise problem

    def opened() -> Driver:
        return Troubled(tmp_path, "n1")

    services = Services("hostpath.edgek.io", opened, "n1", worker=InLine())
    with pytest.raises(RpcError) as told:
        await services.call(messages.DELETE_VOLUME, {"volume_id": "v"}, timeout_s=20)
    assert (told.value.code, told.value.details) == (code, words)
