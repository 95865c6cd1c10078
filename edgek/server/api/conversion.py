"""Kinds that show the same objects under two names: core and events.k8s.io Events, autoscaling v1 and v2.

Pure: each function takes an object of one kind and gives the members of the other; ``kind`` and ``apiVersion`` are the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from edgek.model.objects import Object

_EVENT_MEMBERS: Mapping[str, str] = {
    "involvedObject": "regarding",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "message": "note",
    "reportingComponent": "reportingController",
}
_CORE_MEMBERS = {new: old for old, new in _EVENT_MEMBERS.items()}

METRICS_ANNOTATION = "autoscaling.alpha.kubernetes.io/metrics"
BEHAVIOR_ANNOTATION = "autoscaling.alpha.kubernetes.io/behavior"
CONDITIONS_ANNOTATION = "autoscaling.alpha.kubernetes.io/conditions"
CURRENT_METRICS_ANNOTATION = "autoscaling.alpha.kubernetes.io/current-metrics"
_KEPT_IN_ANNOTATIONS = (METRICS_ANNOTATION, BEHAVIOR_ANNOTATION, CONDITIONS_ANNOTATION, CURRENT_METRICS_ANNOTATION)


def event_to_events_v1(obj: Object) -> Object:
    return {_EVENT_MEMBERS.get(key, key): value for key, value in obj.items()}


def event_to_core(obj: Object) -> Object:
    return {_CORE_MEMBERS.get(key, key): value for key, value in obj.items()}


def autoscaler_to_v1(obj: Object) -> Object:
    """What v1 cannot say goes into annotations, as upstream does it."""
    spec = dict(obj.get("spec") or {})
    annotations = dict((obj.get("metadata") or {}).get("annotations") or {})
    others = []
    for metric in spec.pop("metrics", None) or ():
        target = (metric.get("resource") or {}).get("target") or {}
        if metric.get("type") == "Resource" and metric["resource"].get("name") == "cpu" and "averageUtilization" in target:
            spec["targetCPUUtilizationPercentage"] = target["averageUtilization"]
        else:
            others.append(metric)
    behavior = spec.pop("behavior", None)
    status = dict(obj.get("status") or {})
    conditions = status.pop("conditions", None)
    current = status.pop("currentMetrics", None) or []
    for metric in current:
        resource = metric.get("resource") or {}
        if resource.get("name") == "cpu" and "averageUtilization" in (resource.get("current") or {}):
            status["currentCPUUtilizationPercentage"] = resource["current"]["averageUtilization"]
    said = ((METRICS_ANNOTATION, others), (BEHAVIOR_ANNOTATION, behavior), (CONDITIONS_ANNOTATION, conditions), (CURRENT_METRICS_ANNOTATION, current))
    annotations.update({name: orjson.dumps(value).decode() for name, value in said if value})
    return _with_annotations({**obj, "spec": spec, "status": status}, annotations)


def autoscaler_to_v2(obj: Object) -> Object:
    spec = dict(obj.get("spec") or {})
    annotations = dict((obj.get("metadata") or {}).get("annotations") or {})
    kept = {name: _decoded(annotations.pop(name, "")) for name in _KEPT_IN_ANNOTATIONS}
    metrics: list[Any] = []
    utilization = spec.pop("targetCPUUtilizationPercentage", None)
    if utilization is not None:
        target = {"type": "Utilization", "averageUtilization": utilization}
        metrics.append({"type": "Resource", "resource": {"name": "cpu", "target": target}})
    metrics += kept[METRICS_ANNOTATION] or []
    if metrics:
        spec["metrics"] = metrics
    if kept[BEHAVIOR_ANNOTATION]:
        spec["behavior"] = kept[BEHAVIOR_ANNOTATION]
    status = dict(obj.get("status") or {})
    status.pop("currentCPUUtilizationPercentage", None)
    if kept[CONDITIONS_ANNOTATION]:
        status["conditions"] = kept[CONDITIONS_ANNOTATION]
    if kept[CURRENT_METRICS_ANNOTATION]:
        status["currentMetrics"] = kept[CURRENT_METRICS_ANNOTATION]
    return _with_annotations({**obj, "spec": spec, "status": status}, annotations)


def _decoded(text: str) -> Any:
    try:
        return orjson.loads(text) if text else None
    except orjson.JSONDecodeError:
        return None  # a hand-written annotation: upstream drops it, too


def _with_annotations(obj: Object, annotations: dict[str, str]) -> Object:
    metadata = {key: value for key, value in (obj.get("metadata") or {}).items() if key != "annotations"}
    if annotations:
        metadata["annotations"] = annotations
    found = {**obj, "metadata": metadata}
    if not found["status"]:
        del found["status"]
    return found
