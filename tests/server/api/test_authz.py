"""Who may do what, decided over a store in memory."""

from __future__ import annotations

from typing import Any

import pytest

from edgek.model import kinds
from edgek.server.api.authz import Authorizer, forbidden
from edgek.server.api.identity import Attributes, User
from edgek.server.store.memory import MemoryBackend
from tests.server.api.written import put, remove

ALICE = User("alice", groups=("devs", "system:authenticated"))
NODE = User("system:node:n1", groups=("system:nodes", "system:authenticated"))


def ask(user: User, verb: str, resource: str, namespace: str = "ns", name: str = "", **more: str) -> Attributes:
    return Attributes(user, verb, resource=resource, namespace=namespace, name=name, version="v1", **more)  # type: ignore[arg-type]


def role(*rules: dict[str, Any], name: str = "r", namespace: str = "ns") -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "rules": list(rules)}


def binding(*subjects: dict[str, str], name: str = "b", namespace: str = "ns", kind: str = "Role", role: str = "r") -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "roleRef": {"kind": kind, "name": role}, "subjects": list(subjects)}


GET_PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
TO_ALICE = {"kind": "User", "name": "alice"}


@pytest.fixture
def backend() -> MemoryBackend:
    return MemoryBackend()


async def test_masters_may_do_everything(backend: MemoryBackend) -> None:
    assert Authorizer(backend).authorize(ask(User("root", groups=("system:masters",)), "*", "*")).allowed


async def test_a_binding_gives_its_role_in_its_namespace_only(backend: MemoryBackend) -> None:
    authorizer = Authorizer(backend)
    await put(backend, kinds.ROLE, role(GET_PODS))
    await put(backend, kinds.ROLE_BINDING, binding(TO_ALICE))
    found = authorizer.authorize(ask(ALICE, "get", "pods", name="x"))
    assert (found.allowed, found.reason) == (True, 'RBAC: allowed by RoleBinding "b/ns" of Role "r" to User "alice"')
    assert not authorizer.authorize(ask(ALICE, "get", "pods", "other")).allowed
    assert not authorizer.authorize(ask(User("bob"), "get", "pods")).allowed


async def test_an_answer_changes_as_soon_as_a_role_does(backend: MemoryBackend) -> None:
    authorizer = Authorizer(backend)
    await put(backend, kinds.ROLE, role(GET_PODS))
    await put(backend, kinds.ROLE_BINDING, binding(TO_ALICE))
    assert authorizer.authorize(ask(ALICE, "get", "pods")).allowed
    await put(backend, kinds.ROLE, role())
    assert not authorizer.authorize(ask(ALICE, "get", "pods")).allowed
    await put(backend, kinds.ROLE, role(GET_PODS))
    assert authorizer.authorize(ask(ALICE, "get", "pods")).allowed
    await remove(backend, kinds.ROLE_BINDING, "b", "ns")
    assert not authorizer.authorize(ask(ALICE, "get", "pods")).allowed


async def test_what_was_there_before_the_authorizer_counts(backend: MemoryBackend) -> None:
    await put(backend, kinds.CLUSTER_ROLE, role(GET_PODS, namespace=""))
    await put(backend, kinds.CLUSTER_ROLE_BINDING, binding({"kind": "Group", "name": "devs"}, namespace="", kind="ClusterRole"))
    found = Authorizer(backend).authorize(ask(ALICE, "get", "pods", "anywhere"))
    assert (found.allowed, found.reason) == (True, 'RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "r" to Group "devs"')


async def test_a_service_account_is_a_subject_by_its_namespace_and_name(backend: MemoryBackend) -> None:
    await put(backend, kinds.ROLE, role(GET_PODS))
    await put(backend, kinds.ROLE_BINDING, binding({"kind": "ServiceAccount", "name": "s", "namespace": "home"}))
    authorizer = Authorizer(backend)
    found = authorizer.authorize(ask(User("system:serviceaccount:home:s"), "get", "pods"))
    assert found.reason == 'RBAC: allowed by RoleBinding "b/ns" of Role "r" to ServiceAccount "s/home"'
    assert not authorizer.authorize(ask(User("system:serviceaccount:ns:s"), "get", "pods")).allowed


async def test_a_rule_for_one_name_gives_that_name_only_whatever_was_asked_before(backend: MemoryBackend) -> None:
    await put(backend, kinds.ROLE, role({**GET_PODS, "resourceNames": ["one"]}))
    await put(backend, kinds.ROLE_BINDING, binding(TO_ALICE))
    authorizer = Authorizer(backend)
    answers = [authorizer.authorize(ask(ALICE, "get", "pods", name=name)).allowed for name in ("two", "one", "", "one")]
    assert answers == [False, True, False, True]


async def test_a_binding_without_role_is_named_in_the_refusal(backend: MemoryBackend) -> None:
    await put(backend, kinds.ROLE_BINDING, binding(TO_ALICE, role="none"))
    asked = ask(ALICE, "get", "configmaps", name="x")
    decision = Authorizer(backend).authorize(asked)
    assert forbidden(asked, decision.reason).message == (
        'configmaps "x" is forbidden: User "alice" cannot get resource "configmaps" in API group "" in the namespace "ns":'
        ' RBAC: role.rbac.authorization.k8s.io "none" not found'
    )


def test_refusals_are_in_upstreams_words() -> None:
    scale = Attributes(ALICE, "get", group="apps", resource="deployments", subresource="scale", namespace="ns", name="x")
    error = forbidden(scale)
    assert (
        error.message
        == 'deployments.apps "x" is forbidden: User "alice" cannot get resource "deployments/scale" in API group "apps" in the namespace "ns"'
    )
    assert error.details() == {"name": "x", "group": "apps", "kind": "deployments"}
    assert (
        forbidden(ask(ALICE, "list", "nodes", "")).message
        == 'nodes is forbidden: User "alice" cannot list resource "nodes" in API group "" at the cluster scope'
    )
    assert forbidden(Attributes(ALICE, "get", path="/metrics")).message == 'forbidden: User "alice" cannot get path "/metrics"'


async def test_an_aggregated_role_is_what_its_parts_are_now(backend: MemoryBackend) -> None:
    to_admin, to_edit = ({f"rbac.authorization.k8s.io/aggregate-to-{name}": "true"} for name in ("admin", "edit"))
    await put(backend, kinds.CLUSTER_ROLE, {"metadata": {"name": "admin"}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": to_admin}]}})
    edit = {"metadata": {"name": "edit", "labels": to_admin}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": to_edit}]}}
    await put(backend, kinds.CLUSTER_ROLE, {**edit, "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]})
    await put(backend, kinds.ROLE_BINDING, binding(TO_ALICE, kind="ClusterRole", role="admin"))
    authorizer, question = Authorizer(backend), ask(ALICE, "get", "pods")
    assert not authorizer.authorize(question).allowed
    await put(backend, kinds.CLUSTER_ROLE, {"metadata": {"name": "part", "labels": to_edit}, "rules": [GET_PODS]})
    assert authorizer.authorize(question).allowed
    await remove(backend, kinds.CLUSTER_ROLE, "part")
    assert not authorizer.authorize(question).allowed


async def test_one_answer_serves_all_objects_of_a_kind(backend: MemoryBackend) -> None:
    await put(backend, kinds.ROLE, role(GET_PODS))
    await put(backend, kinds.ROLE_BINDING, binding(TO_ALICE))
    authorizer = Authorizer(backend)
    for number in range(100):
        assert authorizer.authorize(ask(ALICE, "get", "pods", name=f"p{number}", path=f"/api/v1/namespaces/ns/pods/p{number}")).allowed
    assert len(authorizer._verdicts) == 1


async def test_an_answer_given_before_is_given_without_a_look_at_any_rule(backend: MemoryBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    await put(backend, kinds.ROLE, role(GET_PODS))
    await put(backend, kinds.ROLE_BINDING, binding(TO_ALICE))
    authorizer, question = Authorizer(backend), ask(ALICE, "get", "pods")
    before = authorizer.authorize(question)
    monkeypatch.setattr(authorizer, "_judge", None)
    assert authorizer.authorize(question) == before
