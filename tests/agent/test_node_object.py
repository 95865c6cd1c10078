"""A Node object says what its machine is, in upstream's words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from edgek.agent import node_object
from edgek.agent.node_object import new_node, taint
from edgek.agent.ready import Readiness
from edgek.agent.runtime.runtime import Image
from edgek.model import objects
from tests.agent.kubelet.scene import MACHINE, settings


def status(tmp_path: Path, shown: Any = None, pressures: tuple[str, ...] = (), why_not_ready: str = "", images: tuple[Image, ...] = ()) -> Any:
    readiness = Readiness(None)  # type: ignore[arg-type]  # not asked here
    readiness.images = images
    return node_object.status(shown or {}, settings(tmp_path), MACHINE, pressures, why_not_ready, readiness)


def test_taints_and_labels_come_from_the_command_line(tmp_path: Path) -> None:
    told = attrs.evolve(settings(tmp_path), node_labels={"a": "b"}, node_taints=("k=v:NoSchedule", "x:NoExecute"))
    node = new_node(told, MACHINE)
    assert objects.labels(node)["a"] == "b"
    assert node["spec"]["taints"] == [{"key": "k", "value": "v", "effect": "NoSchedule"}, {"key": "x", "effect": "NoExecute"}]
    assert taint("k=:NoSchedule") == {"key": "k", "effect": "NoSchedule"}


def test_conditions_are_ours_and_those_that_others_put_there(tmp_path: Path) -> None:
    theirs = {"type": "NetworkUnavailable", "status": "False"}
    found = status(tmp_path, {"status": {"conditions": [theirs]}}, ("DiskPressure",), "the runtime is away")["conditions"]
    assert [(c["type"], c["status"]) for c in found] == [
        ("NetworkUnavailable", "False"),
        ("MemoryPressure", "False"),
        ("DiskPressure", "True"),
        ("PIDPressure", "False"),
        ("Ready", "False"),
    ]
    assert found[-1]["message"] == "the runtime is away"


def test_a_condition_keeps_the_time_of_its_last_change(tmp_path: Path) -> None:
    long_ago = "2020-01-01T00:00:00Z"
    before = [{"type": type_, "status": "True", "lastTransitionTime": long_ago} for type_ in ("DiskPressure", "Ready")]
    found = {c["type"]: c["lastTransitionTime"] for c in status(tmp_path, {"status": {"conditions": before}})["conditions"]}
    assert found["Ready"] == long_ago
    assert found["DiskPressure"] != long_ago


def test_a_status_that_differs_by_its_beat_alone_has_not_changed(tmp_path: Path) -> None:
    shown = status(tmp_path)
    later = {**shown, "conditions": [{**c, "lastHeartbeatTime": "2030-01-01T00:00:00Z"} for c in shown["conditions"]]}
    assert not node_object.changed(later, shown)
    assert node_object.changed(status(tmp_path, shown, ("PIDPressure",)), shown)


def test_the_largest_images_are_shown(tmp_path: Path) -> None:
    images = tuple(Image(f"sha256:{n}", (f"example.org/{n}:1",), (), size_bytes=n) for n in range(80))
    found = status(tmp_path, images=images)["images"]
    assert len(found) == node_object.IMAGES_SHOWN
    assert found[0] == {"names": ["example.org/79:1"], "sizeBytes": 79}


@pytest.mark.parametrize(
    ("node", "lost"),
    [
        (None, False),
        ({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}, False),
        ({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}, True),
        ({"spec": {"taints": [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]}}, True),
    ],
)
def test_the_server_has_given_up_a_node_it_has_not_heard_of(node: Any, lost: bool) -> None:
    assert node_object.given_up(node) is lost
