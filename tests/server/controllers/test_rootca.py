"""The ConfigMap by which pods trust the API server."""

from __future__ import annotations

from typing import Any

from edgek.client.reconcile import Settings
from edgek.model import kinds
from edgek.server.controllers.rootca import RootCaController
from tests.fakes.scene import scene

PEM = "-----BEGIN CERTIFICATE-----\n"


async def test_the_certificate_is_published_and_put_right_again(autojump_clock: Any) -> None:
    async with scene(RootCaController, settings=Settings(root_ca=PEM)) as cluster:
        await cluster.create(kinds.NAMESPACE, {"metadata": {"name": "shop"}})
        await cluster.settle()
        published = cluster.get(kinds.CONFIG_MAP, "kube-root-ca.crt", "shop")
        assert published["data"] == {"ca.crt": PEM}
        assert published["metadata"]["annotations"]["kubernetes.io/description"].startswith("Contains a CA bundle")
        await cluster.change(kinds.CONFIG_MAP, "kube-root-ca.crt", {"data": {"ca.crt": "forged", "more": "x"}}, "shop")
        await cluster.settle()
        assert cluster.get(kinds.CONFIG_MAP, "kube-root-ca.crt", "shop")["data"] == {"ca.crt": PEM}
        await cluster.client.delete(kinds.CONFIG_MAP, "kube-root-ca.crt", "shop")
        await cluster.settle()
        assert cluster.exists(kinds.CONFIG_MAP, "kube-root-ca.crt", "shop")
        assert await cluster.writes_in(600) == []
