"""Deleting a namespace with all that is in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgek.model import errors, kinds, objects
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server.controllers.daemonset import DaemonSetController
from edgek.server.controllers.deployment import DeploymentController
from edgek.server.controllers.garbage import GarbageController
from edgek.server.controllers.job import JobController
from edgek.server.controllers.namespace import NamespaceController
from edgek.server.controllers.replicaset import ReplicaSetController
from tests.fakes.scene import Scene, pod_template, scene


async def going(cluster: Scene) -> None:
    await cluster.client.delete(kinds.NAMESPACE, "shop")
    await cluster.settle()


def keeping(kept: Kind) -> Callable[[str, Kind, Object], None]:
    """A server that cannot delete objects of this kind."""

    def refuse(verb: str, kind: Kind, obj: Object) -> None:
        if verb == "delete" and kind is kept:
            raise errors.InternalError("the disk is full")

    return refuse


def verdict(cluster: Scene, type_: str) -> tuple[str, str, str]:
    found = objects.condition(cluster.get(kinds.NAMESPACE, "shop"), type_)
    assert found is not None
    return found["status"], found["reason"], found["message"]


async def test_everything_in_it_goes_and_then_it_goes(autojump_clock: Any) -> None:
    async with scene(NamespaceController) as cluster:
        await cluster.create(kinds.NAMESPACE, {"metadata": {"name": "shop"}})
        await cluster.create(kinds.CONFIG_MAP, {"metadata": {"name": "settings"}}, "shop")
        await cluster.create(kinds.EVENT, {"metadata": {"name": "happened"}, "involvedObject": {"kind": "Pod", "namespace": "shop"}}, "shop")
        await cluster.create(kinds.POD, {**pod_template(), "metadata": {"name": "web"}}, "shop")
        await cluster.create(kinds.CONFIG_MAP, {"metadata": {"name": "elsewhere"}})
        await cluster.settle()
        await going(cluster)
        assert not cluster.exists(kinds.NAMESPACE, "shop")
        assert not cluster.exists(kinds.CONFIG_MAP, "settings", "shop")
        assert not cluster.exists(kinds.EVENT, "happened", "shop")
        assert cluster.pods("shop") == []
        assert cluster.exists(kinds.CONFIG_MAP, "elsewhere")


async def test_what_a_finalizer_holds_is_named_and_waited_for(autojump_clock: Any) -> None:
    async with scene(NamespaceController) as cluster:
        await cluster.create(kinds.NAMESPACE, {"metadata": {"name": "shop"}})
        await cluster.create(kinds.CONFIG_MAP, {"metadata": {"name": "held", "finalizers": ["my/hold"]}}, "shop")
        await going(cluster)
        assert cluster.get(kinds.NAMESPACE, "shop")["status"]["phase"] == "Terminating"
        assert verdict(cluster, "NamespaceContentRemaining") == (
            "True",
            "SomeResourcesRemain",
            "Some resources are remaining: configmaps. has 1 resource instances",
        )
        assert verdict(cluster, "NamespaceFinalizersRemaining") == (
            "True",
            "SomeFinalizersRemain",
            "Some content in the namespace has finalizers remaining: my/hold in 1 resource instances",
        )
        assert verdict(cluster, "NamespaceDeletionContentFailure")[:2] == ("False", "ContentDeleted")
        assert await cluster.writes_in(600) == []
        await cluster.change(kinds.CONFIG_MAP, "held", {"metadata": {"finalizers": None}}, "shop")
        await cluster.settle()
        assert not cluster.exists(kinds.NAMESPACE, "shop")


async def test_pods_go_first_and_what_they_run_under_stays_until_they_are_gone(autojump_clock: Any) -> None:
    async with scene(NamespaceController) as cluster:
        await cluster.create(kinds.NAMESPACE, {"metadata": {"name": "shop"}})
        await cluster.create(kinds.NETWORK_POLICY, {"metadata": {"name": "walls"}, "spec": {"podSelector": {}}}, "shop")
        await cluster.create(kinds.POD, {**pod_template(), "metadata": {"name": "web", "finalizers": ["my/hold"]}}, "shop")
        await going(cluster)
        assert objects.is_deleting(cluster.get(kinds.POD, "web", "shop"))
        assert not objects.is_deleting(cluster.get(kinds.NETWORK_POLICY, "walls", "shop"))
        assert verdict(cluster, "NamespaceContentRemaining")[2] == "Some resources are remaining: pods. has 1 resource instances"
        await cluster.change(kinds.POD, "web", {"metadata": {"finalizers": None}}, "shop")
        await cluster.settle()
        assert not cluster.exists(kinds.NETWORK_POLICY, "walls", "shop")
        assert not cluster.exists(kinds.NAMESPACE, "shop")


async def test_those_who_make_pods_do_not_hold_up_their_namespace(autojump_clock: Any) -> None:
    selected = {"selector": {"matchLabels": {"app": "web"}}, "template": pod_template()}
    workers = (JobController, DeploymentController, ReplicaSetController, DaemonSetController, GarbageController)
    async with scene(NamespaceController, *workers) as cluster:
        await cluster.create(kinds.NODE, {"metadata": {"name": "node-1"}, "spec": {}})
        await cluster.change(kinds.NODE, "node-1", {"spec": {"taints": None}})
        await cluster.create(kinds.NAMESPACE, {"metadata": {"name": "shop"}})
        await cluster.api.furnish("shop", account=True)
        await cluster.create(kinds.JOB, {"metadata": {"name": "count"}, "spec": {"template": pod_template(restartPolicy="Never")}}, "shop")
        await cluster.create(kinds.DEPLOYMENT, {"metadata": {"name": "web"}, "spec": {"replicas": 2, **selected}}, "shop")
        await cluster.create(kinds.DAEMON_SET, {"metadata": {"name": "agent"}, "spec": selected}, "shop")
        await cluster.settle()
        assert {pod["metadata"]["ownerReferences"][0]["kind"] for pod in cluster.pods("shop")} == {"Job", "ReplicaSet", "DaemonSet"}
        await going(cluster)
        assert cluster.pods("shop") == []
        assert not cluster.exists(kinds.NAMESPACE, "shop")


async def test_while_pods_cannot_be_deleted_nothing_else_is(autojump_clock: Any) -> None:
    async with scene(NamespaceController) as cluster:
        await cluster.create(kinds.NAMESPACE, {"metadata": {"name": "shop"}})
        await cluster.create(kinds.CONFIG_MAP, {"metadata": {"name": "settings"}}, "shop")
        await cluster.create(kinds.POD, {**pod_template(), "metadata": {"name": "web"}}, "shop")
        cluster.api.before_write = keeping(kinds.POD)
        await going(cluster)
        assert "the disk is full" in verdict(cluster, "NamespaceDeletionContentFailure")[2]
        assert not objects.is_deleting(cluster.get(kinds.CONFIG_MAP, "settings", "shop"))
        cluster.api.before_write = None
        await cluster.settle(60)
        assert not cluster.exists(kinds.NAMESPACE, "shop")


async def test_content_that_cannot_be_deleted_is_a_failure_that_is_tried_again(autojump_clock: Any) -> None:
    async with scene(NamespaceController) as cluster:
        await cluster.create(kinds.NAMESPACE, {"metadata": {"name": "shop"}})
        await cluster.create(kinds.SECRET, {"metadata": {"name": "key"}}, "shop")
        cluster.api.before_write = keeping(kinds.SECRET)
        await going(cluster)
        state, reason, message = verdict(cluster, "NamespaceDeletionContentFailure")
        assert (state, reason) == ("True", "ContentDeletionFailed")
        assert "the disk is full" in message
        cluster.api.before_write = None
        await cluster.settle(60)
        assert not cluster.exists(kinds.NAMESPACE, "shop")


async def test_custom_resources_go_too(autojump_clock: Any) -> None:
    crontab = Kind("example.com", "v1", "CronTab", "crontabs")
    definition = {
        "metadata": {"name": "crontabs.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"kind": "CronTab", "plural": "crontabs"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
    }
    async with scene(NamespaceController) as cluster:
        await cluster.create(kinds.CUSTOM_RESOURCE_DEFINITION, definition)
        cluster.api.serve(crontab)
        established = {"status": {"conditions": [{"type": "Established", "status": "True"}]}}
        await cluster.change(kinds.CUSTOM_RESOURCE_DEFINITION, "crontabs.example.com", established, subresource="status")
        await cluster.create(kinds.NAMESPACE, {"metadata": {"name": "shop"}})
        await cluster.create(crontab, {"apiVersion": "example.com/v1", "kind": "CronTab", "metadata": {"name": "nightly"}}, "shop")
        await going(cluster)
        assert not cluster.exists(crontab, "nightly", "shop")
        assert not cluster.exists(kinds.NAMESPACE, "shop")
