from __future__ import annotations

import pytest

from edgek.server.controllers import nodetaints

NETWORK = ("node.kubernetes.io/network-unavailable", "NoSchedule")


@pytest.mark.parametrize(
    ("status", "reason", "marks"),
    [
        pytest.param("False", "PodNetworkUp", set(), id="all others are reached"),
        pytest.param("True", "PeersUnreachable", set(), id="no other is reached, but it works alone"),
        pytest.param("True", "NoRouteCreated", {NETWORK}, id="somebody else's network is not set up yet"),
    ],
)
def test_a_node_whose_network_is_not_available_takes_no_pods_unless_it_can_work_alone(status: str, reason: str, marks: set[tuple[str, str]]) -> None:
    conditions = [{"type": "Ready", "status": "True"}, {"type": "NetworkUnavailable", "status": status, "reason": reason}]
    assert nodetaints.wanted({"metadata": {"name": "one"}, "status": {"conditions": conditions}}, evicts=True) == marks
