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


AVERAGE = {"type": "AverageValue", "averageValue": "1Gi"}
MEMORY = {"type": "Resource", "resource": {"name": "memory", "target": AVERAGE}}
CONTAINER = {"type": "ContainerResource", "containerResource": {"name": "memory", "container": "c", "target": AVERAGE}}
PODS = {"type": "Pods", "pods": {"metric": {"name": "m", "selector": {"matchLabels": {"a": "b"}}}, "target": AVERAGE}}
OBJECT = {
    "type": "Object",
    "object": {"metric": {"name": "m"}, "describedObject": {"kind": "Service", "name": "s"}, "target": {"type": "AverageValue", "averageValue": "5"}},
}
EXTERNAL = {"type": "External", "external": {"metric": {"name": "q"}, "target": {"type": "Value", "value": "5"}}}


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
        {"maxReplicas": 3, "metrics": [PODS, OBJECT, EXTERNAL, MEMORY, CONTAINER], "behavior": {"scaleUp": {"selectPolicy": "Max"}}},
    ],
    ids=["no metrics", "cpu, which v1 can say", "what v1 cannot say"],
)
def test_an_autoscaler_survives_the_way_there_and_back(spec: dict[str, object]) -> None:
    seen = {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 7, "averageValue": "70m"}}}
    status = {"currentReplicas": 1, "currentMetrics": [seen], "conditions": [{"type": "ScalingActive", "status": "True"}]}
    second = {"metadata": {"name": "a"}, "spec": spec, "status": status}
    first = conversion.autoscaler_to_v1(second)
    assert "metrics" not in first["spec"]
    assert conversion.autoscaler_to_v2(first) == second


def test_what_version_one_cannot_say_stands_flat_in_an_annotation() -> None:
    first = conversion.autoscaler_to_v1({"metadata": {}, "spec": {"metrics": [MEMORY]}})
    said = first["metadata"]["annotations"][conversion.METRICS_ANNOTATION]
    assert said == '[{"type":"Resource","resource":{"name":"memory","targetAverageValue":"1Gi"}}]'


def test_a_hand_written_annotation_that_is_no_json_is_dropped() -> None:
    first = {"metadata": {"annotations": {conversion.METRICS_ANNOTATION: "{nope", "mine": "1"}}, "spec": {"maxReplicas": 1}}
    assert conversion.autoscaler_to_v2(first) == {"metadata": {"annotations": {"mine": "1"}}, "spec": {"maxReplicas": 1}}
