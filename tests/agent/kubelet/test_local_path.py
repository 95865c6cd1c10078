from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from edgek.agent.kubelet.local_path import FINALIZER, IN_USE, PROVISIONED_BY, PROVISIONER, LocalPath
from edgek.client.client import Client
from edgek.host.worker import InLine
from edgek.model import kinds
from edgek.model.objects import Object
from tests.agent.kubelet.scene import settings
from tests.fakes.api import FakeApi


def a_volume(path: Path, *, node: str = "node-1") -> Object:
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    meta = {"name": "pvc-1", "annotations": {PROVISIONED_BY: PROVISIONER}, "finalizers": [IN_USE, FINALIZER]}
    affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}}
    return {"metadata": meta, "spec": {"hostPath": {"path": str(path)}, "nodeAffinity": affinity}}


@asynccontextmanager
async def watched(folder: Path) -> AsyncIterator[Client]:
    client = Client(FakeApi())
    told = attrs.evolve(settings(folder), local_path_dir=folder / "storage")
    async with trio.open_nursery() as nursery:
        await nursery.start(LocalPath(told, client, files=InLine()).run)
        yield client
        nursery.cancel_scope.cancel()


async def release(client: Client) -> None:
    """The volume is deleted, and its last user goes."""
    await client.delete(kinds.PERSISTENT_VOLUME, "pvc-1")
    await trio.sleep(1)
    await client.patch(kinds.PERSISTENT_VOLUME, "pvc-1", {"metadata": {"finalizers": [FINALIZER]}})
    await trio.sleep(1)


def folder_with_data(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "file").touch()
    return path


async def test_the_directory_goes_with_its_volume_but_not_while_it_is_used(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    path = folder_with_data(tmp_path / "storage/pvc-1_default_c")
    async with watched(tmp_path) as client:
        await client.create(kinds.PERSISTENT_VOLUME, a_volume(path))
        await client.delete(kinds.PERSISTENT_VOLUME, "pvc-1")
        await trio.sleep(1)
        assert path.exists()
        await release(client)
        assert not path.exists()
        assert await client.find(kinds.PERSISTENT_VOLUME, "pvc-1") is None


@pytest.mark.parametrize("place", ["elsewhere/pvc-1_default_c", "storage/other", "storage/pvc-1_x/../../elsewhere"])
async def test_a_volume_cannot_have_another_folder_removed(tmp_path: Path, autojump_clock: trio.testing.MockClock, place: str) -> None:
    (tmp_path / "storage/pvc-1_x").mkdir(parents=True)
    path = folder_with_data(tmp_path / place) if ".." not in place else tmp_path / place
    (tmp_path / "elsewhere").mkdir(exist_ok=True)
    async with watched(tmp_path) as client:
        await client.create(kinds.PERSISTENT_VOLUME, a_volume(path))
        await release(client)
        assert path.exists()


async def test_volumes_of_other_nodes_are_theirs(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    path = folder_with_data(tmp_path / "storage/pvc-1_default_c")
    async with watched(tmp_path) as client:
        await client.create(kinds.PERSISTENT_VOLUME, a_volume(path, node="node-2"))
        await release(client)
        assert path.exists()
