"""EndpointSlices of Services that select pods."""

from __future__ import annotations

from typing import Any

from edgek.model import kinds, objects
from edgek.model.objects import Object
from edgek.server.controllers.endpointslice import EndpointSliceController
from tests.fakes.scene import Scene, pod_template, scene


def service(**spec: Any) -> Object:
    return {
        "metadata": {"name": "web", "labels": {"team": "shop"}},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}], **spec},
    }


async def pod(cluster: Scene, name: str, labels: dict[str, str] | None = None, **spec: Any) -> Object:
    template = pod_template(labels, **spec)
    return await cluster.create(kinds.POD, {**template, "metadata": {**template["metadata"], "name": name}})


def slices(cluster: Scene) -> list[Object]:
    return cluster.api.all(kinds.ENDPOINT_SLICE)


def targets(cluster: Scene) -> dict[str, dict[str, Any]]:
    return {each["targetRef"]["name"]: each for slice_ in slices(cluster) for each in slice_["endpoints"]}


async def test_a_service_without_pods_has_one_empty_slice(autojump_clock: Any) -> None:
    async with scene(EndpointSliceController) as cluster:
        owner = await cluster.create(kinds.SERVICE, service())
        await cluster.settle()
        (slice_,) = slices(cluster)
        assert not slice_["endpoints"]
        assert slice_["addressType"] == "IPv4"
        assert objects.labels(slice_) == {
            "team": "shop",
            "kubernetes.io/service-name": "web",
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        }
        assert objects.owners(slice_) == [objects.controller_reference(owner, "v1", "Service")]


async def test_a_ready_pod_is_an_endpoint_with_its_node_and_zone(autojump_clock: Any) -> None:
    async with scene(EndpointSliceController) as cluster:
        await cluster.create(kinds.NODE, {"metadata": {"name": "node-1", "labels": {"topology.kubernetes.io/zone": "attic"}}})
        await cluster.create(kinds.SERVICE, service())
        made = await pod(cluster, "one")
        await pod(cluster, "stranger", {"app": "other"})
        await cluster.settle()
        (slice_,) = slices(cluster)
        assert slice_["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
        address = cluster.get(kinds.POD, "one")["status"]["podIP"]
        assert slice_["endpoints"] == [
            {
                "addresses": [address],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "targetRef": {"kind": "Pod", "namespace": "default", "name": "one", "uid": objects.uid(made)},
                "nodeName": "node-1",
                "zone": "attic",
            }
        ]


async def test_a_pod_on_its_way_out_serves_but_is_not_ready_and_one_that_ended_is_gone(autojump_clock: Any) -> None:
    async with scene(EndpointSliceController) as cluster:
        await cluster.create(kinds.SERVICE, service())
        for name in ("leaving", "ended", "unready"):
            await pod(cluster, name)
        await cluster.settle()
        cluster.runner.stops = False
        await cluster.client.delete(kinds.POD, "leaving", "default")
        await cluster.change(kinds.POD, "ended", {"status": {"phase": "Failed"}}, subresource="status")
        await cluster.change(kinds.POD, "unready", {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}, subresource="status")
        await cluster.settle()
        assert set(targets(cluster)) == {"leaving", "unready"}
        assert targets(cluster)["leaving"]["conditions"] == {"ready": False, "serving": True, "terminating": True}
        assert targets(cluster)["unready"]["conditions"] == {"ready": False, "serving": False, "terminating": False}


async def test_a_headless_service_publishes_hostnames_and_unready_pods_on_request(autojump_clock: Any) -> None:
    async with scene(EndpointSliceController) as cluster:
        cluster.runner.outcome = lambda pod: "hang"
        await cluster.create(kinds.SERVICE, service(clusterIP="None", publishNotReadyAddresses=True, ports=[]))
        await pod(cluster, "db-0", hostname="db-0", subdomain="web")
        await cluster.settle()
        await cluster.change(kinds.POD, "db-0", {"status": {"podIP": "10.42.7.7"}}, subresource="status")
        await cluster.settle()
        (slice_,) = slices(cluster)
        assert objects.labels(slice_)["service.kubernetes.io/headless"] == ""
        assert slice_["endpoints"][0]["hostname"] == "db-0"
        assert slice_["endpoints"][0]["conditions"] == {"ready": True, "serving": False, "terminating": False}


async def test_pods_that_name_a_port_differently_get_slices_of_their_own(autojump_clock: Any) -> None:
    async with scene(EndpointSliceController) as cluster:
        await cluster.create(kinds.SERVICE, service(ports=[{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}]))
        for name, number in (("old", 8080), ("new", 9090)):
            containers = [{"name": "main", "image": "web:1", "ports": [{"name": "web", "containerPort": number, "protocol": "TCP"}]}]
            await pod(cluster, name, containers=containers)
        await cluster.settle()
        found = {each["ports"][0]["port"]: each["endpoints"][0]["targetRef"]["name"] for each in slices(cluster)}
        assert found == {8080: "old", 9090: "new"}


async def test_an_unchanged_cluster_is_left_alone_and_a_foreign_change_is_put_right(autojump_clock: Any) -> None:
    async with scene(EndpointSliceController) as cluster:
        await cluster.create(kinds.SERVICE, service())
        await pod(cluster, "one")
        await cluster.settle()
        assert await cluster.writes_in(600) == []
        (slice_,) = slices(cluster)
        await cluster.change(kinds.ENDPOINT_SLICE, objects.name(slice_), {"endpoints": []})
        await cluster.settle()
        assert set(targets(cluster)) == {"one"}
        await cluster.client.delete(kinds.ENDPOINT_SLICE, objects.name(slice_), "default")
        await cluster.settle()
        assert set(targets(cluster)) == {"one"}


async def test_slices_go_with_their_service(autojump_clock: Any) -> None:
    async with scene(EndpointSliceController) as cluster:
        await cluster.create(kinds.SERVICE, service())
        await cluster.settle()
        await cluster.client.delete(kinds.SERVICE, "web", "default")
        await cluster.settle()
        assert slices(cluster) == []


async def test_a_service_that_prefers_near_endpoints_says_for_whom_each_is(autojump_clock: Any) -> None:
    async with scene(EndpointSliceController) as cluster:
        await cluster.create(kinds.NODE, {"metadata": {"name": "node-1", "labels": {"topology.kubernetes.io/zone": "attic"}}})
        await cluster.create(kinds.SERVICE, service(trafficDistribution="PreferSameNode"))
        await pod(cluster, "one")
        await cluster.settle()
        assert targets(cluster)["one"]["hints"] == {"forZones": [{"name": "attic"}], "forNodes": [{"name": "node-1"}]}
        await cluster.change(kinds.SERVICE, "web", {"spec": {"trafficDistribution": "PreferSameZone"}})
        await cluster.settle()
        assert targets(cluster)["one"]["hints"] == {"forZones": [{"name": "attic"}]}
