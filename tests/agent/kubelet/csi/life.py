"""An edgek that brings volumes and takes them away, and is killed with -9 before its n-th step: the child of a test.

Reads one JSON request a line, ``{"do": "mount", "uid": ..., "kill_before": n}``, and answers ``killed``, ``done`` or ``refused``. Each request is a
new edgek in a process of its own, that knows nothing but what is on the disk. A step is whatever changes the disk, and a call of the driver before it
is made and before its answer is heard. The driver is a process that lives on.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trio

from edgek.agent.kubelet.csi.drivers import Driver
from edgek.host.message import Values
from edgek.host.rpc import Channel, Method
from edgek.model import kinds
from tests.agent.kubelet.csi.scene import DRIVER, Here, a_pod, here

CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "shutil.rmtree"}
OURS = "/kubelet/"
READS = {"NodeGetCapabilities"}


class Countdown:
    def __init__(self) -> None:
        self.left = -1

    def step(self) -> None:
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1

    def audit(self, event: str, args: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        if (event in CHANGES or writes) and OURS in str(args[0]):
            self.step()


class Counted:
    """The driver's socket."""

    def __init__(self, socket: Path, countdown: Countdown) -> None:
        self._channel = Channel(f"unix://{socket}")
        self._countdown = countdown

    async def call(self, method: Method, values: Mapping[str, Any], *, timeout_s: float | None) -> Values:
        counts = method.path.rpartition("/")[2] not in READS
        if counts:
            self._countdown.step()
        answer = await self._channel.call(method, values, timeout_s=timeout_s)
        if counts:
            self._countdown.step()
        return answer


async def live(request: dict[str, Any], base: Path, countdown: Countdown) -> None:
    async with here(base) as at:
        await at.describe(attachRequired=True, volumeLifecycleModes=["Persistent", "Ephemeral"], podInfoOnMount=True)
        await at.furnish(volumeMode=request["mode"])
        await at.attach()
        await at.client.patch(kinds.PERSISTENT_VOLUME_CLAIM, "c", {"status": {"phase": "Bound"}}, "default", subresource="status")
        socket = at.kubelet_dir / "plugins" / DRIVER / "csi.sock"
        at.storage.drivers.put(Driver(DRIVER, "id", {}, 0, lambda: Counted(socket, countdown)))
        await at.node.synced.wait()
        countdown.left = request["kill_before"]
        await perform(at, request)
        countdown.left = -1


async def perform(at: Here, request: dict[str, Any]) -> None:
    match request["do"]:
        case "mount":
            volume = {"csi": {"driver": DRIVER}} if request["mode"] == "Inline" else None
            await at.build(a_pod(request["uid"], volume=volume))
        case "take down":
            await at.volumes.take_down(request["uid"])
        case "clear":
            with trio.fail_after(20):
                await at.volumes.clear(request["known"].__contains__)
        case other:
            raise ValueError(other)


def attempt(request: dict[str, Any], base: Path) -> str:
    child = os.fork()
    if child == 0:
        code = 0
        try:
            countdown = Countdown()
            sys.addaudithook(countdown.audit)
            trio.run(live, request, base, countdown)
        except BaseException:
            traceback.print_exc()
            code = 1
        os._exit(code)
    _, status = os.waitpid(child, 0)
    return "killed" if os.WIFSIGNALED(status) else ("refused" if os.WEXITSTATUS(status) else "done")


def main() -> None:
    base = Path(sys.argv[1])
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    import grpc  # once, not in each child  # noqa: F401

    for line in sys.stdin:
        print(attempt(json.loads(line), base), flush=True)


if __name__ == "__main__":
    main()
