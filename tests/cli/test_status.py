from __future__ import annotations

import io

import pytest
from rich.console import Console

from edgek.cli import status

READY = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"}
CUT_OFF = {
    "type": "NetworkUnavailable",
    "status": "True",
    "reason": "PeersUnreachable",
    "message": "UDP 8472 does not get through to two (192.0.2.2)",
}
PARTLY = {**CUT_OFF, "status": "False", "reason": "SomePeersUnreachable"}
WELL = {**CUT_OFF, "status": "False", "reason": "PodNetworkUp", "message": "pods reach those of other nodes"}
LOST = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": "Kubelet stopped posting node status."}


@pytest.mark.parametrize(
    ("conditions", "trouble", "why"),
    [
        pytest.param([READY, WELL], [], [], id="all is well"),
        pytest.param([READY, CUT_OFF], ["NetworkUnavailable"], [CUT_OFF["message"]], id="it reaches nobody"),
        pytest.param([READY, PARTLY], [], [CUT_OFF["message"]], id="it reaches some"),
        pytest.param([LOST], [], [LOST["message"]], id="it is silent"),
    ],
)
def test_what_is_amiss_with_a_node_is_shown_with_its_reason(conditions: list[dict[str, str]], trouble: list[str], why: list[str]) -> None:
    found = status.node_summary({"metadata": {"name": "one"}, "status": {"conditions": conditions}}, [])
    assert (found["trouble"], found["why"]) == (trouble, why)
    console = Console(record=True, width=200, file=io.StringIO())
    console.print(
        status.show({"healthy": True, "version": "v1", "nodes": [found], "pods": {"states": {}, "troubled": []}, "services": [], "cost": []})
    )
    text = console.export_text()
    assert all(f"one: {each}" in text for each in why)
    assert ("NetworkUnavailable" in text) == bool(trouble)
