"""Nodes, namespaces and the smaller things of a cluster: configuration, access, admission, flow control, events."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from edgek.model import objects
from edgek.model.objects import Object
from edgek.server.api.printers import cells
from edgek.server.api.printers.cells import NONE, UNKNOWN, UNSET, spec, status

_ROLE_PREFIX = "node-role.kubernetes.io/"
_ROLE_LABEL = "kubernetes.io/role"


def plain(obj: Object, now: datetime) -> list[Any]:
    return [cells.name(obj), cells.age(obj, now)]


def dated(obj: Object, now: datetime) -> list[Any]:
    return [cells.name(obj), cells.created_at(obj)]


def namespace(obj: Object, now: datetime) -> list[Any]:
    return [cells.name(obj), status(obj).get("phase", ""), cells.age(obj, now)]


def node(obj: Object, now: datetime) -> list[Any]:
    ready = objects.condition(obj, "Ready")
    state = "Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"
    if spec(obj).get("unschedulable"):
        state += ",SchedulingDisabled"
    found = status(obj).get("nodeInfo") or {}
    kernel, architecture = found.get("kernelVersion"), found.get("architecture")
    return [
        cells.name(obj),
        state,
        ",".join(_roles(obj)) or NONE,
        cells.age(obj, now),
        found.get("kubeletVersion", ""),
        _address(obj, "InternalIP"),
        _address(obj, "ExternalIP"),
        found.get("osImage") or UNKNOWN,
        (f"{kernel} ({architecture})" if architecture else kernel) if kernel else UNKNOWN,
        found.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _roles(obj: Object) -> list[str]:
    found = set()
    for key, value in objects.labels(obj).items():
        if key.startswith(_ROLE_PREFIX) and len(key) > len(_ROLE_PREFIX):
            found.add(key.removeprefix(_ROLE_PREFIX))
        elif key == _ROLE_LABEL and value:
            found.add(value)
    return sorted(found)


def _address(obj: Object, type_: str) -> str:
    addresses = status(obj).get("addresses") or ()
    return next((address.get("address", "") for address in addresses if address.get("type") == type_), NONE)


def event(obj: Object, now: datetime) -> list[Any]:
    """Of either group: events.k8s.io calls the same members otherwise."""
    about = obj.get("involvedObject") or obj.get("regarding") or {}
    series = obj.get("series")
    first = obj.get("firstTimestamp") or obj.get("deprecatedFirstTimestamp") or obj.get("eventTime")
    last = obj.get("lastTimestamp") or obj.get("deprecatedLastTimestamp") or first
    count = obj.get("count") or obj.get("deprecatedCount") or 1
    if series:
        last, count = series.get("lastObservedTime"), series.get("count", 0)
    target = about.get("kind", "").lower()
    return [
        cells.since(last, now),
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{target}/{about['name']}" if about.get("name") else target,
        about.get("fieldPath", ""),
        _source(obj),
        (obj.get("message") or obj.get("note") or "").strip(),
        cells.since(first, now),
        count,
        cells.name(obj),
    ]


def _source(obj: Object) -> str:
    source = obj.get("source") or obj.get("deprecatedSource") or {}
    component = source.get("component") or obj.get("reportingComponent") or obj.get("reportingController") or ""
    host = source.get("host") or obj.get("reportingInstance") or ""
    return ", ".join(filter(None, (component, host)))


def config_map(obj: Object, now: datetime) -> list[Any]:
    return [cells.name(obj), len(obj.get("data") or ()) + len(obj.get("binaryData") or ()), cells.age(obj, now)]


def secret(obj: Object, now: datetime) -> list[Any]:
    return [cells.name(obj), obj.get("type", ""), len(obj.get("data") or ()), cells.age(obj, now)]


def resource_quota(obj: Object, now: datetime) -> list[Any]:
    hard, used = status(obj).get("hard") or {}, status(obj).get("used") or {}
    requests: list[str] = []
    limits: list[str] = []
    for resource in sorted(hard):
        shown = f"{resource}: {used.get(resource, '0')}/{hard[resource]}"
        (limits if resource.startswith("limits") else requests).append(shown)
    return [cells.name(obj), ", ".join(requests), ", ".join(limits), cells.age(obj, now)]


def component_status(obj: Object, now: datetime) -> list[Any]:
    health: Mapping[str, Any] = next((condition for condition in obj.get("conditions") or () if condition.get("type") == "Healthy"), {})
    state = {"True": "Healthy", "False": "Unhealthy"}.get(health.get("status", ""), "Unknown")
    return [cells.name(obj), state, health.get("message", ""), health.get("error", "")]


def role_binding(obj: Object, now: datetime) -> list[Any]:
    role = obj.get("roleRef") or {}
    subjects: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for subject in obj.get("subjects") or ():
        names = (subject.get("namespace", ""), subject.get("name", "")) if subject.get("kind") == "ServiceAccount" else (subject.get("name", ""),)
        subjects.setdefault(subject.get("kind", ""), []).append("/".join(names))
    shown = [", ".join(subjects[kind]) for kind in ("User", "Group", "ServiceAccount")]
    return [cells.name(obj), f"{role.get('kind', '')}/{role.get('name', '')}", cells.age(obj, now), *shown]


def certificate_signing_request(obj: Object, now: datetime) -> list[Any]:
    wanted = spec(obj)
    seconds = wanted.get("expirationSeconds")
    conditions = {condition.get("type") for condition in status(obj).get("conditions") or ()}
    states = [state for state in ("Approved", "Denied", "Failed") if state in conditions] or ["Pending"]
    if status(obj).get("certificate"):
        states.append("Issued")
    requested = NONE if seconds is None else cells.duration(seconds)
    return [cells.name(obj), cells.age(obj, now), wanted.get("signerName", ""), wanted.get("username", ""), requested, ",".join(states)]


def webhook_configuration(obj: Object, now: datetime) -> list[Any]:
    return [cells.name(obj), len(obj.get("webhooks") or ()), cells.age(obj, now)]


def validating_admission_policy(obj: Object, now: datetime) -> list[Any]:
    return [cells.name(obj), len(spec(obj).get("validations") or ()), _param_kind(obj), cells.age(obj, now)]


def mutating_admission_policy(obj: Object, now: datetime) -> list[Any]:
    return [cells.name(obj), len(spec(obj).get("mutations") or ()), _param_kind(obj), cells.age(obj, now)]


def _param_kind(obj: Object) -> str:
    found = spec(obj).get("paramKind")
    return f"{found.get('apiVersion', '')}/{found.get('kind', '')}" if found else UNSET


def admission_policy_binding(obj: Object, now: datetime) -> list[Any]:
    reference: Mapping[str, Any] | None = spec(obj).get("paramRef")
    shown = UNSET
    if reference:
        which = reference.get("name") or cells.selector(reference.get("selector"))
        shown = f"{reference['namespace']}/{which}" if reference.get("namespace") else f"*/{which}"
    return [cells.name(obj), spec(obj).get("policyName", ""), shown, cells.age(obj, now)]


def flow_schema(obj: Object, now: datetime) -> list[Any]:
    wanted = spec(obj)
    level = (wanted.get("priorityLevelConfiguration") or {}).get("name") or NONE
    method = (wanted.get("distinguisherMethod") or {}).get("type") or NONE
    dangling = objects.condition(obj, "Dangling")
    return [
        cells.name(obj),
        level,
        wanted.get("matchingPrecedence", 0),
        method,
        cells.age(obj, now),
        "?" if dangling is None else dangling.get("status", "?"),
    ]


def priority_level(obj: Object, now: datetime) -> list[Any]:
    wanted = spec(obj)
    limited = wanted.get("limited") or wanted.get("exempt") or {}
    queuing = (limited.get("limitResponse") or {}).get("queuing") or {}
    queues = [queuing.get(member, NONE) for member in ("queues", "handSize", "queueLengthLimit")]
    return [cells.name(obj), wanted.get("type", ""), limited.get("nominalConcurrencyShares", NONE), *queues, cells.age(obj, now)]


def priority_class(obj: Object, now: datetime) -> list[Any]:
    head = [cells.name(obj), obj.get("value", 0), bool(obj.get("globalDefault"))]
    return [*head, cells.age(obj, now), obj.get("preemptionPolicy", "")]


def runtime_class(obj: Object, now: datetime) -> list[Any]:
    return [cells.name(obj), obj.get("handler", ""), cells.age(obj, now)]


def lease(obj: Object, now: datetime) -> list[Any]:
    return [cells.name(obj), spec(obj).get("holderIdentity", ""), cells.age(obj, now)]


def api_service(obj: Object, now: datetime) -> list[Any]:
    service = spec(obj).get("service")
    available = objects.condition(obj, "Available") or {}
    state = available.get("status", "Unknown")
    if state != "True" and available.get("reason"):
        state += f" ({available['reason']})"
    return [cells.name(obj), f"{service.get('namespace', '')}/{service.get('name', '')}" if service else "Local", state, cells.age(obj, now)]
