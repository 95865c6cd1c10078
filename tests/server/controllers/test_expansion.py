"""Claims that want more get more, or are told why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgek.model import errors, kinds, objects
from edgek.model.local_storage import GROW, TROUBLE
from edgek.model.objects import Object
from edgek.server.controllers.expansion import ExpansionController, grown, under_way
from tests.server.controllers.test_provisioning import ALL, Storage, storage
from tests.server.controllers.test_volumebinding import volume

WITH_EXPANSION = (*ALL, ExpansionController)


async def ask_for(found: Storage, size: str, name: str = "data") -> None:
    await found.cluster.change(kinds.PERSISTENT_VOLUME_CLAIM, name, {"spec": {"resources": {"requests": {"storage": size}}}})
    await found.cluster.settle()


def status(found: Storage, name: str = "data") -> Object:
    return dict(found.cluster.get(kinds.PERSISTENT_VOLUME_CLAIM, name)["status"])


async def test_a_claim_grows_with_its_volume(tmp_path: Path, autojump_clock: Any) -> None:
    async with storage(tmp_path, controllers=WITH_EXPANSION, allowVolumeExpansion=True) as found:
        name = await found.ask()
        await ask_for(found, "3Gi")
        shown = status(found)
        assert shown["capacity"] == {"storage": "3Gi"}
        assert shown["allocatedResources"] == {"storage": "3Gi"}
        assert "allocatedResourceStatuses" not in shown
        assert not shown.get("conditions")
        assert found.volume(name)["spec"]["capacity"] == {"storage": "3Gi"}
        assert GROW not in objects.annotations(found.volume(name))
        assert found.said("VolumeResizeSuccessful") == ["Resize volume succeeded"]
        assert "ControllerExpandVolume" in found.nodes["node-1"].hostpath.calls
        assert await found.cluster.writes_in(2000) == []


async def test_a_claim_waits_for_a_node_that_is_away_and_says_so(tmp_path: Path, autojump_clock: Any) -> None:
    async with storage(tmp_path, controllers=WITH_EXPANSION, allowVolumeExpansion=True) as found:
        await found.ask()
        found.stop("node-1")
        await ask_for(found, "2Gi")
        shown = status(found)
        assert [each["type"] for each in shown["conditions"]] == ["Resizing"]
        assert shown["allocatedResourceStatuses"] == {"storage": "ControllerResizeInProgress"}
        assert shown["capacity"] == {"storage": "1Gi"}
        await found.start("node-1")
        await found.cluster.settle()
        assert status(found)["capacity"] == {"storage": "2Gi"}


async def test_a_wish_that_the_disk_cannot_hold_is_told_and_can_be_taken_back(tmp_path: Path, autojump_clock: Any) -> None:
    async with storage(tmp_path, controllers=WITH_EXPANSION, allowVolumeExpansion=True) as found:
        name = await found.ask()
        await ask_for(found, "4Ei")
        shown = status(found)
        assert [each["type"] for each in shown["conditions"]] == ["Resizing", "ControllerResizeError"]
        assert shown["conditions"][1]["message"].startswith("rpc error: code = ResourceExhausted")
        (message,) = found.said("VolumeResizeFailed")
        assert message.startswith(f'resize volume "{name}" by resizer "hostpath.edgek.io" failed: rpc error: code = ResourceExhausted')
        await ask_for(found, "2Gi")
        assert status(found)["capacity"] == {"storage": "2Gi"}
        assert not status(found).get("conditions")
        assert not {GROW, TROUBLE} & objects.annotations(found.volume(name)).keys()


async def test_a_class_that_does_not_allow_it_keeps_its_claims_as_they_are(tmp_path: Path, autojump_clock: Any) -> None:
    async with storage(tmp_path, controllers=WITH_EXPANSION) as found:
        await found.ask()
        with pytest.raises(errors.Forbidden, match="only dynamically provisioned pvc can be resized"):
            await ask_for(found, "2Gi")


async def test_volumes_of_others_are_left_to_their_resizer(tmp_path: Path, autojump_clock: Any) -> None:
    async with storage(tmp_path, controllers=WITH_EXPANSION, provisioner="example.com/disk", allowVolumeExpansion=True) as found:
        await found.cluster.create(kinds.PERSISTENT_VOLUME, volume("theirs", storageClassName="local-path"))
        await found.ask(volumeName="theirs")
        assert status(found)["phase"] == "Bound"
        await ask_for(found, "2Gi")
        why = "didn't find a plugin capable of expanding the volume; waiting for an external controller to process this PVC"
        assert found.said("ExternalExpanding") == [f"Ignoring the PVC: {why}."]
        assert status(found)["capacity"] == {"storage": "1Gi"}


def claim(**shown: Any) -> Object:
    return {
        "metadata": {},
        "spec": {"resources": {"requests": {"storage": "2Gi"}}},
        "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}, **shown},
    }


def test_a_wish_that_can_never_be_fulfilled_is_marked_so() -> None:
    shown = under_way(claim(), "rpc error: code = OutOfRange desc = no")
    assert shown["allocatedResourceStatuses"] == {"storage": "ControllerResizeInfeasible"}
    assert [each["type"] for each in shown["conditions"]] == ["ControllerResizeError"]


def test_conditions_of_others_stay() -> None:
    other = {"type": "ModifyingVolume", "status": "True"}
    shown = under_way(claim(conditions=[other]), "")
    assert [each["type"] for each in shown["conditions"]] == ["ModifyingVolume", "Resizing"]
    assert grown(claim(**shown), "2Gi")["conditions"] == [other]
