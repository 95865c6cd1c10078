"""Every pod runs as an account."""

from __future__ import annotations

from typing import Any

import pytest

from edgek.model import kinds
from edgek.model.errors import Forbidden
from edgek.server.api.admission.service_account import TOKEN_PATH, ServiceAccount
from edgek.server.api.authz import Authorizer
from edgek.server.store.memory import MemoryBackend
from tests.server.api.admission.reviewing import named, review

CONTAINERS = [{"name": "c", "image": "i"}]


def account(name: str = "default", **members: Any) -> tuple[kinds.Kind, dict[str, Any]]:
    return kinds.SERVICE_ACCOUNT, named(name, "ns", **members)


@pytest.fixture
async def step() -> ServiceAccount:
    return ServiceAccount(Authorizer(MemoryBackend()))


def admitted(step: ServiceAccount, spec: dict[str, Any], *there: tuple[kinds.Kind, dict[str, Any]]) -> dict[str, Any]:
    under = review(kinds.POD, named("x", spec=spec), *there)
    step.admit(under)
    assert under.obj is not None
    result: dict[str, Any] = under.obj["spec"]
    return result


async def test_every_container_finds_a_token(step: ServiceAccount) -> None:
    spec = admitted(step, {"containers": CONTAINERS, "initContainers": [{"name": "i"}]}, account())
    assert (spec["serviceAccountName"], spec["serviceAccount"]) == ("default", "default")
    volume = spec["volumes"][0]
    assert volume["name"].startswith("kube-api-access-")
    assert [next(iter(source)) for source in volume["projected"]["sources"]] == ["serviceAccountToken", "configMap", "downwardAPI"]
    for container in (*spec["containers"], *spec["initContainers"]):
        assert container["volumeMounts"] == [{"name": volume["name"], "readOnly": True, "mountPath": TOKEN_PATH}]


async def test_a_container_with_its_own_mount_there_keeps_it(step: ServiceAccount) -> None:
    own = [{"name": "mine", "mountPath": TOKEN_PATH}]
    spec = admitted(step, {"containers": [{"name": "c", "volumeMounts": own}]}, account())
    assert spec["containers"][0]["volumeMounts"] == own
    assert "volumes" not in spec


async def test_a_pod_admitted_before_gets_no_second_volume(step: ServiceAccount) -> None:
    spec = admitted(step, {"containers": CONTAINERS}, account())
    assert admitted(step, spec, account()) == spec


@pytest.mark.parametrize(
    ("spec", "of_account", "mounted"),
    [({}, {}, True), ({"automountServiceAccountToken": False}, {}, False), ({}, {"automountServiceAccountToken": False}, False),
     ({"automountServiceAccountToken": True}, {"automountServiceAccountToken": False}, True)],
)  # fmt: skip
async def test_the_pods_word_on_tokens_counts_before_the_accounts(
    step: ServiceAccount, spec: dict[str, Any], of_account: dict[str, Any], mounted: bool
) -> None:
    assert ("volumes" in admitted(step, {"containers": CONTAINERS, **spec}, account(**of_account))) is mounted


async def test_pull_secrets_come_from_the_account_unless_the_pod_has_its_own(step: ServiceAccount) -> None:
    given = account("s", imagePullSecrets=[{"name": "p"}])
    assert admitted(step, {"serviceAccountName": "s", "containers": CONTAINERS}, given)["imagePullSecrets"] == [{"name": "p"}]
    own = [{"name": "mine"}]
    assert admitted(step, {"serviceAccountName": "s", "containers": CONTAINERS, "imagePullSecrets": own}, given)["imagePullSecrets"] == own


async def test_a_missing_account_is_named(step: ServiceAccount) -> None:
    with pytest.raises(Forbidden) as caught:
        admitted(step, {"serviceAccountName": "missing", "containers": CONTAINERS})
    assert caught.value.message == 'pods "x" is forbidden: error looking up service account ns/missing: serviceaccount "missing" not found'


async def test_a_mirror_pod_has_no_account_and_no_secrets(step: ServiceAccount) -> None:
    mirror = {"annotations": {"kubernetes.io/config.mirror": "abc"}}
    plain = review(kinds.POD, named("x", metadata=mirror, spec={"containers": CONTAINERS}))
    step.admit(plain)
    assert plain.obj is not None
    assert "serviceAccountName" not in plain.obj["spec"]
    for spec in ({"serviceAccountName": "s"}, {"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}):
        with pytest.raises(Forbidden, match="a mirror pod may not reference"):
            step.admit(review(kinds.POD, named("x", metadata=mirror, spec={"containers": CONTAINERS, **spec})))
