"""The kinds whose rules are few: each promise a row."""

from __future__ import annotations

from typing import Any

import pytest

from edgek.model import kinds
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server import resources
from edgek.server.resources import unserved
from tests.server.resources.scene import ABSENT, BASES, base, completed, created, problems, table, updated

FROZEN = "Forbidden: field is immutable when `immutable` is set"


def at(obj: Object, path: str) -> Any:
    for step in path.split("/"):
        obj = obj[int(step)] if step.isdigit() else obj[step]
    return obj


@pytest.mark.parametrize(
    ("kind", "changes", "path", "value"),
    table(
        {
            "a secret is opaque": (kinds.SECRET, {}, "type", "Opaque"),
            "text becomes data": (kinds.SECRET, {"stringData": {"n": "new"}}, "data", {"a": "MQ==", "n": "bmV3"}),
            "a namespace is held until it is empty": (kinds.NAMESPACE, {}, "spec/finalizers", ["kubernetes"]),
            "a namespace can be selected by its name": (kinds.NAMESPACE, {}, "metadata/labels", {"kubernetes.io/metadata.name": "x"}),
            "a node offers all that it has": (kinds.NODE, {"status.capacity": {"cpu": "2"}}, "status/allocatable", {"cpu": "2"}),
            "a volume stays when its claim goes": (kinds.PERSISTENT_VOLUME, {}, "spec/persistentVolumeReclaimPolicy", "Retain"),
            "a new claim waits": (kinds.PERSISTENT_VOLUME_CLAIM, {"status.phase": "Bound"}, "status", {"phase": "Pending"}),
            "a class deletes what it made": (kinds.STORAGE_CLASS, {}, "reclaimPolicy", "Delete"),
            "a class binds at once": (kinds.STORAGE_CLASS, {}, "volumeBindingMode", "Immediate"),
            "the higher priority takes the place": (kinds.PRIORITY_CLASS, {}, "preemptionPolicy", "PreemptLowerPriority"),
            "a new budget counts from zero": (kinds.POD_DISRUPTION_BUDGET, {}, "status/disruptionsAllowed", 0),
            "a user is a subject of RBAC": (kinds.ROLE_BINDING, {}, "subjects/0/apiGroup", "rbac.authorization.k8s.io"),
            "a role without rules says so": (kinds.ROLE, {"rules": []}, "rules", None),
            "an endpoint is neither ready nor not": (kinds.ENDPOINT_SLICE, {}, "endpoints/0/conditions", {}),
            "a policy without a word is of what comes in": (kinds.NETWORK_POLICY, {}, "spec/policyTypes", ["Ingress"]),
            "a limit is what one gets": (kinds.LIMIT_RANGE, {}, "spec/limits/0/defaultRequest", {"cpu": "2"}),
            "an autoscaler looks at the CPU": (kinds.HORIZONTAL_POD_AUTOSCALER, {}, "spec/metrics/0/resource/target/averageUtilization", 80),
            "a claim is on one device": (kinds.RESOURCE_CLAIM, {}, "spec/devices/requests/0/exactly/count", 1),
            "a cron job keeps three successes": (kinds.CRON_JOB, {}, "spec/successfulJobsHistoryLimit", 3),
            "a stateful set keeps its volumes": (
                kinds.STATEFUL_SET,
                {},
                "spec/persistentVolumeClaimRetentionPolicy",
                {"whenDeleted": "Retain", "whenScaled": "Retain"},
            ),
            "a port of a slice has the empty name": (kinds.ENDPOINT_SLICE, {}, "ports/0", {"port": 80, "name": "", "protocol": "TCP"}),
            "the old endpoints know only TCP by themselves": (kinds.ENDPOINTS, {}, "subsets/0/ports/0/protocol", "TCP"),
        }
    ),
)
def test_defaults(kind: Kind, changes: dict[str, Any], path: str, value: Any) -> None:
    assert at(created(kind, changes), path) == value


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    table(
        {
            "a key of a config map is a file name": (kinds.CONFIG_MAP, {"data": {"..": "c"}}, ["data[..]: Invalid value: \"..\": must not be '..'"]),
            "a key is text or bytes": (
                kinds.CONFIG_MAP,
                {"binaryData": {"a": "AA=="}},
                ['data[a]: Invalid value: "a": duplicate of key present in binaryData'],
            ),
            "a config map is not a disk": (kinds.CONFIG_MAP, {"data": {"a": "x" * 1048577}}, ["[]: Too long: may not be more than 1048576 bytes"]),
            "a TLS secret has both halves": (
                kinds.SECRET,
                {"type": "kubernetes.io/tls"},
                ["data[tls.crt]: Required value", "data[tls.key]: Required value"],
            ),
            "a secret is not shown in an error": (
                kinds.SECRET,
                {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "c2VjcmV0"}},
                ["data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": invalid character 's' looking for beginning of value"],
            ),
            "a rule has verbs": (
                kinds.ROLE,
                {"rules": [{"apiGroups": [""], "resources": ["pods"]}]},
                ["rules[0].verbs: Required value: verbs must contain at least one value"],
            ),
            "a path of the API is of no namespace": (
                kinds.ROLE,
                {"rules": [{"nonResourceURLs": ["/x"], "verbs": ["get"]}]},
                ['rules[0].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs'],
            ),
            "a cluster role is bound by a cluster binding": (
                kinds.CLUSTER_ROLE_BINDING,
                {"roleRef.kind": "Role"},
                ['roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"'],
            ),
            "a budget says what stays or what goes": (
                kinds.POD_DISRUPTION_BUDGET,
                {"spec.maxUnavailable": 1},
                [
                    'spec: Invalid value: {"MinAvailable":1,"Selector":{"matchLabels":{"app":"a"}},"MaxUnavailable":1,'
                    '"UnhealthyPodEvictionPolicy":null}: minAvailable and maxUnavailable cannot be both set'
                ],
            ),
            "nobody is more important than the system": (
                kinds.PRIORITY_CLASS,
                {"value": 1000000001},
                ["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"],
            ),
            "a lease lasts": (
                kinds.LEASE,
                {"spec.leaseDurationSeconds": 0},
                ["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"],
            ),
            "an event happened some time": (kinds.EVENT_V1, {"eventTime": ABSENT}, ["eventTime: Required value"]),
            "an event lives beside what it is about": (
                kinds.EVENT,
                {"involvedObject.namespace": "other"},
                ['involvedObject.namespace: Invalid value: "other": does not match event.namespace'],
            ),
            "an endpoint is not this machine": (
                kinds.ENDPOINTS,
                {"subsets[0].addresses": [{"ip": "127.0.0.1"}]},
                ['subsets[0].addresses[0].ip: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)'],
            ),
            "a slice is of one family": (
                kinds.ENDPOINT_SLICE,
                {"addressType": "IPv6"},
                ['endpoints[0].addresses[0]: Invalid value: "10.1.2.3": must be a valid IPv6 address'],
            ),
            "a volume is somewhere": (kinds.PERSISTENT_VOLUME, {"spec.hostPath": ABSENT}, ["spec: Required value: must specify a volume type"]),
            "a local volume is on a node": (
                kinds.PERSISTENT_VOLUME,
                {"spec.hostPath": ABSENT, "spec.local": {"path": "/x"}},
                ["spec.nodeAffinity: Required value: Local volume requires node affinity"],
            ),
            "the root of a node is not wiped": (
                kinds.PERSISTENT_VOLUME,
                {"spec.hostPath.path": "/", "spec.persistentVolumeReclaimPolicy": "Recycle"},
                ["spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'"],
            ),
            "a claim asks for some room": (
                kinds.PERSISTENT_VOLUME_CLAIM,
                {"spec.resources": {"requests": {"storage": "0"}}},
                ['spec.resources[storage]: Invalid value: "0": must be greater than zero'],
            ),
            "one pod is one pod": (
                kinds.PERSISTENT_VOLUME_CLAIM,
                {"spec.accessModes": ["ReadWriteOncePod", "ReadWriteMany"]},
                ["spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes"],
            ),
            "a schedule has five fields": (
                kinds.CRON_JOB,
                {"spec.schedule": "not a schedule"},
                ['spec.schedule: Invalid value: "not a schedule": expected exactly 5 fields, found 3: [not a schedule]'],
            ),
            "a schedule is of this planet": (
                kinds.CRON_JOB,
                {"spec.timeZone": "Mars/Base"},
                ['spec.timeZone: Invalid value: "Mars/Base": unknown time zone Mars/Base'],
            ),
            "an ingress leads somewhere": (
                kinds.INGRESS,
                {"spec.rules[0].http.paths[0].backend": {}},
                ['spec.rules[0].http.paths[0].backend: Invalid value: "": resource or service backend is required'],
            ),
            "a path does not climb": (
                kinds.INGRESS,
                {"spec.rules[0].http.paths[0].path": "/a/../b"},
                ["spec.rules[0].http.paths[0].path: Invalid value: \"/a/../b\": must not contain '/../'"],
            ),
            "a peer is somebody": (
                kinds.NETWORK_POLICY,
                {"spec.ingress": [{"from": [{}]}]},
                ["spec.ingress[0].from[0]: Required value: must specify a peer"],
            ),
            "nobody gets more by default than it may have": (
                kinds.LIMIT_RANGE,
                {"spec.limits[0]": {"type": "Container", "defaultRequest": {"cpu": "2"}, "default": {"cpu": "1"}}},
                ['spec.limits[0].defaultRequest[cpu]: Invalid value: "2": default request value 2 is greater than default limit value 1'],
            ),
            "a quota counts whole pods": (
                kinds.RESOURCE_QUOTA,
                {"spec.hard": {"pods": "1.5"}},
                ['spec.hard[pods]: Invalid value: "1500m": must be an integer'],
            ),
            "an autoscaler aims at one thing": (
                kinds.HORIZONTAL_POD_AUTOSCALER,
                {"spec.metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}}]},
                ["spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization"],
            ),
            "a stateful set starts its pods in one of two ways": (
                kinds.STATEFUL_SET,
                {"spec.podManagementPolicy": "Nope"},
                ["spec.podManagementPolicy: Invalid value: \"Nope\": must be 'OrderedReady' or 'Parallel'"],
            ),
            "a webhook is asked over TLS": (
                kinds.VALIDATING_WEBHOOK_CONFIGURATION,
                {"webhooks[0].clientConfig": {"url": "http://a/"}},
                [
                    'webhooks[0].clientConfig.url: Invalid value: "http": '
                    "'https' is the only allowed URL scheme; desired format: https://host[/path]"
                ],
            ),
            "nobody waits for a webhook for ever": (
                kinds.MUTATING_WEBHOOK_CONFIGURATION,
                {"webhooks[0].timeoutSeconds": 31},
                ["webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds"],
            ),
            "a policy without consequences": (
                kinds.VALIDATING_ADMISSION_POLICY_BINDING,
                {"spec.validationActions": ABSENT},
                ["spec.validationActions: Required value: at least one validation action is required"],
            ),
            "a device is of a class": (
                kinds.RESOURCE_CLAIM,
                {"spec.devices.requests[0].exactly": {}},
                ["spec.devices.requests[0].exactly.deviceClassName: Required value"],
            ),
            "an address has one form": (
                kinds.IP_ADDRESS,
                {"metadata.name": "010.099.007.007"},
                ['metadata.name: Invalid value: "010.099.007.007": must not have leading 0s'],
            ),
            "a controller without a template makes nothing": (
                kinds.REPLICATION_CONTROLLER,
                {"spec.template": ABSENT},
                ["spec.selector: Required value", "spec.template: Required value"],
            ),
            "a node has not less than nothing": (
                kinds.NODE,
                {"status.capacity": {"cpu": "-1"}, "status.allocatable": {"cpu": "1"}},
                ['status.capacity.cpu: Invalid value: "-1": must be greater than or equal to 0'],
            ),
            "a taint is said once": (
                kinds.NODE,
                {"spec.taints": [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"}]},
                [
                    'metadata.taints[1]: Duplicate value: {"Key":"a","Value":"","Effect":"NoSchedule","TimeAdded":null}: '
                    "taints must be unique by key and effect pair"
                ],
            ),
        }
    ),
)
def test_refusals(kind: Kind, changes: dict[str, Any], said: list[str]) -> None:
    assert problems(kind, changes) == said


@pytest.mark.parametrize("kind", BASES, ids=lambda kind: kind.resource)
def test_the_small_object_of_every_kind_is_valid_and_complete(kind: Kind) -> None:
    assert problems(kind) == []
    resource, obj = resources.of(kind), created(kind)
    again = completed(kind, obj)
    assert again == obj, "what is stored reads back as it is"
    assert resource.fields(obj).keys() == resource.fields({}).keys()


@pytest.mark.parametrize(
    ("kind", "before", "changes", "said"),
    table(
        {
            "a frozen config map stays frozen": (
                kinds.CONFIG_MAP,
                {"immutable": True},
                {"immutable": False, "data": {"a": "9"}},
                [f"immutable: {FROZEN}", f"data: {FROZEN}"],
            ),
            "a frozen secret keeps its data": (kinds.SECRET, {"immutable": True}, {"data": {"a": "Mg=="}}, [f"data: {FROZEN}"]),
            "labels of a frozen one are free": (kinds.CONFIG_MAP, {"immutable": True}, {"metadata.labels": {"a": "b"}}, []),
            "a secret keeps its type": (
                kinds.SECRET,
                {},
                {"type": "example.com/other"},
                ['type: Invalid value: "example.com/other": field is immutable'],
            ),
            "a binding keeps its role": (
                kinds.ROLE_BINDING,
                {},
                {"roleRef.name": "other"},
                ['roleRef: Invalid value: {"APIGroup":"rbac.authorization.k8s.io","Kind":"Role","Name":"other"}: cannot change roleRef'],
            ),
            "a class keeps its parameters": (
                kinds.STORAGE_CLASS,
                {},
                {"parameters": {"a": "b"}},
                ['parameters: Invalid value: {"a":"b"}: field is immutable'],
            ),
            "a class may learn to expand": (kinds.STORAGE_CLASS, {}, {"allowVolumeExpansion": True}, []),
            "a node keeps its machine": (
                kinds.NODE,
                {"spec.providerID": "a"},
                {"spec.providerID": "b"},
                ['spec.providerID: Forbidden: node updates may not change providerID except from "" to valid'],
            ),
            "a node is given its pod addresses once": (kinds.NODE, {}, {"spec.podCIDRs": ["10.1.0.0/24"]}, []),
            "a priority is for life": (
                kinds.PRIORITY_CLASS,
                {},
                {"preemptionPolicy": "Never"},
                ['preemptionPolicy: Invalid value: "Never": field is immutable'],
            ),
            "a slice keeps its family": (
                kinds.ENDPOINT_SLICE,
                {},
                {"addressType": "IPv6", "endpoints[0].addresses": ["fd00::2"]},
                ['addressType: Invalid value: "IPv6": field is immutable'],
            ),
            "a volume keeps its mode": (
                kinds.PERSISTENT_VOLUME,
                {},
                {"spec.volumeMode": "Block"},
                ['volumeMode: Invalid value: "Block": field is immutable'],
            ),
            "a stateful set keeps what its pods are called by": (
                kinds.STATEFUL_SET,
                {},
                {"spec.serviceName": "other"},
                [
                    "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
                    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
                ],
            ),
            "and may be scaled": (kinds.STATEFUL_SET, {}, {"spec.replicas": 4}, []),
            "a claim is bound to its volume": (kinds.PERSISTENT_VOLUME_CLAIM, {}, {"spec.volumeName": "v"}, []),
        }
    ),
)
def test_updates(kind: Kind, before: dict[str, Any], changes: dict[str, Any], said: list[str]) -> None:
    assert updated(kind, changes, before)[1] == said


def test_an_unbound_claim_cannot_shrink_and_says_what_would_change() -> None:
    _, (said,) = updated(kinds.PERSISTENT_VOLUME_CLAIM, {"spec.resources": {"requests": {"storage": "1Mi"}}})
    assert said.startswith("spec: Forbidden: spec is immutable after creation except resources.requests")
    assert '-   "storage": "1Gi"\n+   "storage": "1Mi"\n' in said


def test_a_bound_claim_can_grow_and_not_shrink() -> None:
    resource = resources.of(kinds.PERSISTENT_VOLUME_CLAIM)
    old = created(kinds.PERSISTENT_VOLUME_CLAIM)
    old["status"] = {"phase": "Bound", "capacity": {"storage": "1Gi"}}

    def asking(storage: str) -> list[str]:
        new = completed(kinds.PERSISTENT_VOLUME_CLAIM, {**old, "spec": {**old["spec"], "resources": {"requests": {"storage": storage}}}})
        return [str(problem) for problem in resource.problems(new, old)]

    assert asking("2Gi") == []
    assert asking("1Mi") == ["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"]


def test_a_namespace_is_emptied_by_its_controller_alone() -> None:
    namespace, _ = updated(kinds.NAMESPACE, {"spec.finalizers": []})
    assert namespace["spec"]["finalizers"] == ["kubernetes"]
    namespace, _ = updated(kinds.NAMESPACE, {"spec.finalizers": []}, subresource="finalize")
    assert not namespace["spec"].get("finalizers")


def test_events_of_either_group_can_be_selected_alike() -> None:
    core, new = (resources.of(kind).fields(created(kind)) for kind in (kinds.EVENT, kinds.EVENT_V1))
    assert core["involvedObject.name"] == new["involvedObject.name"] == new["regarding.name"] == "p"


def test_a_kind_without_rules_is_plain() -> None:
    plain = resources.of(kinds.SERVICE_ACCOUNT)
    assert type(plain) is resources.Resource
    assert plain.problems({"metadata": {"name": "x", "namespace": "ns"}}) == []


def test_who_makes_what_is_not_served_is_told_once() -> None:
    stateful = base(kinds.STATEFUL_SET)
    assert unserved.notices(kinds.STATEFUL_SET, stateful, None) == ("edgek: no pods are made for a StatefulSet",)
    assert unserved.notices(kinds.STATEFUL_SET, stateful, stateful) == ()
    plain, balancer = base(kinds.SERVICE), base(kinds.SERVICE, {"spec.type": "LoadBalancer"})
    assert unserved.notices(kinds.SERVICE, plain, None) == ()
    assert len(unserved.notices(kinds.SERVICE, balancer, plain)) == 1
    assert unserved.notices(kinds.SERVICE, balancer, balancer) == ()
