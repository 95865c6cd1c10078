"""The whole way of a request, for those whose rights are decided here: nodes, service accounts, anybody."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio

from edgek.client.client import Client
from edgek.client.transport import Request
from edgek.host import pki
from edgek.model import errors, kinds
from edgek.server.api.assembly import assemble
from edgek.server.api.authn import Authenticator
from edgek.server.api.authz import Authorizer
from edgek.server.api.bootstrap import USER, ensure_defaults, keep_defaults
from edgek.server.api.default_objects import Settings
from edgek.server.api.identity import Attributes, User
from edgek.server.api.local import LocalTransport
from edgek.server.api.tokens import ServiceAccountTokens
from edgek.server.controllers import CONTROLLERS, user_of
from edgek.server.store.memory import MemoryBackend

ISSUER = "https://kubernetes.default.svc.cluster.local"
SETTINGS = Settings("10.43.0.0/16", "192.0.2.7", 6443, b"client-ca", b"proxy-ca", cluster_dns="10.43.0.10", local_storage=True)
NODE = User("system:node:n1", groups=("system:nodes", "system:authenticated"))
SCHEDULER = User("system:kube-scheduler", groups=("system:authenticated",))
POD = {"metadata": {"name": "p"}, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i", "envFrom": [{"secretRef": {"name": "s"}}]}]}}


class Cluster:
    def __init__(self) -> None:
        self.backend = MemoryBackend()
        self.tokens = ServiceAccountTokens(self.backend, pki.make_signing_key(), issuer=ISSUER)
        self.authenticator = Authenticator(tokens=self.tokens)
        self.authorizer = Authorizer(self.backend)
        self.api = assemble(self.backend, authenticator=self.authenticator, authorizer=self.authorizer, tokens=self.tokens)
        self.admin = self.client(USER)

    def client(self, user: User) -> Client:
        return Client(LocalTransport(self.api, user))


@pytest.fixture
async def cluster() -> Cluster:
    cluster = Cluster()
    await ensure_defaults(cluster.admin, SETTINGS, agents=True)
    await cluster.admin.create(kinds.SERVICE_ACCOUNT, {"metadata": {"name": "default"}}, "default")
    return cluster


async def test_the_second_start_of_a_real_server_writes_nothing(cluster: Cluster) -> None:
    before = cluster.backend.revision
    assert await ensure_defaults(cluster.admin, SETTINGS, agents=True) == 0
    assert cluster.backend.revision == before + 0


async def test_what_leads_pods_to_the_api_is_made_again_when_somebody_deletes_or_changes_it(cluster: Cluster) -> None:
    before = await cluster.admin.get(kinds.ENDPOINT_SLICE, "kubernetes", "default")
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(keep_defaults, cluster.admin, SETTINGS)
            await cluster.admin.delete(kinds.SERVICE, "kubernetes", "default")
            while not any(o["metadata"]["name"] == "kubernetes" for o in (await cluster.admin.list(kinds.SERVICE, "default")).items):
                await trio.lowlevel.checkpoint()
            await cluster.admin.update(kinds.ENDPOINT_SLICE, {**before, "endpoints": []})
            while (await cluster.admin.get(kinds.ENDPOINT_SLICE, "kubernetes", "default"))["endpoints"] != before["endpoints"]:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()


async def test_what_says_that_our_volumes_need_no_attaching_is_put_back_and_what_an_operator_changed_is_kept(cluster: Cluster) -> None:
    name, kind = "hostpath.edgek.io", kinds.CSI_DRIVER

    async def attached_and_policy() -> tuple[Any, Any]:
        found = [each for each in (await cluster.admin.list(kind)).items if each["metadata"]["name"] == name]
        return (found[0]["spec"]["attachRequired"], found[0]["spec"]["fsGroupPolicy"]) if found else (None, None)

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(keep_defaults, cluster.admin, SETTINGS)
            await cluster.admin.patch(kind, name, {"spec": {"fsGroupPolicy": "None"}})
            await cluster.admin.delete(kinds.SERVICE, "kubernetes", "default")  # a reason to look at everything
            while not any(each["metadata"]["name"] == "kubernetes" for each in (await cluster.admin.list(kinds.SERVICE, "default")).items):
                await trio.lowlevel.checkpoint()
            assert await attached_and_policy() == (False, "None")
            await cluster.admin.delete(kind, name)
            while await attached_and_policy() != (False, "File"):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        await cluster.admin.delete(kind, name)
        await cluster.admin.create(kind, {"metadata": {"name": name}, "spec": {"fsGroupPolicy": "None"}})
        assert await attached_and_policy() == (True, "None")
        await ensure_defaults(cluster.admin, SETTINGS, agents=True)
        assert await attached_and_policy() == (False, "None")


async def test_the_dns_service_holds_its_address(cluster: Cluster) -> None:
    service = await cluster.admin.get(kinds.SERVICE, "kube-dns", "kube-system")
    assert service["spec"]["clusterIP"] == "10.43.0.10"


async def test_a_node_can_do_its_work(cluster: Cluster) -> None:
    node = cluster.client(NODE)
    made = await node.create(kinds.NODE, {"metadata": {"name": "n1", "labels": {"kubernetes.io/hostname": "n1"}}})
    assert made["spec"]["taints"] == [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    await node.patch(kinds.NODE, "n1", ready, subresource="status")
    await node.create(kinds.LEASE, {"metadata": {"name": "n1"}, "spec": {"holderIdentity": "n1"}}, "kube-node-lease")
    for kind in (kinds.NODE, kinds.SERVICE, kinds.ENDPOINT_SLICE, kinds.NAMESPACE):
        await node.list(kind)
    await cluster.admin.create(kinds.SECRET, {"metadata": {"name": "s"}}, "default")
    pod = await cluster.admin.create(kinds.POD, POD, "default")
    assert len((await node.list(kinds.POD, fields="spec.nodeName=n1")).items) == 1
    assert (await node.get(kinds.SECRET, "s", "default"))["metadata"]["name"] == "s"
    assert len((await node.list(kinds.SECRET, "default", fields="metadata.name=s")).items) == 1
    await node.patch(kinds.POD, "p", {"status": {"phase": "Running"}}, "default", subresource="status")
    bound = {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": pod["metadata"]["uid"]}
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"boundObjectRef": bound, "expirationSeconds": 3607}}
    token = await node.create(kinds.SERVICE_ACCOUNT, request, "default", name="default", subresource="token")
    user = cluster.authenticator.authenticate({"authorization": f"Bearer {token['status']['token']}"})
    assert user is not None
    assert user.name == "system:serviceaccount:default:default"
    await node.delete(kinds.POD, "p", "default", grace_s=0)
    with pytest.raises(errors.Unauthorized):
        cluster.authenticator.authenticate({"authorization": f"Bearer {token['status']['token']}"})


async def test_a_node_cannot_do_more(cluster: Cluster) -> None:
    node = cluster.client(NODE)
    await cluster.admin.create(kinds.SECRET, {"metadata": {"name": "s"}}, "default")
    await cluster.admin.create(kinds.NODE, {"metadata": {"name": "n2"}})
    await cluster.admin.create(kinds.POD, {**POD, "spec": {**POD["spec"], "nodeName": "n2"}}, "default")  # type: ignore[dict-item]
    unbound: dict[str, Any] = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    refused = [
        lambda: node.get(kinds.SECRET, "s", "default"),
        lambda: node.list(kinds.SECRET),
        lambda: node.list(kinds.POD),
        lambda: node.patch(kinds.NODE, "n2", {"metadata": {"labels": {"a": "b"}}}),
        lambda: node.patch(kinds.POD, "p", {"status": {"phase": "Failed"}}, "default", subresource="status"),
        lambda: node.delete(kinds.POD, "p", "default"),
        lambda: node.create(kinds.SERVICE_ACCOUNT, unbound, "default", name="default", subresource="token"),
        lambda: node.create(kinds.LEASE, {"metadata": {"name": "n2"}}, "kube-node-lease"),
        lambda: node.create(
            kinds.POD, {"metadata": {"name": "q"}, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}}, "default"
        ),
    ]
    for attempt in refused:
        with pytest.raises(errors.Forbidden):
            await attempt()


async def test_a_node_gets_a_token_only_for_its_pod(cluster: Cluster) -> None:
    node = cluster.client(NODE)
    await cluster.admin.create(kinds.SECRET, {"metadata": {"name": "s"}}, "default")
    await cluster.admin.create(kinds.POD, POD, "default")
    unbound: dict[str, Any] = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    with pytest.raises(errors.Forbidden, match="not bound to a pod"):
        await node.create(kinds.SERVICE_ACCOUNT, unbound, "default", name="default", subresource="token")


async def test_without_credentials_nothing_is_answered_but_401(cluster: Cluster) -> None:
    from edgek.server.api.http import Peer

    answer = await cluster.api.handle(Request("GET", "/api/v1/pods"), Peer("", None))
    assert getattr(answer, "status", None) == 401


async def test_who_may_only_look_cannot_run_a_command_by_websocket(cluster: Cluster) -> None:
    rules = [{"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get"]}]
    await cluster.admin.create(kinds.ROLE, {"metadata": {"name": "r"}, "rules": rules}, "default")
    role_ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
    subjects = [{"kind": "User", "name": "alice", "apiGroup": "rbac.authorization.k8s.io"}]
    await cluster.admin.create(kinds.ROLE_BINDING, {"metadata": {"name": "b"}, "roleRef": role_ref, "subjects": subjects}, "default")
    answer = await cluster.api.handle_as(Request("GET", "/api/v1/namespaces/default/pods/p/exec"), User("alice"))
    assert getattr(answer, "status", None) == 403
    assert b'cannot create resource \\"pods/exec\\"' in getattr(answer, "body", b"")


async def test_the_scheduler_can_do_its_work_with_its_own_role(cluster: Cluster) -> None:
    scheduler = cluster.client(SCHEDULER)
    for kind in (kinds.NODE, kinds.POD, kinds.PERSISTENT_VOLUME, kinds.PERSISTENT_VOLUME_CLAIM, kinds.STORAGE_CLASS, kinds.CSI_NODE, kinds.NAMESPACE):
        await scheduler.list(kind)
    await cluster.admin.create(kinds.POD, {**POD, "spec": {"containers": [{"name": "c", "image": "i"}]}}, "default")  # type: ignore[dict-item]
    waiting = {"status": {"conditions": [{"type": "PodScheduled", "status": "False"}]}}
    await scheduler.patch(kinds.POD, "p", waiting, "default", subresource="status")
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}}
    await scheduler.create(kinds.POD, binding, "default", name="p", subresource="binding")
    assert (await cluster.admin.get(kinds.POD, "p", "default"))["spec"]["nodeName"] == "n1"
    await scheduler.create(kinds.EVENT, {"metadata": {"name": "e"}, "involvedObject": {"namespace": "default"}}, "default")
    with pytest.raises(errors.Forbidden):
        await scheduler.list(kinds.SECRET)


@pytest.mark.parametrize(
    ("controller", "verb", "group", "resource", "subresource"),
    [
        ("resourcequota", "list", "apps", "deployments", ""),
        ("resourcequota", "update", "", "resourcequotas", "status"),
        ("clusterrole-aggregation", "update", "rbac.authorization.k8s.io", "clusterroles", ""),
        ("clusterrole-aggregation", "escalate", "rbac.authorization.k8s.io", "clusterroles", ""),
        ("secrettoken", "update", "", "secrets", ""),
        ("secrettoken", "delete", "", "secrets", ""),
        ("secrettoken", "get", "", "serviceaccounts", ""),
        ("secrettoken", "create", "", "serviceaccounts", "token"),
    ],
)
async def test_a_controller_may_do_its_work_under_its_own_account(
    cluster: Cluster, controller: str, verb: str, group: str, resource: str, subresource: str
) -> None:
    acting = next(user_of(each) for each in CONTROLLERS if each.name == controller)
    user = User(acting, groups=("system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"))
    asked = Attributes(user, verb, group=group, version="v1", resource=resource, subresource=subresource, namespace="default")
    assert cluster.authorizer.authorize(asked).allowed
    assert not cluster.authorizer.authorize(attrs.evolve(asked, verb="create", resource="pods", group="", subresource="exec")).allowed
