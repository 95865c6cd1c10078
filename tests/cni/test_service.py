from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import orjson
import pytest
import trio
import trio.testing

from edgek.cni import service

pytestmark = pytest.mark.root


async def test_the_plugin_is_installed_the_node_forwards_and_questions_are_answered(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        network = await nursery.start(partial(service.run, tmp_path / "cni", tmp_path / "state", tmp_path / "cni.sock"))
        assert (tmp_path / "cni/bin/edgek").exists()
        assert await trio.Path("/proc/sys/net/ipv4/ip_forward").read_text() == "1\n"
        async with await trio.open_unix_socket(str(tmp_path / "cni.sock")) as stream:
            await stream.send_all(b"CNI_COMMAND=VERSION\0\0")
            await stream.send_eof()
            answer = b"".join([chunk async for chunk in stream])
        assert orjson.loads(answer[1:])["cniVersion"] == "1.1.0"
        assert network.gateway is None
        nursery.cancel_scope.cancel()


async def test_what_somebody_removes_is_put_back(tmp_path: Path) -> None:
    configuration, program = tmp_path / "cni/net.d/10-edgek.conflist", tmp_path / "cni/bin/loopback"
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(service.run, tmp_path / "cni", tmp_path / "state", tmp_path / "cni.sock"))
        with trio.fail_after(20):
            for remove in (
                configuration.unlink,
                program.unlink,
                partial(shutil.rmtree, configuration.parent),
                partial(shutil.rmtree, tmp_path / "cni"),
            ):
                await trio.testing.wait_all_tasks_blocked(0.1)
                remove()
                while not (await trio.Path(configuration).exists() and await trio.Path(program).exists()):
                    await trio.sleep(0.05)
        nursery.cancel_scope.cancel()
