"""Whatever a client leaves out or empties, the answer is an object or a list of problems: never a crash, and never another object when read back."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from edgek.model import kinds, schema
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server import resources
from edgek.server.resources.allocators import Allocators
from tests.server.resources.scene import BASES, CREATED, UID, base, changed, completed, created

RICH_POD = {
    "spec.volumes": [
        {"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}, {"configMap": {"name": "c", "items": [{"key": "k"}]}}]}},
        {"name": "d", "downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        {"name": "e", "ephemeral": {"volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"], "selector": {"matchLabels": {"a": "b"}}}}}},
        {"name": "h", "hostPath": {"path": "/x"}},
    ],
    "spec.initContainers": [{"name": "i", "image": "i", "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}]}],
    "spec.affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]}
        },
        "podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": {"topologyKey": "h"}}]},
    },
    "spec.dnsConfig": {"nameservers": ["1.1.1.1"], "options": [{"name": "ndots"}]},
    "spec.tolerations": [{"key": "a", "operator": "Equal", "value": "b"}],
    "spec.topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule", "minDomains": 1}],
    "spec.containers[0]": {
        "name": "c",
        "image": "nginx",
        "ports": [{"containerPort": 80, "name": "http"}],
        "env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}],
        "envFrom": [{"secretRef": {"name": "s"}}],
        "resources": {"limits": {"cpu": "1"}, "claims": [{"name": "x"}]},
        "livenessProbe": {"httpGet": {"port": 80, "httpHeaders": [{"name": "a", "value": "b"}]}},
        "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
        "volumeMounts": [{"name": "h", "mountPath": "/h", "subPath": "a"}],
        "volumeDevices": [{"name": "e", "devicePath": "/dev/e"}],
        "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}, "seccompProfile": {"type": "RuntimeDefault"}},
    },
}


def hurt(value: Any) -> Iterator[Any]:
    """The value with one of its parts taken away, emptied or made null, one after the other."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield {key: each for key, each in value.items() if key != name}
            yield {**value, name: None}
            if isinstance(member, (str, int, list, dict)):
                yield {**value, name: type(member)()}
            for worse in hurt(member):
                yield {**value, name: worse}
    elif isinstance(value, list):
        for index, item in enumerate(value):
            for worse in hurt(item):
                yield [*value[:index], worse, *value[index + 1 :]]


def go_through(kind: Kind, sent: Object) -> None:
    """The way of a creation, of the same object read and put back, and of an update of a valid one to this."""
    resource = resources.of(kind)
    if schema.type_problem(kind, sent):
        return
    obj = completed(kind, sent)
    obj["metadata"] |= {"uid": UID, "creationTimestamp": CREATED}
    resource.prepare_create(obj)
    allocators = Allocators.of()
    found = resource.problems(obj)
    if not found:
        found = resource.allocate(obj, None, allocators)
        resource.release(obj, None, allocators)
    resource.warnings(obj, None)
    resource.fields(obj)
    if not found:
        again = completed(kind, obj)
        resource.prepare_update(again, obj, "")
        assert again == obj
        assert not resource.problems(again, copy.deepcopy(obj))
    old = created(kind)
    changed_to = completed(kind, {**copy.deepcopy(sent), "metadata": copy.deepcopy(old["metadata"])})
    resource.prepare_update(changed_to, old, "")
    resource.problems(changed_to, old)
    if kind.subresource("status"):
        status = completed(kind, {**copy.deepcopy(sent), "metadata": copy.deepcopy(old["metadata"])})
        resource.prepare_update(status, old, "status")
        resource.problems(status, old, "status")


@pytest.mark.parametrize("kind", BASES, ids=lambda kind: kind.resource)
def test_an_incomplete_object_is_answered(kind: Kind) -> None:
    for sent in hurt(base(kind)):
        go_through(kind, sent)


def test_an_incomplete_rich_pod_is_answered() -> None:
    for sent in hurt(changed(base(kinds.POD), RICH_POD)):
        go_through(kinds.POD, sent)


@pytest.mark.parametrize("kind_of_service", ["NodePort", "LoadBalancer", "ExternalName"])
def test_an_incomplete_service_of_any_type_is_answered(kind_of_service: str) -> None:
    more = {"spec.type": kind_of_service, "spec.externalName": "a.b", "spec.externalTrafficPolicy": "Local", "spec.clusterIP": "10.43.7.7"}
    for sent in hurt(changed(base(kinds.SERVICE), more)):
        go_through(kinds.SERVICE, sent)
