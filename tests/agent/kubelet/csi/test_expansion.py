"""A claim's status that moves along with its volume, and nothing else of it."""

from __future__ import annotations

import pytest

from edgek.agent.kubelet.csi.expansion import grown, wanted

CLAIM = {"status": {"capacity": {"storage": "1Gi"}}}


@pytest.mark.parametrize(
    ("capacity", "known", "expected"),
    [("2Gi", None, True), ("1Gi", None, False), ("1024Mi", None, False), ("2Gi", 2 << 30, False), ("3Gi", 2 << 30, True), ("", None, False)],
    ids=["grown", "as it was", "as it was, in other words", "grown here already", "grown again", "a volume that says nothing"],
)
def test_when_a_volume_is_expanded(capacity: str, known: float | None, expected: bool) -> None:
    assert wanted(capacity, CLAIM, known) is expected


def test_a_claim_that_is_not_bound_yet_has_nothing_to_grow_from() -> None:
    assert not wanted("2Gi", {"status": {"phase": "Pending"}}, None)


def test_what_spoke_of_the_growing_goes_and_the_rest_stays() -> None:
    status = {
        "phase": "Bound",
        "capacity": {"storage": "1Gi"},
        "conditions": [{"type": "FileSystemResizePending"}, {"type": "Resizing"}, {"type": "ModifyVolumeError"}],
        "allocatedResources": {"storage": "2Gi"},
        "allocatedResourceStatuses": {"storage": "NodeResizePending"},
    }
    assert grown({"status": status}, "2Gi") == {
        "phase": "Bound",
        "capacity": {"storage": "2Gi"},
        "conditions": [{"type": "ModifyVolumeError"}],
        "allocatedResources": {"storage": "2Gi"},
    }
