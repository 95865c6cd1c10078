import pytest

from edgek.server.api import conversion

CORE = {
    "metadata": {"name": "e"},
    "involvedObject": {"name": "p"},
    "source": {"component": "kubelet"},
    "firstTimestamp": "t1",
    "lastTimestamp": "t2",
    "count": 3,
    "message": "m",
    "reportingComponent": "c",
    "reason": "R",
}


def test_an_event_survives_the_way_there_and_back() -> None:
    shown = conversion.event_to_events_v1(CORE)
    assert (shown["note"], shown["regarding"], shown["deprecatedCount"]) == ("m", {"name": "p"}, 3)
    assert conversion.event_to_core(shown) == CORE


@pytest.mark.parametrize(
    "spec",
    [
        {"maxReplicas": 3},
        {
            "maxReplicas": 3,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}],
        },
        {"maxReplicas": 3, "metrics": [{"type": "Pods", "pods": {"metric": {"name": "m"}}}], "behavior": {"scaleUp": {"selectPolicy": "Max"}}},
    ],
    ids=["no metrics", "cpu, which v1 can say", "what v1 cannot say"],
)
def test_an_autoscaler_survives_the_way_there_and_back(spec: dict[str, object]) -> None:
    status = {"currentReplicas": 1, "conditions": [{"type": "ScalingActive", "status": "True"}]}
    second = {"metadata": {"name": "a"}, "spec": spec, "status": status}
    first = conversion.autoscaler_to_v1(second)
    assert "metrics" not in first["spec"]
    assert conversion.autoscaler_to_v2(first) == second


def test_a_hand_written_annotation_that_is_no_json_is_dropped() -> None:
    first = {"metadata": {"annotations": {conversion.METRICS_ANNOTATION: "{nope", "mine": "1"}}, "spec": {"maxReplicas": 1}}
    assert conversion.autoscaler_to_v2(first) == {"metadata": {"annotations": {"mine": "1"}}, "spec": {"maxReplicas": 1}}
