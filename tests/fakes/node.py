"""A real node in a folder: containerd, our CNI plugin and pods, in the machine's own network namespace. Needs root.

containerd outlives a test and is adopted by the next one (which is how it lives with edgek, and saves a start); ``put_away`` ends it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import trio

from edgek.agent.runtime import containerd, containerd_config, pause
from edgek.agent.runtime.cri import CriRuntime
from edgek.agent.runtime.patience import Patience
from edgek.cni import plugin, setup
from edgek.cni.network import PodNetwork
from tests.fakes import images
from tests.fakes.machines import own_address

POD_RANGE = f"10.199.{os.getpid() % 250}.0/24"  # two test runs may share the machine
BOX = "example.org/box:1"
CGROUP = f"/edgek-test-{os.getpid()}"


@attrs.frozen
class Node:
    folder: Path
    runtime: CriRuntime
    network: PodNetwork
    child: containerd.Child
    patience: Patience  # with containerd
    supervision: trio.CancelScope  # cancel it: the agent is gone, containerd stays


def child_in(folder: Path) -> containerd.Child:
    status = Path("/proc/self/status").read_text()
    settings = containerd_config.Settings(
        root=folder / "root", state=folder / "state", socket=folder / "containerd.sock", cni_bin=folder / "cni/bin", cni_conf=folder / "cni/net.d",
        certs_dir=folder / "certs.d", pause_image=pause.REFERENCE, restrict_oom_score_adj=not containerd_config.may_lower_oom_scores(status),
    )  # fmt: skip
    program = os.environ.get("EDGEK_TEST_CONTAINERD", "containerd")  # another one than the distribution's
    return containerd.Child(settings, folder / "etc", folder / "run", program, environment={setup.SOCKET_VARIABLE: str(folder / "cni.sock")})


@contextlib.asynccontextmanager
async def open_node(folder: Path) -> AsyncIterator[Node]:
    """With the image BOX. Pods that are left are removed at the end."""
    child = child_in(folder)
    await setup.install(child.config.cni_bin, child.config.cni_conf)
    setup.set_sysctls()
    network = PodNetwork(folder / "run/cni")
    network.use(POD_RANGE, 1500)
    gateway = network.gateway
    assert gateway is not None
    with own_address(gateway):
        async with trio.open_nursery() as nursery:
            answers = await nursery.start(_answer, network, folder / "cni.sock")
            patience = Patience()
            supervision = await nursery.start(_supervise, child, patience)
            runtime = CriRuntime(child.config.socket, folder / "run", patience=patience)
            try:
                if await runtime.image(BOX) is None:
                    archive = trio.Path(folder / "box.tar")
                    await archive.write_bytes(images.busybox(BOX))
                    await runtime.import_images(archive)
                yield Node(folder, runtime, network, child, patience, supervision)
            finally:
                with trio.CancelScope(shield=True), trio.move_on_after(30):
                    for sandbox in await runtime.sandboxes():
                        await runtime.remove_sandbox(sandbox.id)
                runtime.close()
                answers.cancel()
            nursery.cancel_scope.cancel()


async def _answer(network: PodNetwork, socket: Path, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
    """Shielded: also a test that was cut short must be able to take its pods apart."""
    with trio.CancelScope(shield=True) as scope:
        async with trio.open_nursery() as nursery:
            await nursery.start(plugin.serve, network, socket)
            task_status.started(scope)


async def _supervise(child: containerd.Child, patience: Patience, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            await nursery.start(_run, child, patience)
            task_status.started(scope)


async def _run(child: containerd.Child, patience: Patience | None = None, *, task_status: trio.TaskStatus[None]) -> None:
    await containerd.run(child, patience, task_status=task_status)


def put_away(folder: Path) -> None:
    """End containerd and whatever it left."""
    trio.run(containerd.stop, child_in(folder))
    with open("/proc/self/mounts") as mounts:
        left = [line.split()[1] for line in mounts if line.split()[1].startswith(str(folder))]
    for mount in reversed(left):
        subprocess.run(["umount", "-l", mount], check=False)
    for controller in Path("/sys/fs/cgroup").iterdir():
        top = controller / CGROUP.strip("/")
        if top.is_dir():
            for path, _, _ in os.walk(top, topdown=False):
                os.rmdir(path)
    shutil.rmtree(folder, ignore_errors=True)
