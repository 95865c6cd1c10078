"""The floor under a pod's start: the same containers by raw CRI calls, with edgek's CNI, and nothing else. A process of its own, driven by lines.

    nsenter --net=... python -m tests.bench.floor FOLDER CGROUP

answers each number N on its standard input with the seconds that N pods took, started at once, and the CPU seconds that all of it took, as JSON;
pods are removed afterwards.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import trio

from edgek.agent.runtime.runtime import Container, Resources, Sandbox, SecurityContext
from tests.bench.box import COMMAND
from tests.bench.cgroup import ROOT, Group
from tests.fakes import node
from tests.fakes.node import Node

SETTLE_S = 0.5  # what a start leaves to be done belongs to it


async def serve(folder: Path, group: Group) -> None:
    async with node.open_node(folder) as real:
        print("ready", flush=True)
        number = 0
        while line := await trio.to_thread.run_sync(sys.stdin.readline):
            took: list[float] = []
            began, cpu = time.monotonic(), group.cpu_s()
            async with trio.open_nursery() as nursery:
                for _ in range(int(line)):
                    number += 1
                    nursery.start_soon(_pod, real, group, number, began, took)
            await trio.sleep(SETTLE_S)
            cpu = group.cpu_s() - cpu
            for sandbox in await real.runtime.sandboxes():
                await real.runtime.remove_sandbox(sandbox.id)
            print(json.dumps([sorted(took), cpu]), flush=True)


async def _pod(real: Node, group: Group, number: int, began: float, took: list[float]) -> None:
    logs = real.folder / "logs" / f"pod-{number}"
    (logs / "main").mkdir(parents=True)
    sandbox = Sandbox(
        name=f"pod-{number}", namespace="default", uid=f"uid-{number}", attempt=0, hostname=f"pod-{number}", log_directory=str(logs),
        cgroup_parent=f"{group.pods}/pod{number}", labels={}, annotations={}, dns_servers=("10.43.0.10",),
    )  # fmt: skip
    container = Container(
        name="main", attempt=0, image=node.BOX, command=COMMAND, args=(), working_dir="", env=(), mounts=(), devices=(), labels={}, annotations={},
        log_path="main/0.log", stdin=False, stdin_once=False, tty=False, resources=Resources(), security=SecurityContext(),
    )  # fmt: skip
    sandbox_id = await real.runtime.run_sandbox(sandbox)
    container_id = await real.runtime.create_container(sandbox_id, container, sandbox)
    await real.runtime.start_container(container_id)
    took.append(time.monotonic() - began)


if __name__ == "__main__":
    trio.run(serve, Path(sys.argv[1]), Group(sys.argv[2], (ROOT / "cgroup.controllers").exists()))
