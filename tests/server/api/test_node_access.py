"""A node reads what its pods need, and nothing of its neighbours."""

from __future__ import annotations

from typing import Any

import pytest

from edgek.model import kinds
from edgek.server.api.identity import Attributes, User
from edgek.server.api.node_access import NodeAccess
from edgek.server.store.memory import MemoryBackend
from tests.server.api.written import put, remove

NODE = User("system:node:n1", groups=("system:nodes", "system:authenticated"))

POD: dict[str, Any] = {
    "metadata": {"name": "p", "namespace": "ns"},
    "spec": {
        "nodeName": "n1",
        "serviceAccountName": "sa",
        "imagePullSecrets": [{"name": "pull"}],
        "volumes": [
            {"name": "a", "secret": {"secretName": "mounted"}},
            {"name": "b", "projected": {"sources": [{"configMap": {"name": "projected"}}]}},
            {"name": "c", "persistentVolumeClaim": {"claimName": "claim"}},
        ],
        "containers": [{"name": "c", "envFrom": [{"configMapRef": {"name": "env"}}], "env": [{"valueFrom": {"secretKeyRef": {"name": "key"}}}]}],
    },
}


def ask(verb: str, resource: str, name: str = "", namespace: str = "ns", **more: Any) -> Attributes:
    return Attributes(NODE, verb, resource=resource, namespace=namespace, name=name, **more)


@pytest.fixture
async def access() -> NodeAccess:
    backend = MemoryBackend()
    found = NodeAccess(backend)
    await put(backend, kinds.POD, POD)
    await put(
        backend,
        kinds.POD,
        {"metadata": {"name": "q", "namespace": "ns"}, "spec": {"nodeName": "n2", "volumes": [{"secret": {"secretName": "theirs"}}]}},
    )
    await put(backend, kinds.PERSISTENT_VOLUME_CLAIM, {"metadata": {"name": "claim", "namespace": "ns"}, "spec": {"volumeName": "pv"}})
    csi = {"nodePublishSecretRef": {"name": "driver", "namespace": "store"}}
    await put(backend, kinds.PERSISTENT_VOLUME, {"metadata": {"name": "pv"}, "spec": {"claimRef": {"namespace": "ns", "name": "claim"}, "csi": csi}})
    await put(backend, kinds.PERSISTENT_VOLUME, {"metadata": {"name": "free"}, "spec": {}})
    await put(backend, kinds.VOLUME_ATTACHMENT, {"metadata": {"name": "mine"}, "spec": {"nodeName": "n1"}})
    await put(backend, kinds.VOLUME_ATTACHMENT, {"metadata": {"name": "theirs"}, "spec": {"nodeName": "n2"}})
    return found


@pytest.mark.parametrize(
    ("question", "allowed"),
    [
        (ask("get", "secrets", "pull"), True),
        (ask("watch", "secrets", "mounted"), True),
        (ask("get", "secrets", "key"), True),
        (ask("get", "secrets", "theirs"), False),
        (ask("get", "secrets", "mounted", "other"), False),
        (ask("list", "secrets"), False),
        (ask("update", "secrets", "mounted"), False),
        (ask("get", "secrets", "driver", "store"), True),
        (ask("get", "secrets", "driver", "ns"), False),
        (ask("get", "configmaps", "projected"), True),
        (ask("get", "configmaps", "env"), True),
        (ask("get", "persistentvolumeclaims", "claim"), True),
        (ask("get", "persistentvolumeclaims", "other"), False),
        (ask("patch", "persistentvolumeclaims", "claim", subresource="status"), True),
        (ask("get", "persistentvolumes", "pv", ""), True),
        (ask("get", "persistentvolumes", "free", ""), False),
        (ask("get", "volumeattachments", "mine", "", group="storage.k8s.io"), True),
        (ask("get", "volumeattachments", "theirs", "", group="storage.k8s.io"), False),
        (ask("create", "serviceaccounts", "sa", subresource="token"), True),
        (ask("create", "serviceaccounts", "default", subresource="token"), False),
        (ask("get", "pods", "p"), True),
        (ask("get", "pods", "q"), False),
        (ask("list", "pods", "", "", field_selector="spec.nodeName=n1"), True),
        (ask("watch", "pods", "", "", field_selector="spec.nodeName=n2"), False),
        (ask("list", "pods", "", ""), False),
        (ask("patch", "pods", "p", subresource="status"), True),
        (ask("get", "nodes", "n1", ""), True),
        (ask("get", "nodes", "n2", ""), False),
        (ask("update", "leases", "n1", "kube-node-lease", group="coordination.k8s.io"), True),
        (ask("update", "leases", "n2", "kube-node-lease", group="coordination.k8s.io"), False),
        (ask("update", "leases", "n1", "kube-system", group="coordination.k8s.io"), False),
        (ask("create", "events"), True),
        (ask("delete", "namespaces", "ns", ""), False),
    ],
    ids=str,
)
async def test_a_node_may(access: NodeAccess, question: Attributes, allowed: bool) -> None:
    decision = access.decide(question)
    assert decision is not None
    assert decision.allowed is allowed


async def test_what_a_pod_needed_is_closed_when_it_is_gone() -> None:
    backend = MemoryBackend()
    access = NodeAccess(backend)
    await put(backend, kinds.POD, POD)
    question = ask("get", "secrets", "mounted")
    first = access.decide(question)
    await remove(backend, kinds.POD, "p", "ns")
    second = access.decide(question)
    assert first is not None
    assert second is not None
    assert (first.allowed, second.allowed) == (True, False)
    assert second.reason == "no relationship found between node 'n1' and this object"


async def test_who_is_no_node_is_none_of_its_business() -> None:
    access = NodeAccess(MemoryBackend())
    for user in (User("alice"), User("system:node:n1"), User("n1", groups=("system:nodes",))):
        assert access.decide(Attributes(user, "get", resource="secrets")) is None
