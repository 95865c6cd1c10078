"""Nobody grants what he does not hold."""

from __future__ import annotations

from typing import Any

import pytest

from edgek.model import kinds
from edgek.model.errors import Forbidden, NotFound
from edgek.server.api.admission.rbac_escalation import RbacEscalation
from edgek.server.api.authz import Authorizer
from edgek.server.api.identity import User
from edgek.server.store.memory import MemoryBackend
from tests.server.api.admission.reviewing import ADMIN, named, review
from tests.server.api.written import put

ALICE = User("alice", groups=("golden-devs", "system:authenticated"))
GET_PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
WHO = 'user "alice" (groups=["golden-devs" "system:authenticated"]) is attempting to grant RBAC permissions not currently held:'


def bound(kind: str, role: str) -> dict[str, Any]:
    return {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role}, "subjects": [{"kind": "User", "name": "alice"}]}


@pytest.fixture
async def backend() -> MemoryBackend:
    backend = MemoryBackend()
    everything = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]}]
    await put(backend, kinds.CLUSTER_ROLE, named("cluster-admin", rules=everything))
    await put(backend, kinds.ROLE, named("r", "ns", rules=[GET_PODS]))
    await put(backend, kinds.ROLE_BINDING, named("b", "ns", **bound("Role", "r")))
    return backend


def check(backend: MemoryBackend, kind: kinds.Kind, obj: dict[str, Any], old: dict[str, Any] | None = None, user: User = ALICE) -> None:
    step = RbacEscalation(Authorizer(backend))
    under = review(kind, obj, user=user, operation="UPDATE" if old else "CREATE", old=old)
    assert step.handles(under)
    step.admit(under)


async def test_what_one_holds_one_can_give(backend: MemoryBackend) -> None:
    check(backend, kinds.ROLE, named("same", "ns", rules=[GET_PODS]))
    check(backend, kinds.ROLE_BINDING, named("b2", "ns", **bound("Role", "r")))


async def test_more_than_that_is_refused_and_told(backend: MemoryBackend) -> None:
    with pytest.raises(Forbidden) as caught:
        check(backend, kinds.ROLE, named("more", "ns", rules=[{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]}]))
    assert caught.value.message == (
        f'roles.rbac.authorization.k8s.io "more" is forbidden: {WHO}\n' + '{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}'
    )


async def test_a_binding_to_a_stronger_role_is_refused(backend: MemoryBackend) -> None:
    with pytest.raises(Forbidden) as caught:
        check(backend, kinds.ROLE_BINDING, named("b1", "ns", **bound("ClusterRole", "cluster-admin")))
    assert caught.value.message.endswith('\n{APIGroups:["*"], Resources:["*"], Verbs:["*"]}\n{NonResourceURLs:["*"], Verbs:["*"]}')


async def test_a_binding_to_a_missing_role_says_so(backend: MemoryBackend) -> None:
    with pytest.raises(NotFound, match=r'rolebindings\.rbac.authorization\.k8s\.io "missing" not found'):
        check(backend, kinds.ROLE_BINDING, named("b3", "ns", **bound("Role", "missing")))


async def test_what_is_not_changed_is_not_granted_anew(backend: MemoryBackend) -> None:
    strong = named("strong", "ns", rules=[{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}])
    check(backend, kinds.ROLE, named("strong", "ns", rules=strong["rules"], metadata={"labels": {"a": "b"}}), old=strong)
    with pytest.raises(Forbidden):
        check(backend, kinds.ROLE, strong, old=named("strong", "ns", rules=[]))


async def test_masters_grant_anything(backend: MemoryBackend) -> None:
    check(backend, kinds.CLUSTER_ROLE_BINDING, named("b", **bound("ClusterRole", "cluster-admin")), user=ADMIN)


async def test_the_verbs_escalate_and_bind_lift_the_limit(backend: MemoryBackend) -> None:
    lifted = {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "clusterroles"], "verbs": ["escalate", "bind"]}
    await put(backend, kinds.ROLE, named("r", "ns", rules=[lifted]))
    check(backend, kinds.ROLE, named("more", "ns", rules=[{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]))
    check(backend, kinds.ROLE_BINDING, named("b1", "ns", **bound("ClusterRole", "cluster-admin")))


async def test_an_aggregated_role_can_only_be_made_by_who_holds_everything(backend: MemoryBackend) -> None:
    with pytest.raises(Forbidden):
        check(backend, kinds.CLUSTER_ROLE, named("a", aggregationRule={"clusterRoleSelectors": [{}]}))
