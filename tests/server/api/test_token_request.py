"""Tokens on request."""

from __future__ import annotations

from typing import Any

import pytest

from edgek.host import pki
from edgek.model import kinds
from edgek.model.errors import ApiError, Forbidden
from edgek.server.api.token_request import EXTENDED_S, create
from edgek.server.api.tokens import ServiceAccountTokens
from edgek.server.store.memory import MemoryBackend
from tests.server.api.written import put

ISSUER = "https://kubernetes.default.svc.cluster.local"


class Desk:
    def __init__(self, backend: MemoryBackend) -> None:
        self.backend = backend
        self.tokens = ServiceAccountTokens(backend, pki.make_signing_key(), issuer=ISSUER)

    def ask(self, name: str = "x", **spec: Any) -> dict[str, Any]:
        return create(self.tokens, self.backend, "ns", name, {"metadata": {}, "spec": spec})


@pytest.fixture
async def desk() -> Desk:
    backend = MemoryBackend()
    await put(backend, kinds.SERVICE_ACCOUNT, {"metadata": {"name": "x", "namespace": "ns", "uid": "sa-1"}})
    await put(backend, kinds.NODE, {"metadata": {"name": "n", "uid": "node-1"}})
    spec = {"serviceAccountName": "x", "nodeName": "n"}
    await put(backend, kinds.POD, {"metadata": {"name": "p", "namespace": "ns", "uid": "pod-1"}, "spec": spec})
    return Desk(backend)


async def test_a_token_comes_with_defaults_and_works(desk: Desk) -> None:
    answer = desk.ask()
    assert answer["spec"] == {"audiences": [ISSUER], "expirationSeconds": 3600, "boundObjectRef": None}
    assert answer["metadata"].keys() == {"name", "namespace", "uid", "creationTimestamp"}
    assert answer["metadata"]["uid"] == "sa-1"
    assert desk.tokens.verify(answer["status"]["token"]).user.uid == "sa-1"


async def test_an_unset_lifetime_is_an_hour(desk: Desk) -> None:
    assert desk.ask(expirationSeconds=None)["spec"]["expirationSeconds"] == 3600


async def test_a_refused_request_gets_no_token(desk: Desk) -> None:
    def refuse(request: dict[str, Any]) -> None:
        raise Forbidden(f"not with {request['spec']}")

    with pytest.raises(Forbidden, match="not with"):
        create(desk.tokens, desk.backend, "ns", "x", {"spec": {}}, refuse)


async def test_a_pods_token_names_its_node_and_outlives_its_word(desk: Desk) -> None:
    answer = desk.ask(expirationSeconds=3607, boundObjectRef={"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": "pod-1"})
    known = desk.tokens.verify(answer["status"]["token"])
    assert known.user.extra["authentication.kubernetes.io/node-name"] == ("n",)
    assert known.expires - pki.sane_now() == pytest.approx(EXTENDED_S, abs=5)


async def test_a_token_for_others_lives_as_long_as_it_says(desk: Desk) -> None:
    answer = desk.ask(audiences=["vault"], expirationSeconds=3607, boundObjectRef={"kind": "Pod", "apiVersion": "v1", "name": "p"})
    assert desk.tokens.verify(answer["status"]["token"]).expires - pki.sane_now() == pytest.approx(3607, abs=5)


@pytest.mark.parametrize(
    ("name", "spec", "code", "message"),
    [
        ("x", {"expirationSeconds": 10}, 422, 'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 10: may not specify a duration less than 10 minutes'),
        ("x", {"expirationSeconds": 1 << 33}, 422, 'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 8589934592: may not specify a duration larger than 2^32 seconds'),
        ("none", {}, 404, 'serviceaccounts "none" not found'),
        ("x", {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "none"}}, 404, 'pods "none" not found'),
        ("x", {"boundObjectRef": {"kind": "Deployment", "apiVersion": "apps/v1", "name": "none"}}, 400, "cannot bind token to object of type apps/v1, Kind=Deployment"),
        ("x", {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": "other"}}, 409, 'Operation cannot be fulfilled on pods "p": the UID in the bound object reference (other) does not match the UID in record. The object might have been deleted and then recreated'),
    ],
    ids=["too-short", "too-long", "no-account", "no-pod", "no-such-kind", "another-pod"],
)  # fmt: skip
async def test_what_cannot_be_given_is_refused_in_upstreams_words(desk: Desk, name: str, spec: dict[str, Any], code: int, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        desk.ask(name, **spec)
    assert (caught.value.code, caught.value.message) == (code, message)


async def test_a_pod_of_another_account_is_no_anchor(desk: Desk) -> None:
    await put(desk.backend, kinds.SERVICE_ACCOUNT, {"metadata": {"name": "y", "namespace": "ns"}})
    with pytest.raises(ApiError, match="different serviceaccount name"):
        desk.ask("y", boundObjectRef={"kind": "Pod", "apiVersion": "v1", "name": "p"})
