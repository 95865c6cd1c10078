"""Every controller has the rights that its work takes: a small cluster lives through a busy day, and nobody is refused anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from edgek.cli.token import bootstrap_secret
from edgek.client import reconcile
from edgek.client.client import Client
from edgek.client.events import Recorder
from edgek.client.informer import Informers
from edgek.client.reconcile import Cluster, Settings
from edgek.client.transport import Request, Response, StreamResponse, Transport
from edgek.host import wallclock
from edgek.model import kinds, objects
from edgek.server.api import bootstrap, default_objects
from edgek.server.api.identity import AUTHENTICATED_GROUP, User
from edgek.server.controllers import CONTROLLERS, user_of
from tests.fakes.keeper import KeeperNode
from tests.fakes.nodes import PodRunner
from tests.fakes.realapi import RealApi
from tests.fakes.scene import EPOCH, Scene, pod_template
from tests.server.controllers.test_daemonset import daemon_set
from tests.server.controllers.test_deployment import deployment, image
from tests.server.controllers.test_disruption import budget
from tests.server.controllers.test_endpointslice import service
from tests.server.controllers.test_endpointslicemirroring import SERVICE, SUBSETS
from tests.server.controllers.test_ephemeralvolume import TEMPLATE
from tests.server.controllers.test_job import job
from tests.server.controllers.test_nodelifecycle import add_node, keep_alive, say_ready
from tests.server.controllers.test_volumebinding import claim, volume

ACCOUNTS = ("system:serviceaccounts", "system:serviceaccounts:kube-system", AUTHENTICATED_GROUP)


@attrs.frozen
class Overheard:
    """A Transport that keeps what was refused for want of rights."""

    below: Transport
    who: str
    refused: list[str]

    async def request(self, request: Request) -> Response:
        answer = await self.below.request(request)
        if answer.status == 403 and b"NamespaceTerminating" not in answer.body:
            self.refused.append(f"{self.who}: {request.method} {request.path}")
        return answer

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[StreamResponse]:
        async with self.below.stream(request) as answer:
            if answer.status == 403:
                self.refused.append(f"{self.who}: WATCH {request.path}")
            yield answer


@asynccontextmanager
async def whole_control_plane(refused: list[str], folder: Path) -> AsyncIterator[Scene]:
    """With a node that keeps volumes below ``folder``, as itself."""
    former = wallclock.use(lambda: EPOCH + trio.current_time())
    api = RealApi()
    client = Client(api)
    settings = default_objects.Settings(
        service_cidr="10.43.0.0/16", advertise_address="192.0.2.1", port=6443, client_ca=b"", front_proxy_ca=b"", cluster_dns="", local_storage=True
    )
    await bootstrap.ensure_defaults(client, settings, agents=True)
    shared = Client(Overheard(api.transport(User("system:kube-controller-manager", groups=(AUTHENTICATED_GROUP,))), "shared", refused))
    informers, recorder = Informers(shared), Recorder(shared, "controllermanager")
    runner = PodRunner(Cluster(client, Informers(client), recorder), [])
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(recorder.run)
            for make in CONTROLLERS:
                transport = Overheard(api.transport(User(user_of(make), groups=ACCOUNTS)), make.name, refused)
                cluster = Cluster(Client(transport), informers, recorder, Settings(root_ca="PEM", finished_pods_most=3))
                nursery.start_soon(reconcile.run, make(cluster))
            nursery.start_soon(reconcile.run, runner)
            node = Overheard(api.transport(User("system:node:node-1", groups=("system:nodes", AUTHENTICATED_GROUP))), "node-1", refused)
            await nursery.start(KeeperNode(Client(node), "node-1", folder).run)
            await nursery.start(informers.run)
            await nursery.start(runner.cluster.informers.run)
            yield Scene(api, client, runner)
            nursery.cancel_scope.cancel()
    finally:
        wallclock.use(former)


async def test_nobody_is_refused_what_the_work_takes(tmp_path: Path, autojump_clock: Any) -> None:
    refused: list[str] = []
    async with whole_control_plane(refused, tmp_path) as cluster:
        await cluster.settle()
        for name in ("node-1", "node-2"):
            await cluster.create(kinds.NODE, {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}, "spec": {}})
            await say_ready(cluster, name, "True")
        cluster.runner.nodes.extend(["node-1", "node-2"])
        await cluster.create(kinds.DEPLOYMENT, deployment(3))
        await cluster.create(kinds.POD_DISRUPTION_BUDGET, budget(maxUnavailable=1))
        await cluster.create(kinds.SERVICE, service())
        await cluster.create(kinds.SERVICE, SERVICE)
        await cluster.create(kinds.ENDPOINTS, {"metadata": {"name": "outside"}, "subsets": SUBSETS})
        await cluster.create(kinds.DAEMON_SET, daemon_set())
        await cluster.create(kinds.JOB, job(ttlSecondsAfterFinished=20, completions=8, parallelism=2))
        old = {"replicas": 1, "selector": {"app": "old"}, "template": pod_template({"app": "old"})}
        await cluster.create(kinds.REPLICATION_CONTROLLER, {"metadata": {"name": "old"}, "spec": old})
        await local_volume(cluster)
        await cluster.create(kinds.SECRET, bootstrap_secret("abcdef.0123456789abcdef", 5, ""), "kube-system")
        volumes = [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": TEMPLATE}}]
        await cluster.create(kinds.POD, {**pod_template({"app": "old"}, volumes=volumes), "metadata": {"name": "adopted", "labels": {"app": "old"}}})
        await cluster.settle()
        assert len(cluster.pods()) == 9
        await change_everything(cluster)
        await lose_a_node(cluster)
        await delete_everything(cluster)
        assert refused == []
        assert cluster.api.all(kinds.REPLICA_SET) == []
        assert not cluster.exists(kinds.SECRET, "bootstrap-token-abcdef", "kube-system")
        assert not cluster.exists(kinds.NAMESPACE, "shop")


async def test_a_cluster_at_rest_is_left_alone(tmp_path: Path, autojump_clock: Any) -> None:
    async with whole_control_plane([], tmp_path) as cluster, trio.open_nursery() as nursery:
        await add_node(cluster, "node-1")
        cluster.runner.nodes.append("node-1")
        nursery.start_soon(keep_alive, cluster, "node-1")
        await cluster.create(kinds.DEPLOYMENT, deployment(3))
        await cluster.create(kinds.POD_DISRUPTION_BUDGET, budget(maxUnavailable=1))
        await cluster.create(kinds.SERVICE, service())
        await cluster.create(kinds.DAEMON_SET, daemon_set())
        await cluster.create(kinds.JOB, job())
        await local_volume(cluster)
        await cluster.settle(10)
        written = await cluster.writes_in(2000)
        assert {resource for _, resource, _ in written} == {"leases.coordination.k8s.io"}
        nursery.cancel_scope.cancel()


async def local_volume(cluster: Scene) -> None:
    wanted = claim(storageClassName="local-path")
    wanted["metadata"]["annotations"] = {"volume.kubernetes.io/selected-node": "node-1"}
    await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, wanted)
    await cluster.settle()
    assert cluster.get(kinds.PERSISTENT_VOLUME_CLAIM, "data")["status"]["phase"] == "Bound"
    await cluster.change(kinds.PERSISTENT_VOLUME_CLAIM, "data", {"spec": {"resources": {"requests": {"storage": "2Gi"}}}})
    await cluster.settle()
    assert cluster.get(kinds.PERSISTENT_VOLUME_CLAIM, "data")["status"]["capacity"] == {"storage": "2Gi"}
    await cluster.create(kinds.PERSISTENT_VOLUME, volume("disk", hostPath=None, csi={"driver": "disks.example", "volumeHandle": "1"}))
    await cluster.create(kinds.PERSISTENT_VOLUME_CLAIM, claim("on-disk", volumeName="disk"))
    use = [{"name": "v", "persistentVolumeClaim": {"claimName": "on-disk"}}]
    await cluster.create(kinds.POD, {**pod_template({"app": "old"}, volumes=use), "metadata": {"name": "on-disk"}})
    await cluster.settle()
    (attachment,) = cluster.api.all(kinds.VOLUME_ATTACHMENT)
    await cluster.change(kinds.VOLUME_ATTACHMENT, objects.name(attachment), {"status": {"attached": True}}, subresource="status")
    await cluster.settle()


async def change_everything(cluster: Scene) -> None:
    await cluster.change(kinds.DEPLOYMENT, "web", image("web:2"))
    await cluster.change(kinds.DAEMON_SET, "agent", image("agent:2"))
    cluster.runner.outcome = lambda pod: "succeed" if "job" in objects.labels(pod) else "run"
    for pod in cluster.pods():
        if "job" in objects.labels(pod):
            await cluster.change(kinds.POD, objects.name(pod), {"status": {"phase": "Succeeded"}}, subresource="status")
    await cluster.settle()
    (lonely,) = [pod for pod in cluster.pods() if "app" in objects.labels(pod)][:1]
    await cluster.change(kinds.POD, objects.name(lonely), {"metadata": {"labels": {"app": "other"}}})
    await cluster.settle(60)
    assert not cluster.exists(kinds.JOB, "work")


async def lose_a_node(cluster: Scene) -> None:
    cluster.runner.nodes.remove("node-2")
    for second in range(0, 500, 40):
        await say_ready(cluster, "node-1", "True" if second else "False")
        await cluster.settle(40)
    await cluster.client.delete(kinds.NODE, "node-2")
    await cluster.settle(60)
    assert {pod["spec"]["nodeName"] for pod in cluster.pods()} == {"node-1"}


async def delete_everything(cluster: Scene) -> None:
    await cluster.client.delete(kinds.DEPLOYMENT, "web", "default", propagation="Foreground")
    await cluster.client.delete(kinds.DAEMON_SET, "agent", "default", propagation="Orphan")
    await cluster.client.delete(kinds.PERSISTENT_VOLUME_CLAIM, "data", "default")
    await cluster.create(kinds.NAMESPACE, {"metadata": {"name": "shop"}})
    await cluster.create(kinds.DEPLOYMENT, deployment(1), "shop")
    await cluster.settle()
    await cluster.client.delete(kinds.NAMESPACE, "shop")
    await cluster.settle(60)
