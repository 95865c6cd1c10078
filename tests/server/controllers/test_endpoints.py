"""The older shape of the addresses behind a Service."""

from __future__ import annotations

from typing import Any

from edgek.model import kinds, objects
from edgek.server.controllers.endpoints import EndpointsController
from tests.fakes.scene import scene
from tests.server.controllers.test_endpointslice import pod, service


async def test_ready_and_unready_pods_are_listed_apart(autojump_clock: Any) -> None:
    async with scene(EndpointsController) as cluster:
        await cluster.create(kinds.SERVICE, service())
        one, other = await pod(cluster, "one"), await pod(cluster, "other")
        await cluster.settle()
        await cluster.change(kinds.POD, "other", {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}, subresource="status")
        await cluster.settle()
        found = cluster.get(kinds.ENDPOINTS, "web")
        assert objects.labels(found) == {"team": "shop", "endpoints.kubernetes.io/managed-by": "endpoint-controller"}
        (subset,) = found["subsets"]
        assert subset["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
        assert [each["targetRef"]["uid"] for each in subset["addresses"]] == [objects.uid(one)]
        assert [each["targetRef"]["uid"] for each in subset["notReadyAddresses"]] == [objects.uid(other)]
        assert subset["addresses"][0]["nodeName"] == "node-1"
        assert await cluster.writes_in(600) == []


async def test_a_service_without_pods_has_endpoints_without_subsets(autojump_clock: Any) -> None:
    async with scene(EndpointsController) as cluster:
        await cluster.create(kinds.SERVICE, service(clusterIP="None"))
        await cluster.settle()
        found = cluster.get(kinds.ENDPOINTS, "web")
        assert "subsets" not in found
        assert objects.labels(found)["service.kubernetes.io/headless"] == ""


async def test_they_go_with_their_service_but_those_of_others_stay(autojump_clock: Any) -> None:
    async with scene(EndpointsController) as cluster:
        await cluster.create(kinds.SERVICE, service())
        await cluster.create(kinds.ENDPOINTS, {"metadata": {"name": "by-hand"}, "subsets": []})
        await cluster.settle()
        await cluster.client.delete(kinds.SERVICE, "web", "default")
        await cluster.settle()
        assert [objects.name(each) for each in cluster.api.all(kinds.ENDPOINTS)] == ["by-hand"]
