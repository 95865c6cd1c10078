"""What a cluster holds from the start."""

from __future__ import annotations

import copy
from typing import Any

import attrs
import orjson
import pytest

from edgek.client.client import Client
from edgek.client.transport import Request, Response
from edgek.model import kinds, objects
from edgek.model.kinds import Kind
from edgek.server.api import default_objects, default_roles
from edgek.server.api.bootstrap import ensure_defaults, plan
from edgek.server.api.default_objects import Default, Settings, contains, merged
from tests.fakes.realapi import RealApi

SETTINGS = Settings("10.43.0.0/16", "192.0.2.7", 6443, b"client-ca", b"proxy-ca", cluster_dns="10.43.0.10", local_storage=True)


def everything() -> list[Default]:
    return [*default_objects.namespaces(), *default_roles.all_of(agents=True), *default_objects.all_of(SETTINGS)]


def found(kind: Kind, name: str) -> Default:
    return next(each for each in everything() if each.kind == kind and objects.name(each.obj) == name)


def test_into_an_empty_cluster_everything_is_written_once() -> None:
    writes = plan(everything(), [])
    assert all(write.is_new for write in writes)
    assert len({(write.kind, write.namespace, write.name) for write in writes}) == len(everything())


def there(each: Default) -> tuple[Kind, dict[str, Any]]:
    """As it lies in a cluster that was started before."""
    status = {"status": {"conditions": [attrs.asdict(each.condition)]}} if each.condition else {}
    return each.kind, {**copy.deepcopy(each.obj), **status}


def test_where_everything_is_nothing_is_written() -> None:
    assert plan(everything(), [there(each) for each in everything()]) == []


def test_a_status_that_says_nothing_yet_is_written_alone() -> None:
    default = found(kinds.API_SERVICE, "v1.apps")
    (write,) = plan([default], [(default.kind, default.obj)])
    assert (write.obj, write.condition) == (None, default_objects.AVAILABLE)


def test_what_the_server_added_is_no_difference() -> None:
    seen = copy.deepcopy(found(kinds.ENDPOINT_SLICE, "kubernetes").obj)
    seen["metadata"] |= {"uid": "u", "resourceVersion": "7", "generation": 1}
    seen["endpoints"][0]["conditions"]["serving"] = True
    assert plan([found(kinds.ENDPOINT_SLICE, "kubernetes")], [(kinds.ENDPOINT_SLICE, seen)]) == []


def test_a_server_that_moved_says_where_it_is_now() -> None:
    moved = Settings("10.43.0.0/16", "192.0.2.8", 6443, b"client-ca", b"proxy-ca")
    seen = [there(each) for each in everything()]
    writes = plan(default_objects.all_of(moved), seen)
    assert {write.kind for write in writes} == {kinds.ENDPOINTS, kinds.ENDPOINT_SLICE}
    assert all("192.0.2.8" in str(write.obj) and "192.0.2.7" not in str(write.obj) for write in writes)


def test_a_server_that_only_this_machine_reaches_has_no_endpoints() -> None:
    local = Settings("10.43.0.0/16", "127.0.0.1", 6443, b"", b"")
    assert not {each.kind for each in default_objects.all_of(local)} & {kinds.ENDPOINTS, kinds.ENDPOINT_SLICE}


def test_a_default_role_gets_back_what_it_lacks_and_keeps_what_it_has_more() -> None:
    default = found(kinds.CLUSTER_ROLE, "system:basic-user")
    seen = copy.deepcopy(default.obj)
    own = {"apiGroups": ["mine"], "resources": ["x"], "verbs": ["get"]}
    seen["rules"] = [own, *seen["rules"][1:]]
    (write,) = plan([default], [(default.kind, seen)])
    assert write.obj is not None
    assert own in write.obj["rules"]
    assert plan([default], [(default.kind, write.obj)]) == []


def test_a_default_binding_gets_back_its_subjects() -> None:
    default = found(kinds.CLUSTER_ROLE_BINDING, "system:discovery")
    seen: dict[str, Any] = {**default.obj, "subjects": [{"kind": "User", "name": "mine"}]}
    (write,) = plan([default], [(default.kind, seen)])
    assert write.obj is not None
    assert [subject["name"] for subject in write.obj["subjects"]] == ["mine", "system:authenticated"]


def test_who_turned_the_update_off_is_left_alone() -> None:
    default = found(kinds.CLUSTER_ROLE, "system:basic-user")
    seen = copy.deepcopy(default.obj)
    seen["rules"] = []
    seen["metadata"]["annotations"] = {default_roles.AUTOUPDATE: "false"}
    assert plan([default], [(default.kind, seen)]) == []


def test_cluster_admin_belongs_to_masters_and_to_nobody_else() -> None:
    assert [each["name"] for each in found(kinds.CLUSTER_ROLE_BINDING, "cluster-admin").obj["subjects"]] == ["system:masters"]


def test_without_controllers_there_is_neither_storage_class_nor_dns_nor_agent_role() -> None:
    bare = Settings("10.43.0.0/16", "192.0.2.7", 6443, b"", b"")
    names = {objects.name(each.obj) for each in (*default_objects.all_of(bare), *default_roles.all_of(agents=False))}
    assert not names & {"local-path", "kube-dns", default_roles.AGENT_ROLE}


async def test_the_storage_class_of_former_clusters_is_made_anew_and_keeps_what_the_operator_wrote(autojump_clock: Any) -> None:
    api = RealApi()
    client = Client(api)
    own = {"storageclass.kubernetes.io/is-default-class": "false", "mine": "yes"}
    former = {
        "metadata": {"name": "local-path", "annotations": own},
        "provisioner": "edgek.io/local-path",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    await client.create(kinds.STORAGE_CLASS, former)
    settings = Settings("10.43.0.0/16", "192.0.2.7", 6443, b"", b"", local_storage=True)
    for _ in range(2):
        await ensure_defaults(client, settings, agents=False)
        made = await client.get(kinds.STORAGE_CLASS, "local-path")
        assert (made["provisioner"], made["allowVolumeExpansion"]) == ("hostpath.edgek.io", True)
        assert objects.annotations(made) == own
    assert await ensure_defaults(client, settings, agents=False) == 0


@pytest.mark.parametrize(
    ("seen", "wanted", "there"),
    [({"a": 1, "b": 2}, {"a": 1}, True), ({"a": 1}, {"b": 1}, False), ({"a": [1, 2]}, {"a": [1]}, False), ({"a": [{"b": 1, "c": 2}]}, {"a": [{"b": 1}]}, True)],
)  # fmt: skip
def test_what_is_wanted_is_there_or_put_there(seen: dict[str, Any], wanted: dict[str, Any], there: bool) -> None:
    assert contains(seen, wanted) is there
    assert contains(merged(seen, wanted), wanted)


class Api:
    """As much of the API as starting needs: objects are created, updated and listed; in a list they do not say their kind."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.writes = 0

    async def request(self, request: Request) -> Response:
        if request.method == "GET":
            items = [
                {k: v for k, v in obj.items() if k not in ("apiVersion", "kind")} for (place, _), obj in self.objects.items() if place == request.path
            ]
            return Response(200, body=orjson.dumps({"items": items}))
        obj = orjson.loads(request.body)
        if request.method == "PATCH":
            collection, _, name = request.path.removesuffix("/status").rpartition("/")
            self.objects[collection, name] |= obj
            return Response(200, body=request.body)
        self.writes += 1
        place = request.path if request.method == "POST" else request.path.rpartition("/")[0]
        self.objects[place, objects.name(obj)] = obj
        return Response(201, body=request.body)

    def stream(self, request: Request) -> Any:
        raise AssertionError("nothing is watched at start")


async def test_the_second_start_writes_nothing() -> None:
    api = Api()
    assert await ensure_defaults(Client(api), SETTINGS, agents=True) == len(everything()) == api.writes
    assert await ensure_defaults(Client(api), SETTINGS, agents=True) == 0
    del api.objects["/api/v1/namespaces", "kube-public"]
    assert await ensure_defaults(Client(api), SETTINGS, agents=True) == 1
