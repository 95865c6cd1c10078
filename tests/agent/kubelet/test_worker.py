"""What changes while a pod's volumes are being built is not lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from edgek.model import kinds
from tests.agent.kubelet.scene import Node, container, node, pod

OPTIONAL = [{"name": "v", "projected": {"sources": [{"configMap": {"name": name, "optional": True}} for name in ("first", "second")]}}]
SLOW_S = 5.0


def shown(one: Node, uid: str) -> set[str]:
    folder = one.settings.pod_dir(uid) / "volumes" / "kubernetes.io~projected" / "v"
    return {each.name for each in folder.iterdir() if not each.name.startswith("..")} if folder.exists() else set()


async def give(one: Node, name: str) -> None:
    await one.client.create(kinds.CONFIG_MAP, {"metadata": {"name": name, "namespace": "default"}, "data": {name: "1"}})


@pytest.mark.parametrize("when", ["the first time", "again"])
async def test_a_change_that_comes_while_volumes_are_built_is_shown_soon(tmp_path: Path, autojump_clock: Any, when: str) -> None:
    async with node(tmp_path) as one:
        volumes = one.kubelet.volumes
        build, slow = volumes.build, when == "the first time"

        async def build_slowly(*args: Any) -> Any:
            done = await build(*args)
            if slow:
                await trio.sleep(SLOW_S)  # it has read what it shows
            return done

        volumes.build = build_slowly  # type: ignore[method-assign]
        mounted = container(volumeMounts=[{"name": "v", "mountPath": "/v"}])
        made = await one.create(pod(containers=[mounted], volumes=OPTIONAL))
        uid = made["metadata"]["uid"]
        if not slow:
            slow = True
            await give(one, "first")
            await one.settle()
        await give(one, "second")
        await one.settle(3 * SLOW_S)
        assert "second" in shown(one, uid)
