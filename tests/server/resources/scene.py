"""What tests of resources start from: small valid objects, changes by path, and the way of a write without a server."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from edgek.model import kinds, schema
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server import resources

UID = "11111111-2222-3333-4444-555555555555"
CREATED = "2026-01-02T03:04:05Z"

CONTAINERS = [{"name": "c", "image": "nginx"}]
TEMPLATE = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": CONTAINERS}}
WORKLOAD = {"selector": {"matchLabels": {"app": "a"}}, "template": TEMPLATE}
ROLE_REF = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "x"}
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
VOLUME = {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/srv/x"}}

TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
BACKEND = {"service": {"name": "s", "port": {"number": 80}}}

BASES: dict[Kind, dict[str, Any]] = {
    kinds.POD: {"spec": {"containers": CONTAINERS}},
    kinds.POD_TEMPLATE: {"template": TEMPLATE},
    kinds.SERVICE: {"spec": {"selector": {"app": "a"}, "ports": [{"port": 80}]}},
    kinds.CONFIG_MAP: {"data": {"a": "1"}},
    kinds.SECRET: {"data": {"a": "MQ=="}},
    kinds.NAMESPACE: {},
    kinds.NODE: {},
    kinds.DEPLOYMENT: {"spec": WORKLOAD},
    kinds.REPLICA_SET: {"spec": WORKLOAD},
    kinds.DAEMON_SET: {"spec": WORKLOAD},
    kinds.STATEFUL_SET: {"spec": {**WORKLOAD, "serviceName": "s"}},
    kinds.REPLICATION_CONTROLLER: {"spec": {"template": TEMPLATE}},
    kinds.JOB: {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": CONTAINERS}}}},
    kinds.ENDPOINTS: {"subsets": [{"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 80}]}]},
    kinds.ENDPOINT_SLICE: {"addressType": "IPv4", "endpoints": [{"addresses": ["10.1.2.3"]}], "ports": [{"port": 80}]},
    kinds.LEASE: {"spec": {"holderIdentity": "h", "leaseDurationSeconds": 15}},
    kinds.EVENT: {"involvedObject": {"kind": "Pod", "name": "p", "namespace": "ns"}, "reason": "R", "message": "m", "type": "Normal"},
    kinds.EVENT_V1: {
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "example.com/c",
        "reportingInstance": "i",
        "action": "A",
        "reason": "R",
        "type": "Normal",
        "regarding": {"kind": "Pod", "name": "p", "namespace": "ns"},
    },
    kinds.ROLE: {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
    kinds.CLUSTER_ROLE: {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
    kinds.ROLE_BINDING: {"roleRef": ROLE_REF, "subjects": [{"kind": "User", "name": "alice"}]},
    kinds.CLUSTER_ROLE_BINDING: {"roleRef": {**ROLE_REF, "kind": "ClusterRole"}, "subjects": [{"kind": "User", "name": "alice"}]},
    kinds.PERSISTENT_VOLUME: {"spec": VOLUME},
    kinds.PERSISTENT_VOLUME_CLAIM: {"spec": CLAIM},
    kinds.STORAGE_CLASS: {"provisioner": "example.com/p"},
    kinds.POD_DISRUPTION_BUDGET: {"spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}},
    kinds.PRIORITY_CLASS: {"value": 100},
    kinds.API_SERVICE: {"spec": {"group": "example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10}},
}
BASES |= {
    kinds.CRON_JOB: {"spec": {"schedule": "0 0 1 1 *", "jobTemplate": BASES[kinds.JOB]}},
    kinds.HORIZONTAL_POD_AUTOSCALER: {"spec": {"scaleTargetRef": TARGET, "maxReplicas": 3}},
    kinds.HORIZONTAL_POD_AUTOSCALER_V1: {"spec": {"scaleTargetRef": TARGET, "maxReplicas": 3}},
    kinds.INGRESS: {"spec": {"rules": [{"host": "a.example.com", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": BACKEND}]}}]}},
    kinds.INGRESS_CLASS: {"spec": {"controller": "example.com/c"}},
    kinds.NETWORK_POLICY: {"spec": {"podSelector": {}}},
    kinds.LIMIT_RANGE: {"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}}]}},
    kinds.RESOURCE_QUOTA: {"spec": {"hard": {"configmaps": "100"}}},
    kinds.RUNTIME_CLASS: {"handler": "runc"},
    kinds.CSI_DRIVER: {"spec": {}},
    kinds.VOLUME_ATTACHMENT: {"spec": {"attacher": "a.example.com", "nodeName": "n", "source": {"persistentVolumeName": "v"}}},
}
RULE = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
DEVICES = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c"}}]}}
WEBHOOK = {"name": "a.b.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None", "clientConfig": {"url": "https://127.0.0.1:9/x"}}
BASES |= {
    kinds.MUTATING_WEBHOOK_CONFIGURATION: {"webhooks": [WEBHOOK]},
    kinds.VALIDATING_WEBHOOK_CONFIGURATION: {"webhooks": [WEBHOOK]},
    kinds.VALIDATING_ADMISSION_POLICY: {"spec": {"matchConstraints": {"resourceRules": [RULE]}, "validations": [{"expression": "true"}]}},
    kinds.VALIDATING_ADMISSION_POLICY_BINDING: {"spec": {"policyName": "p", "validationActions": ["Deny"]}},
    kinds.RESOURCE_CLAIM: {"spec": DEVICES},
    kinds.RESOURCE_CLAIM_TEMPLATE: {"spec": {"spec": DEVICES}},
    kinds.FLOW_SCHEMA: {"spec": {"priorityLevelConfiguration": {"name": "global-default"}}},
    kinds.PRIORITY_LEVEL_CONFIGURATION: {"spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}},
    kinds.SERVICE_CIDR: {"spec": {"cidrs": ["10.98.0.0/24"]}},
    kinds.IP_ADDRESS: {"spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "none"}}},
}
# Kinds whose names are more than names.
NAMES = {kinds.API_SERVICE: "v1.example.com", kinds.IP_ADDRESS: "10.98.0.7"}

Changes = Mapping[str, Any]


class Absent:
    """As a change: take the member away."""


ABSENT = Absent()


def base(kind: Kind, changes: Changes | None = None) -> Object:
    """The small valid object of a kind as a client sends it, changed by path: ``{"spec.ports[0].port": 0}``."""
    meta = {"name": NAMES.get(kind, "x")} | ({"namespace": "ns"} if kind.namespaced else {})
    return changed({"metadata": meta, **BASES[kind]}, changes)


def changed(obj: Object, changes: Changes | None) -> Object:
    obj = copy.deepcopy(obj)
    for path, value in (changes or {}).items():
        *way, last = [int(step) if step.isdigit() else step for step in re.findall(r"[^.\[\]]+", path)]
        place: Any = obj
        for index, step in enumerate(way):
            following = [*way, last][index + 1]
            if isinstance(place, list) and isinstance(step, int):
                place += [{}] * (step + 1 - len(place))
            elif step not in place:
                place[step] = [] if isinstance(following, int) else {}
            place = place[step]
        if isinstance(value, Absent):
            del place[last]
        elif isinstance(place, list) and isinstance(last, int) and last >= len(place):
            place.append(value)
        else:
            place[last] = value
    return obj


def completed(kind: Kind, obj: Object) -> Object:
    """As decoding leaves it: canonical, defaults filled in."""
    obj = {"apiVersion": kind.api_version, "kind": kind.name, **copy.deepcopy(obj)}
    schema.normalise(kind, obj)
    schema.apply_defaults(kind, obj)
    obj.setdefault("metadata", {})
    resources.of(kind).default(obj)
    return obj


def created(kind: Kind, changes: Changes | None = None) -> Object:
    """As it would be stored if nothing were wrong with it."""
    obj = completed(kind, base(kind, changes))
    obj["metadata"] |= {"uid": UID, "creationTimestamp": CREATED}
    resources.of(kind).prepare_create(obj)
    return obj


def problems(kind: Kind, changes: Changes | None = None) -> list[str]:
    """What is wrong with a new object, in order."""
    return [str(problem) for problem in resources.of(kind).problems(created(kind, changes))]


def updated(kind: Kind, changes: Changes, before: Changes | None = None, subresource: str = "") -> tuple[Object, list[str]]:
    """A stored object (``before`` is what it has beyond the base), PUT back with changes: as it would be stored, and what is wrong with that."""
    old = created(kind, before)
    new = completed(kind, changed(old, changes))
    resource = resources.of(kind)
    resource.prepare_update(new, old, subresource)
    return new, [str(problem) for problem in resource.problems(new, old, subresource)]


def table(rows: Mapping[str, Sequence[Any]]) -> list[Any]:
    """Parameters whose ids are the sentences."""
    return [pytest.param(*values, id=sentence) for sentence, values in rows.items()]
