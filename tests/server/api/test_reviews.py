"""Questions that are asked as objects."""

from __future__ import annotations

from typing import Any

import pytest

from edgek.host import pki
from edgek.model import kinds
from edgek.model.errors import BadRequest, Invalid
from edgek.model.kinds import Kind
from edgek.server.api.authn import Authenticator
from edgek.server.api.authz import Authorizer
from edgek.server.api.identity import User
from edgek.server.api.reviews import VIRTUAL, Question
from edgek.server.api.tokens import ServiceAccountTokens
from edgek.server.store.memory import MemoryBackend
from tests.server.api.written import put

ISSUER = "https://kubernetes.default.svc.cluster.local"
ALICE = User("alice", "u-alice", ("devs", "system:authenticated"))
POD_RULE = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
ALLOWED_REASON = 'RBAC: allowed by RoleBinding "b/ns" of Role "r" to User "alice"'


class Asker:
    def __init__(self, backend: MemoryBackend) -> None:
        tokens = ServiceAccountTokens(backend, pki.make_signing_key(), issuer=ISSUER)
        self.authenticator = Authenticator(tokens=tokens, static_tokens={"alice-token": ALICE})
        self.authorizer = Authorizer(backend)

    def ask(self, kind: Kind, spec: dict[str, Any] | None = None, user: User = ALICE) -> dict[str, Any]:
        obj: dict[str, Any] = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {}}
        if spec is not None:
            obj["spec"] = spec
        return VIRTUAL[kind.resource](Question(user, "ns" if kind.namespaced else "", obj, self.authenticator, self.authorizer))


@pytest.fixture
async def asker() -> Asker:
    backend = MemoryBackend()
    urls = {"nonResourceURLs": ["/healthz"], "verbs": ["get"]}
    await put(backend, kinds.ROLE, {"metadata": {"name": "r", "namespace": "ns"}, "rules": [POD_RULE]})
    await put(backend, kinds.CLUSTER_ROLE, {"metadata": {"name": "u"}, "rules": [urls]})
    to_alice = [{"kind": "User", "name": "alice"}]
    await put(
        backend, kinds.ROLE_BINDING, {"metadata": {"name": "b", "namespace": "ns"}, "roleRef": {"kind": "Role", "name": "r"}, "subjects": to_alice}
    )
    await put(backend, kinds.CLUSTER_ROLE_BINDING, {"metadata": {"name": "u"}, "roleRef": {"kind": "ClusterRole", "name": "u"}, "subjects": to_alice})
    return Asker(backend)


async def test_every_question_kind_of_the_table_is_answered() -> None:
    asked = {kind.resource for kind in kinds.KINDS if kind.group in ("authentication.k8s.io", "authorization.k8s.io")}
    assert set(VIRTUAL) == asked


async def test_may_alice(asker: Asker) -> None:
    spec = {"user": "alice", "resourceAttributes": {"namespace": "ns", "verb": "get", "resource": "pods"}}
    answer = asker.ask(kinds.SUBJECT_ACCESS_REVIEW, spec, User("admin"))
    assert answer["status"] == {"allowed": True, "reason": ALLOWED_REASON}
    assert answer["spec"] == spec
    assert asker.ask(kinds.LOCAL_SUBJECT_ACCESS_REVIEW, spec)["metadata"] == {"namespace": "ns"}


async def test_may_i(asker: Asker) -> None:
    spec: dict[str, Any] = {"resourceAttributes": {"namespace": "ns", "verb": "get", "resource": "pods"}}
    assert asker.ask(kinds.SELF_SUBJECT_ACCESS_REVIEW, spec)["status"] == {"allowed": True, "reason": ALLOWED_REASON}
    assert asker.ask(kinds.SELF_SUBJECT_ACCESS_REVIEW, spec, User("bob"))["status"] == {"allowed": False}


async def test_a_path_is_asked_for_by_itself(asker: Asker) -> None:
    allowed = [
        asker.ask(kinds.SELF_SUBJECT_ACCESS_REVIEW, {"nonResourceAttributes": {"path": p, "verb": "get"}})["status"]["allowed"]
        for p in ("/healthz", "/x")
    ]
    assert allowed == [True, False]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"user": "a"}, '.authorization.k8s.io "" is invalid: spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified'),
        ({"resourceAttributes": {"verb": "get"}}, '.authorization.k8s.io "" is invalid: spec.user: Invalid value: "": at least one of user or group must be specified'),
    ],
)  # fmt: skip
async def test_a_question_must_be_whole(asker: Asker, spec: dict[str, Any], message: str) -> None:
    with pytest.raises(Invalid) as caught:
        asker.ask(kinds.SUBJECT_ACCESS_REVIEW, spec)
    assert caught.value.message == message
    assert caught.value.details()["group"] == "authorization.k8s.io"
    assert "kind" not in caught.value.details()


async def test_what_may_i_do_here(asker: Asker) -> None:
    answer = asker.ask(kinds.SELF_SUBJECT_RULES_REVIEW, {"namespace": "ns"})
    assert answer["spec"] == {}
    assert answer["status"] == {
        "resourceRules": [POD_RULE],
        "nonResourceRules": [{"nonResourceURLs": ["/healthz"], "verbs": ["get"]}],
        "incomplete": False,
    }
    with pytest.raises(BadRequest, match="no namespace on request"):
        asker.ask(kinds.SELF_SUBJECT_RULES_REVIEW, {})


async def test_who_am_i(asker: Asker) -> None:
    answer = asker.ask(kinds.SELF_SUBJECT_REVIEW, user=User("carol", "77", ("g",), {"scopes": ("a",)}))
    assert answer["status"] == {"userInfo": {"username": "carol", "uid": "77", "groups": ["g"], "extra": {"scopes": ["a"]}}}
    assert answer["metadata"]["creationTimestamp"]


async def test_whose_token_is_this(asker: Asker) -> None:
    good = asker.ask(kinds.TOKEN_REVIEW, {"token": "alice-token"})["status"]
    assert good["authenticated"] is True
    assert good["audiences"] == [ISSUER]
    assert good["user"]["username"] == "alice"
    assert asker.ask(kinds.TOKEN_REVIEW, {"token": "nope"})["status"] == {"error": "invalid bearer token", "user": {}}
    with pytest.raises(BadRequest, match="token is required for TokenReview"):
        asker.ask(kinds.TOKEN_REVIEW, {})
