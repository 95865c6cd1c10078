"""Tokens in Secrets."""

from __future__ import annotations

import base64
from typing import Any

from edgek.client.reconcile import Settings
from edgek.model import kinds
from edgek.server.controllers.secrettoken import SecretTokenController
from tests.fakes.scene import Scene, scene

SECRET = {"metadata": {"name": "t", "annotations": {"kubernetes.io/service-account.name": "robot"}}, "type": "kubernetes.io/service-account-token"}


async def furnished(cluster: Scene) -> None:
    await cluster.create(kinds.SERVICE_ACCOUNT, {"metadata": {"name": "robot"}})
    await cluster.create(kinds.SECRET, SECRET)
    await cluster.settle()


async def test_a_secret_gets_a_token_of_the_account_it_names(autojump_clock: Any) -> None:
    async with scene(SecretTokenController, settings=Settings(root_ca="PEM")) as cluster:
        await furnished(cluster)
        found = cluster.get(kinds.SECRET, "t")
        held = {name: base64.b64decode(text).decode() for name, text in found["data"].items()}
        assert (held["ca.crt"], held["namespace"]) == ("PEM", "default")
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": held["token"]}}
        answer = await cluster.client.create(kinds.TOKEN_REVIEW, review)
        assert answer["status"]["user"]["username"] == "system:serviceaccount:default:robot"
        assert found["metadata"]["annotations"]["kubernetes.io/service-account.uid"] == cluster.get(kinds.SERVICE_ACCOUNT, "robot")["metadata"]["uid"]
        assert await cluster.writes_in(600) == []


async def test_the_secret_goes_with_its_account(autojump_clock: Any) -> None:
    async with scene(SecretTokenController) as cluster:
        await furnished(cluster)
        await cluster.client.delete(kinds.SERVICE_ACCOUNT, "robot", "default")
        await cluster.settle()
        assert not cluster.exists(kinds.SECRET, "t")


async def test_deleting_the_secret_takes_the_token_back(autojump_clock: Any) -> None:
    async with scene(SecretTokenController) as cluster:
        await furnished(cluster)
        token = base64.b64decode(cluster.get(kinds.SECRET, "t")["data"]["token"]).decode()
        await cluster.client.delete(kinds.SECRET, "t", "default")
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
        assert "authenticated" not in (await cluster.client.create(kinds.TOKEN_REVIEW, review))["status"]
