"""Everything that keeps pods running: controllers of apps and batch, autoscalers, budgets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from edgek.model import objects
from edgek.model.objects import Object
from edgek.server.api.printers import cells
from edgek.server.api.printers.cells import NONE, UNKNOWN, UNSET, spec, status

_SHOWN_METRICS = 2
# The first of these conditions that holds is the status of a job; being deleted comes after the first two.
_JOB_ENDS = ("Complete", "Failed")
_JOB_STATES = ("Suspended", "FailureTarget", "SuccessCriteriaMet")


def deployment(obj: Object, now: datetime) -> list[Any]:
    seen = status(obj)
    ready = f"{seen.get('readyReplicas', 0)}/{spec(obj).get('replicas', 0)}"
    counts = [ready, seen.get("updatedReplicas", 0), seen.get("availableReplicas", 0)]
    return [cells.name(obj), *counts, cells.age(obj, now), *cells.template_containers(obj), cells.selector(spec(obj).get("selector"))]


def replica_set(obj: Object, now: datetime) -> list[Any]:
    return [*_replicas(obj, now), cells.selector(spec(obj).get("selector"))]


def replication_controller(obj: Object, now: datetime) -> list[Any]:
    return [*_replicas(obj, now), cells.labels(spec(obj).get("selector"))]


def _replicas(obj: Object, now: datetime) -> list[Any]:
    counts = [spec(obj).get("replicas", 0), status(obj).get("replicas", 0), status(obj).get("readyReplicas", 0)]
    return [cells.name(obj), *counts, cells.age(obj, now), *cells.template_containers(obj)]


def stateful_set(obj: Object, now: datetime) -> list[Any]:
    ready = f"{status(obj).get('readyReplicas', 0)}/{spec(obj).get('replicas', 0)}"
    return [cells.name(obj), ready, cells.age(obj, now), *cells.template_containers(obj)]


def daemon_set(obj: Object, now: datetime) -> list[Any]:
    members = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable")
    counts = [status(obj).get(member, 0) for member in members]
    pod_spec = (spec(obj).get("template") or {}).get("spec") or {}
    where = cells.labels(pod_spec.get("nodeSelector"))
    return [cells.name(obj), *counts, where, cells.age(obj, now), *cells.containers(pod_spec), cells.selector(spec(obj).get("selector"))]


def job(obj: Object, now: datetime) -> list[Any]:
    wanted, done = spec(obj), status(obj).get("succeeded", 0)
    if wanted.get("completions") is not None:
        completions = f"{done}/{wanted['completions']}"
    else:
        parallelism = wanted.get("parallelism") or 0
        completions = f"{done}/1 of {parallelism}" if parallelism > 1 else f"{done}/1"
    start, end = status(obj).get("startTime"), status(obj).get("completionTime")
    took = "" if not start else cells.between(start, end) if end else cells.since(start, now)
    what = cells.template_containers(obj)
    return [cells.name(obj), _job_status(obj), completions, took, cells.age(obj, now), *what, cells.selector(wanted.get("selector"))]


def _job_status(obj: Object) -> str:
    ended = next((state for state in _JOB_ENDS if cells.has_condition(obj, state)), "")
    if ended or objects.is_deleting(obj):
        return ended or "Terminating"
    return next((state for state in _JOB_STATES if cells.has_condition(obj, state)), "Running")


def cron_job(obj: Object, now: datetime) -> list[Any]:
    wanted, seen = spec(obj), status(obj)
    job_spec = (wanted.get("jobTemplate") or {}).get("spec") or {}
    last = seen.get("lastScheduleTime")
    suspended = "<unset>" if wanted.get("suspend") is None else str(bool(wanted["suspend"]))
    return [
        cells.name(obj),
        wanted.get("schedule", ""),
        wanted.get("timeZone") or NONE,
        suspended,
        len(seen.get("active") or ()),
        cells.since(last, now) if last else NONE,
        cells.age(obj, now),
        *cells.containers((job_spec.get("template") or {}).get("spec")),
        cells.selector(job_spec.get("selector")) if job_spec.get("selector") else NONE,
    ]


def horizontal_pod_autoscaler(obj: Object, now: datetime) -> list[Any]:
    wanted = spec(obj)
    target = wanted.get("scaleTargetRef") or {}
    least = wanted.get("minReplicas")
    return [
        cells.name(obj),
        f"{target.get('kind', '')}/{target.get('name', '')}",
        _metrics(obj),
        UNSET if least is None else str(least),
        wanted.get("maxReplicas", 0),
        status(obj).get("currentReplicas", 0),
        cells.age(obj, now),
    ]


def _metrics(obj: Object) -> str:
    wanted = spec(obj)
    if "metrics" in wanted or "targetCPUUtilizationPercentage" not in wanted:
        seen = status(obj).get("currentMetrics") or []
        shown = [_metric(metric, seen[at] if at < len(seen) else {}) for at, metric in enumerate(wanted.get("metrics") or ())]
    else:  # autoscaling/v1
        current = status(obj).get("currentCPUUtilizationPercentage")
        shown = [f"cpu: {UNKNOWN if current is None else f'{current}%'}/{wanted['targetCPUUtilizationPercentage']}%"]
    return cells.shortened(shown, _SHOWN_METRICS, ", ") or NONE


def _metric(metric: Mapping[str, Any], seen: Mapping[str, Any]) -> str:
    kind = metric.get("type", "")
    member = kind[:1].lower() + kind[1:]
    source = metric.get(member) or {}
    target = source.get("target") or {}
    current = (seen.get(member) or {}).get("current") or {}
    if kind in ("Resource", "ContainerResource"):
        if target.get("averageValue") is not None:
            return f"{source.get('name', '')}: {current.get('averageValue', UNKNOWN)}/{target['averageValue']}"
        used = current.get("averageUtilization")
        return f"{source.get('name', '')}: {UNKNOWN if used is None else f'{used}%'}/{target.get('averageUtilization', '<auto>')}%"
    if target.get("averageValue") is not None:
        average = " (avg)" if kind in ("Object", "External") else ""
        return f"{current.get('averageValue', UNKNOWN)}/{target['averageValue']}{average}"
    if kind in ("Object", "External", "Pods"):
        return f"{current.get('value', UNKNOWN)}/{target.get('value', '<auto>')}"
    return "<unknown type>"


def pod_disruption_budget(obj: Object, now: datetime) -> list[Any]:
    bounds = [str(spec(obj).get(member, "N/A")) for member in ("minAvailable", "maxUnavailable")]
    return [cells.name(obj), *bounds, status(obj).get("disruptionsAllowed", 0), cells.age(obj, now)]


def controller_revision(obj: Object, now: datetime) -> list[Any]:
    owner = objects.controller_of(obj)
    shown = NONE
    if owner is not None:
        group, _, _ = owner.get("apiVersion", "").rpartition("/")
        shown = f"{owner.get('kind', '').lower()}{'.' if group else ''}{group}/{owner.get('name', '')}"
    return [cells.name(obj), shown, obj.get("revision", 0), cells.age(obj, now)]
