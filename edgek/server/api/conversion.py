"""Kinds that show the same objects under two names: core and events.k8s.io Events, autoscaling v1 and v2.

Pure: each function takes an object of one kind and gives the members of the other; ``kind``, ``apiVersion`` and what is printed though empty are
the caller's.
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


def event_to_events_v1(obj: Object) -> Object:
    return {_EVENT_MEMBERS.get(key, key): value for key, value in obj.items()}


def event_to_core(obj: Object) -> Object:
    return {_CORE_MEMBERS.get(key, key): value for key, value in obj.items()}


# Autoscalers. Version 1 knows the use of CPU alone; whatever else there is stands in annotations, in a form of their own: each metric flat, with
# its target's value under a name that says of which kind it is.

METRICS_ANNOTATION = "autoscaling.alpha.kubernetes.io/metrics"
BEHAVIOR_ANNOTATION = "autoscaling.alpha.kubernetes.io/behavior"
CONDITIONS_ANNOTATION = "autoscaling.alpha.kubernetes.io/conditions"
CURRENT_METRICS_ANNOTATION = "autoscaling.alpha.kubernetes.io/current-metrics"
_KEPT_IN_ANNOTATIONS = (METRICS_ANNOTATION, BEHAVIOR_ANNOTATION, CONDITIONS_ANNOTATION, CURRENT_METRICS_ANNOTATION)

_SOURCES: Mapping[str, str] = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}
# (type of target, member of it, its name when flat): ``target`` of a wanted metric, ``current`` of a seen one. An object's average has no prefix.
_TARGETS = (("Utilization", "averageUtilization"), ("AverageValue", "averageValue"), ("Value", "value"))


def _flat_name(kind: str, prefix: str, member: str) -> str:
    return member if kind == "Object" and member == "averageValue" else prefix + member[0].upper() + member[1:]


def _flat(metric: Object, whole: str) -> Object:
    """A metric as annotations hold it. ``whole`` is ``target`` or ``current``."""
    kind = metric.get("type", "")
    member = _SOURCES.get(kind, "")
    source = dict(metric.get(member) or {})
    values = source.pop(whole, None) or {}
    about = source.pop("metric", None) or {}
    if "describedObject" in source:
        source["target"] = source.pop("describedObject")
    if about:
        source["metricName"] = about.get("name", "")
        if about.get("selector"):
            source["metricSelector" if kind == "External" else "selector"] = about["selector"]
    source |= {_flat_name(kind, whole, key): values[key] for _, key in _TARGETS if key in values}
    return {"type": kind, member: source}


def _deep(metric: Object, whole: str) -> Object:
    """The opposite of ``_flat``."""
    kind = metric.get("type", "")
    member = _SOURCES.get(kind, "")
    source = dict(metric.get(member) or {})
    values: Object = {}
    for type_, key in _TARGETS:
        name = _flat_name(kind, whole, key)
        if name in source:
            values |= {"type": type_} if whole == "target" and not values else {}
            values[key] = source.pop(name)
    if "target" in source:
        source["describedObject"] = source.pop("target")
    if "metricName" in source:
        selector = source.pop("metricSelector" if kind == "External" else "selector", None)
        source["metric"] = {"name": source.pop("metricName"), **({"selector": selector} if selector else {})}
    return {"type": kind, member: {**source, whole: values}}


def autoscaler_to_v1(obj: Object) -> Object:
    spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    annotations = dict((obj.get("metadata") or {}).get("annotations") or {})
    others = []
    for metric in spec.pop("metrics", None) or ():
        utilization = _cpu_utilization(metric, "target")
        if utilization is None:
            others.append(_flat(metric, "target"))
        else:
            spec["targetCPUUtilizationPercentage"] = utilization
    current = status.pop("currentMetrics", None) or []
    for metric in current:
        utilization = _cpu_utilization(metric, "current")
        if utilization is not None:
            status["currentCPUUtilizationPercentage"] = utilization
    said = {
        METRICS_ANNOTATION: others,
        BEHAVIOR_ANNOTATION: spec.pop("behavior", None),
        CONDITIONS_ANNOTATION: status.pop("conditions", None),
        CURRENT_METRICS_ANNOTATION: [_flat(metric, "current") for metric in current],
    }
    annotations |= {name: orjson.dumps(value).decode() for name, value in said.items() if value}
    return _with_annotations({**obj, "spec": spec, "status": status}, annotations)


def _cpu_utilization(metric: Object, whole: str) -> Any:
    source = metric.get("resource") or {}
    return (source.get(whole) or {}).get("averageUtilization") if source.get("name") == "cpu" else None


def autoscaler_to_v2(obj: Object) -> Object:
    spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    annotations = dict((obj.get("metadata") or {}).get("annotations") or {})
    kept = {name: _decoded(annotations.pop(name, "")) for name in _KEPT_IN_ANNOTATIONS}
    metrics = []
    utilization = spec.pop("targetCPUUtilizationPercentage", None)
    if utilization is not None:
        target = {"type": "Utilization", "averageUtilization": utilization}
        metrics.append({"type": "Resource", "resource": {"name": "cpu", "target": target}})
    metrics += [_deep(metric, "target") for metric in kept[METRICS_ANNOTATION]]
    spec |= {"metrics": metrics} if metrics else {}
    spec |= {"behavior": kept[BEHAVIOR_ANNOTATION]} if kept[BEHAVIOR_ANNOTATION] else {}
    status.pop("currentCPUUtilizationPercentage", None)
    status |= {"conditions": kept[CONDITIONS_ANNOTATION]} if kept[CONDITIONS_ANNOTATION] else {}
    current = [_deep(metric, "current") for metric in kept[CURRENT_METRICS_ANNOTATION]]
    status |= {"currentMetrics": current} if current else {}
    return _with_annotations({**obj, "spec": spec, "status": status}, annotations)


def _decoded(text: str) -> Any:
    try:
        return orjson.loads(text) if text else []
    except orjson.JSONDecodeError:
        return []  # a hand-written annotation: upstream drops it, too


def _with_annotations(obj: Object, annotations: dict[str, str]) -> Object:
    metadata = {key: value for key, value in (obj.get("metadata") or {}).items() if key != "annotations"}
    if annotations:
        metadata["annotations"] = annotations
    found = {**obj, "metadata": metadata}
    if not found["status"]:
        del found["status"]
    return found
