"""The table, and each of its steps that fits a few lines."""

from __future__ import annotations

from typing import Any

import pytest

from edgek.model import kinds
from edgek.model.errors import Forbidden, NotFound
from edgek.model.kinds import Kind
from edgek.server.api.admission import ADMISSION, steps
from edgek.server.api.admission.base import Review
from edgek.server.api.admission.certificates import CertificateRequests
from edgek.server.api.admission.ingress_class import DefaultIngressClass
from edgek.server.api.admission.namespace_lifecycle import NamespaceLifecycle
from edgek.server.api.admission.priority import Priority
from edgek.server.api.admission.runtime_class import RuntimeClass
from edgek.server.api.admission.storage import DefaultStorageClass, PersistentVolumeClaimResize, StorageObjectInUseProtection
from edgek.server.api.admission.tolerations import DefaultTolerationSeconds, TaintNodesByCondition
from edgek.server.api.authz import Authorizer
from edgek.server.store.memory import MemoryBackend
from tests.server.api.admission.reviewing import named, review

POD = named("x", spec={"containers": [{"name": "c"}]})


@pytest.fixture
async def authorizer() -> Authorizer:
    return Authorizer(MemoryBackend())


def admitted(step: type, authorizer: Authorizer, under: Review) -> dict[str, Any]:
    made = step(authorizer)
    assert made.handles(under)
    made.admit(under)
    made.validate(under)
    return under.obj or {}


def refusal(step: type, authorizer: Authorizer, under: Review) -> str:
    with pytest.raises(Forbidden) as caught:
        admitted(step, authorizer, under)
    return caught.value.message


async def test_every_step_has_a_name_of_its_own(authorizer: Authorizer) -> None:
    names = [step.name for step in steps(authorizer)]
    assert len(set(names)) == len(ADMISSION)
    assert "" not in names


async def test_nothing_new_comes_into_a_missing_or_ending_namespace(authorizer: Authorizer) -> None:
    with pytest.raises(NotFound, match='namespaces "ns" not found'):
        admitted(NamespaceLifecycle, authorizer, review(kinds.CONFIG_MAP, named("x")))
    ending = (kinds.NAMESPACE, named("ns", status={"phase": "Terminating"}))
    with pytest.raises(Forbidden) as caught:
        admitted(NamespaceLifecycle, authorizer, review(kinds.CONFIG_MAP, named("y"), ending))
    assert caught.value.message == 'configmaps "y" is forbidden: unable to create new content in namespace ns because it is being terminated'
    cause = caught.value.causes[0]
    assert (cause.reason, cause.message, cause.field) == ("NamespaceTerminating", "namespace ns is being terminated", "metadata.namespace")


async def test_what_is_there_may_still_be_changed_and_deleted_while_its_namespace_ends(authorizer: Authorizer) -> None:
    ending = (kinds.NAMESPACE, named("ns", status={"phase": "Terminating"}))
    admitted(NamespaceLifecycle, authorizer, review(kinds.CONFIG_MAP, named("y"), ending, operation="UPDATE", old=named("y")))
    assert not NamespaceLifecycle(authorizer).handles(review(kinds.CONFIG_MAP, None, operation="DELETE", old=named("y")))


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
async def test_some_namespaces_stay(authorizer: Authorizer, name: str) -> None:
    under = review(kinds.NAMESPACE, None, operation="DELETE", old=named(name))
    assert refusal(NamespaceLifecycle, authorizer, under) == f'namespaces "{name}" is forbidden: this namespace may not be deleted'


async def test_a_pod_gets_the_number_of_its_class(authorizer: Authorizer) -> None:
    high = (kinds.PRIORITY_CLASS, named("high", value=100, preemptionPolicy="Never"))
    pod = named("x", spec={"priorityClassName": "high"})
    assert admitted(Priority, authorizer, review(kinds.POD, pod, high))["spec"] == {
        "priorityClassName": "high",
        "priority": 100,
        "preemptionPolicy": "Never",
    }
    assert admitted(Priority, authorizer, review(kinds.POD, named("x", spec={}), high))["spec"] == {
        "priority": 0,
        "preemptionPolicy": "PreemptLowerPriority",
    }


async def test_a_default_class_is_for_who_names_none(authorizer: Authorizer) -> None:
    defaults = [(kinds.PRIORITY_CLASS, named(name, value=value, globalDefault=True)) for name, value in (("a", 9), ("b", 5))]
    spec = admitted(Priority, authorizer, review(kinds.POD, named("x", spec={}), *defaults))["spec"]
    assert (spec["priorityClassName"], spec["priority"]) == ("b", 5)
    under = review(kinds.PRIORITY_CLASS, named("c", value=1, globalDefault=True), defaults[1])
    assert refusal(Priority, authorizer, under).endswith("PriorityClass b is already marked as default. Only one default can exist")


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"priorityClassName": "missing"}, "no PriorityClass with name missing was found"),
        ({"priority": 7}, "the integer value of priority (7) must not be provided in pod spec; priority admission controller computed 0 from the given PriorityClass name"),
        ({"preemptionPolicy": "Never"}, "the string value of PreemptionPolicy (Never) must not be provided in pod spec; priority admission controller computed PreemptLowerPriority from the given PriorityClass name"),
    ],
)  # fmt: skip
async def test_a_priority_cannot_be_made_up(authorizer: Authorizer, spec: dict[str, Any], why: str) -> None:
    assert refusal(Priority, authorizer, review(kinds.POD, named("x", spec=spec))) == f'pods "x" is forbidden: {why}'


async def test_system_priority_classes_stay(authorizer: Authorizer) -> None:
    under = review(kinds.PRIORITY_CLASS, None, operation="DELETE", old=named("system-node-critical"))
    assert refusal(Priority, authorizer, under) == (
        'priorityclasses.scheduling.k8s.io "system-node-critical" is forbidden: this is a system priority class and cannot be deleted'
    )


async def test_a_pod_waits_five_minutes_for_a_lost_node_unless_it_says_otherwise(authorizer: Authorizer) -> None:
    tolerations = admitted(DefaultTolerationSeconds, authorizer, review(kinds.POD, POD))["spec"]["tolerations"]
    assert [(each["key"], each["effect"], each["tolerationSeconds"]) for each in tolerations] == [
        ("node.kubernetes.io/not-ready", "NoExecute", 300),
        ("node.kubernetes.io/unreachable", "NoExecute", 300),
    ]
    own = [
        {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"},
        {"key": "node.kubernetes.io/unreachable", "operator": "Exists"},
    ]
    assert admitted(DefaultTolerationSeconds, authorizer, review(kinds.POD, named("x", spec={"tolerations": own})))["spec"]["tolerations"] == own
    everything = [{"operator": "Exists"}]
    kept = admitted(DefaultTolerationSeconds, authorizer, review(kinds.POD, named("x", spec={"tolerations": everything})))
    assert kept["spec"]["tolerations"] == everything


async def test_a_new_node_is_not_ready(authorizer: Authorizer) -> None:
    taint = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
    assert admitted(TaintNodesByCondition, authorizer, review(kinds.NODE, named("n")))["spec"]["taints"] == [taint]
    again = named("n", spec={"taints": [taint]})
    assert admitted(TaintNodesByCondition, authorizer, review(kinds.NODE, again))["spec"]["taints"] == [taint]


def default_class(kind: Kind, name: str, annotation: str, made: str) -> tuple[Kind, dict[str, Any]]:
    return kind, named(name, metadata={"annotations": {annotation: "true"}, "creationTimestamp": made})


async def test_a_claim_gets_the_newest_default_class_unless_it_names_one_or_none(authorizer: Authorizer) -> None:
    mark = "storageclass.kubernetes.io/is-default-class"
    there = [
        default_class(kinds.STORAGE_CLASS, name, mark, made) for name, made in (("old", "2025-01-01T00:00:00Z"), ("new", "2026-01-01T00:00:00Z"))
    ]
    names = [admitted(DefaultStorageClass, authorizer, review(kinds.PERSISTENT_VOLUME_CLAIM, named("c", spec=spec), *there))["spec"].get("storageClassName") for spec in ({}, {"storageClassName": "mine"}, {"storageClassName": ""})]  # fmt: skip
    assert names == ["new", "mine", ""]
    assert "storageClassName" not in admitted(DefaultStorageClass, authorizer, review(kinds.PERSISTENT_VOLUME_CLAIM, named("c", spec={})))["spec"]


async def test_an_ingress_gets_the_default_class_unless_it_names_one(authorizer: Authorizer) -> None:
    default = default_class(kinds.INGRESS_CLASS, "d", "ingressclass.kubernetes.io/is-default-class", "2026-01-01T00:00:00Z")
    assert admitted(DefaultIngressClass, authorizer, review(kinds.INGRESS, named("i"), default))["spec"]["ingressClassName"] == "d"
    old_way = named("i", metadata={"annotations": {"kubernetes.io/ingress.class": "x"}})
    assert "ingressClassName" not in admitted(DefaultIngressClass, authorizer, review(kinds.INGRESS, old_way, default))["spec"]


@pytest.mark.parametrize(
    ("kind", "finalizer"), [(kinds.PERSISTENT_VOLUME_CLAIM, "kubernetes.io/pvc-protection"), (kinds.PERSISTENT_VOLUME, "kubernetes.io/pv-protection")]
)
async def test_storage_in_use_is_protected_once(authorizer: Authorizer, kind: Kind, finalizer: str) -> None:
    first = admitted(StorageObjectInUseProtection, authorizer, review(kind, named("x", metadata={"finalizers": ["mine"]})))
    assert first["metadata"]["finalizers"] == ["mine", finalizer]
    assert admitted(StorageObjectInUseProtection, authorizer, review(kind, first))["metadata"]["finalizers"] == ["mine", finalizer]


async def test_a_claim_grows_only_where_its_class_lets_it(authorizer: Authorizer) -> None:
    old, new = (named("c", spec={"storageClassName": "s", "resources": {"requests": {"storage": size}}}) for size in ("1Gi", "2Gi"))
    fixed, growing = ((kinds.STORAGE_CLASS, named("s", allowVolumeExpansion=allowed)) for allowed in (False, True))
    admitted(PersistentVolumeClaimResize, authorizer, review(kinds.PERSISTENT_VOLUME_CLAIM, new, growing, operation="UPDATE", old=old))
    admitted(PersistentVolumeClaimResize, authorizer, review(kinds.PERSISTENT_VOLUME_CLAIM, old, fixed, operation="UPDATE", old=old))
    under = review(kinds.PERSISTENT_VOLUME_CLAIM, new, fixed, operation="UPDATE", old=old)
    assert "only dynamically provisioned pvc can be resized" in refusal(PersistentVolumeClaimResize, authorizer, under)


async def test_a_runtime_class_gives_its_overhead_and_its_nodes(authorizer: Authorizer) -> None:
    given = named("r", overhead={"podFixed": {"cpu": "100m"}}, scheduling={"nodeSelector": {"a": "b"}, "tolerations": [{"key": "k"}]})
    pod = named("x", spec={"runtimeClassName": "r", "nodeSelector": {"c": "d"}})
    spec = admitted(RuntimeClass, authorizer, review(kinds.POD, pod, (kinds.RUNTIME_CLASS, given)))["spec"]
    assert (spec["overhead"], spec["nodeSelector"], spec["tolerations"]) == ({"cpu": "100m"}, {"c": "d", "a": "b"}, [{"key": "k"}])


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"runtimeClassName": "missing"}, 'pod rejected: RuntimeClass "missing" not found'),
        ({"overhead": {"cpu": "1"}}, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"),
        ({"runtimeClassName": "r", "overhead": {"cpu": "1"}}, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"),
    ],
)
async def test_an_overhead_comes_from_a_class_that_is_there(authorizer: Authorizer, spec: dict[str, Any], why: str) -> None:
    given = (kinds.RUNTIME_CLASS, named("r", overhead={"podFixed": {"cpu": "100m"}}))
    assert refusal(RuntimeClass, authorizer, review(kinds.POD, named("x", spec=spec), given)) == f'pods "x" is forbidden: {why}'


async def test_a_certificate_request_is_by_who_sent_it(authorizer: Authorizer) -> None:
    lying = named("c", spec={"username": "mallory", "groups": ["system:masters"], "uid": "1", "extra": {}})
    spec = admitted(CertificateRequests, authorizer, review(kinds.CERTIFICATE_SIGNING_REQUEST, lying))["spec"]
    assert spec == {"username": "admin", "groups": ["system:masters", "system:authenticated"]}
