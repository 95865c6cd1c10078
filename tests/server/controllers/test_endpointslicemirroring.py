"""Hand-made Endpoints become EndpointSlices."""

from __future__ import annotations

from typing import Any

from edgek.model import kinds, objects
from edgek.server.controllers.endpointslicemirroring import EndpointSliceMirroringController
from tests.fakes.scene import Scene, scene

SERVICE = {"metadata": {"name": "outside"}, "spec": {"ports": [{"port": 80}]}}
SUBSETS = [
    {
        "addresses": [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}],
        "notReadyAddresses": [{"ip": "192.0.2.2"}],
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
    }
]


def seen(cluster: Scene) -> dict[str, dict[str, bool]]:
    found: dict[str, dict[str, bool]] = {}
    for slice_ in cluster.api.all(kinds.ENDPOINT_SLICE):
        members = {each["addresses"][0]: each["conditions"]["ready"] for each in slice_["endpoints"]}
        found.setdefault(slice_["addressType"], {}).update(members)
    return found


async def test_each_family_gets_a_slice_that_follows_the_endpoints(autojump_clock: Any) -> None:
    async with scene(EndpointSliceMirroringController) as cluster:
        await cluster.create(kinds.SERVICE, SERVICE)
        owner = await cluster.create(kinds.ENDPOINTS, {"metadata": {"name": "outside", "labels": {"team": "shop"}}, "subsets": SUBSETS})
        await cluster.settle()
        assert seen(cluster) == {"IPv4": {"192.0.2.1": True, "192.0.2.2": False}, "IPv6": {"2001:db8::1": True}}
        slice_ = cluster.api.all(kinds.ENDPOINT_SLICE)[0]
        assert objects.labels(slice_) == {
            "team": "shop",
            "kubernetes.io/service-name": "outside",
            "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
        }
        assert objects.owners(slice_) == [objects.controller_reference(owner, "v1", "Endpoints")]
        assert await cluster.writes_in(600) == []
        await cluster.change(kinds.ENDPOINTS, "outside", {"subsets": [{**SUBSETS[0], "addresses": [{"ip": "192.0.2.9"}]}]})
        await cluster.settle()
        assert seen(cluster) == {"IPv4": {"192.0.2.9": True, "192.0.2.2": False}}
        await cluster.client.delete(kinds.ENDPOINTS, "outside", "default")
        await cluster.settle()
        assert seen(cluster) == {}


async def test_endpoints_without_a_service_or_marked_to_be_left_are_not_mirrored(autojump_clock: Any) -> None:
    async with scene(EndpointSliceMirroringController) as cluster:
        await cluster.create(kinds.ENDPOINTS, {"metadata": {"name": "alone"}, "subsets": SUBSETS})
        await cluster.create(kinds.SERVICE, {**SERVICE, "metadata": {"name": "kubernetes"}})
        labels = {"endpointslice.kubernetes.io/skip-mirror": "true"}
        await cluster.create(kinds.ENDPOINTS, {"metadata": {"name": "kubernetes", "labels": labels}, "subsets": SUBSETS})
        await cluster.settle()
        assert seen(cluster) == {}
