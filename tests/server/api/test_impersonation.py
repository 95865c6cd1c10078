"""Acting as somebody else."""

from __future__ import annotations

import pytest

from edgek.model import kinds
from edgek.model.errors import BadRequest, Forbidden
from edgek.server.api.authz import Authorizer
from edgek.server.api.identity import User
from edgek.server.api.impersonation import impersonate
from edgek.server.store.memory import MemoryBackend
from tests.server.api.written import put

ADMIN = User("admin", groups=("system:masters", "system:authenticated"))
BOB = User("bob", groups=("system:authenticated",))


@pytest.fixture
async def authorizer() -> Authorizer:
    backend = MemoryBackend()
    rules = [
        {"apiGroups": [""], "resources": ["users"], "resourceNames": ["carol"], "verbs": ["impersonate"]},
        {"apiGroups": ["authentication.k8s.io"], "resources": ["userextras/scopes"], "verbs": ["impersonate"]},
    ]
    await put(backend, kinds.CLUSTER_ROLE, {"metadata": {"name": "r"}, "rules": rules})
    role_ref = {"kind": "ClusterRole", "name": "r"}
    await put(backend, kinds.CLUSTER_ROLE_BINDING, {"metadata": {"name": "b"}, "roleRef": role_ref, "subjects": [{"kind": "User", "name": "bob"}]})
    return Authorizer(backend)


async def test_without_headers_one_stays_oneself(authorizer: Authorizer) -> None:
    assert impersonate(BOB, {"accept": "*/*"}, authorizer) is BOB


async def test_all_that_is_put_on_is_put_on(authorizer: Authorizer) -> None:
    headers = {"impersonate-user": "carol", "impersonate-group": "a,b\nc", "impersonate-uid": "7", "impersonate-extra-ex%41mple.com%2fx": "1\n2"}
    assert impersonate(ADMIN, headers, authorizer) == User("carol", "7", ("a,b", "c", "system:authenticated"), {"example.com/x": ("1", "2")})


async def test_a_service_account_comes_with_its_groups(authorizer: Authorizer) -> None:
    user = impersonate(ADMIN, {"impersonate-user": "system:serviceaccount:ns:s"}, authorizer)
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated")


async def test_nobody_is_not_authenticated(authorizer: Authorizer) -> None:
    assert impersonate(ADMIN, {"impersonate-user": "system:anonymous"}, authorizer).groups == ("system:unauthenticated",)


async def test_what_is_granted_by_name_is_granted(authorizer: Authorizer) -> None:
    assert impersonate(BOB, {"impersonate-user": "carol", "impersonate-extra-scopes": "a"}, authorizer).name == "carol"


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({"impersonate-user": "dave"}, 'users "dave" is forbidden: User "bob" cannot impersonate resource "users" in API group "" at the cluster scope'),
        ({"impersonate-user": "carol", "impersonate-group": "x"}, 'groups "x" is forbidden: User "bob" cannot impersonate resource "groups" in API group "" at the cluster scope'),
        ({"impersonate-user": "carol", "impersonate-uid": "7"}, 'uids.authentication.k8s.io "7" is forbidden: User "bob" cannot impersonate resource "uids" in API group "authentication.k8s.io" at the cluster scope'),
        ({"impersonate-user": "system:serviceaccount:n:s"}, 'serviceaccounts "s" is forbidden: User "bob" cannot impersonate resource "serviceaccounts" in API group "" in the namespace "n"'),
    ],
)  # fmt: skip
async def test_what_is_not_is_forbidden(authorizer: Authorizer, headers: dict[str, str], text: str) -> None:
    with pytest.raises(Forbidden) as caught:
        impersonate(BOB, headers, authorizer)
    assert caught.value.message == text


async def test_a_group_needs_a_user(authorizer: Authorizer) -> None:
    with pytest.raises(BadRequest) as caught:
        impersonate(ADMIN, {"impersonate-group": "team"}, authorizer)
    assert caught.value.message == (
        'requested &user.DefaultInfo{Name:"", UID:"", Groups:[]string{"team"}, Extra:map[string][]string(nil)} without impersonating a user name'
    )
