"""Scenes of writing through the whole API, on a store in memory."""

import orjson
import pytest

from edgek.client.client import JSON_PATCH, STRATEGIC_MERGE_PATCH
from edgek.client.transport import Request, Response
from edgek.model import errors, kinds, objects
from tests.server.api.running import Running, config_map, running

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


async def sent(server: Running, method: str, path: str, body: object, content_type: str = "application/json", **query: str) -> Response:
    request = Request(method, path, tuple(query.items()), {"content-type": content_type}, orjson.dumps(body))
    return await server.transport().request(request)


async def test_a_created_object_gets_what_only_the_server_gives() -> None:
    server = await running()
    sent_along = config_map(uid="mine", creationTimestamp="2001-01-01T00:00:00Z", managedFields=[{"manager": "me"}])
    made = await server.client.create(kinds.CONFIG_MAP, sent_along)
    assert objects.uid(made) not in ("", "mine")
    assert made["metadata"]["creationTimestamp"] != "2001-01-01T00:00:00Z"
    assert "managedFields" not in made["metadata"]
    assert int(objects.revision(made)) > 1000
    assert await server.client.get(kinds.CONFIG_MAP, "x", "default") == made


async def test_a_generated_name_begins_as_asked() -> None:
    server = await running()
    made = await server.client.create(kinds.CONFIG_MAP, {"metadata": {"generateName": "web-", "namespace": "default"}})
    assert objects.name(made).startswith("web-")
    assert len(objects.name(made)) == len("web-") + 5


async def test_a_name_is_given_once() -> None:
    server = await running()
    await server.client.create(kinds.CONFIG_MAP, config_map())
    with pytest.raises(errors.AlreadyExists, match='configmaps "x" already exists'):
        await server.client.create(kinds.CONFIG_MAP, config_map())


async def test_the_second_writer_of_one_version_loses() -> None:
    server = await running()
    made = await server.client.create(kinds.CONFIG_MAP, config_map())
    await server.client.update(kinds.CONFIG_MAP, {**made, "data": {"a": "first"}})
    with pytest.raises(errors.Conflict, match="the object has been modified"):
        await server.client.update(kinds.CONFIG_MAP, {**made, "data": {"a": "second"}})


async def test_a_write_that_names_no_revision_overwrites() -> None:
    server = await running()
    await server.client.create(kinds.CONFIG_MAP, config_map())
    changed = await server.client.update(kinds.CONFIG_MAP, {**config_map(), "data": {"a": "2"}})
    assert changed["data"] == {"a": "2"}


async def test_a_lease_is_not_overwritten_without_a_revision() -> None:
    server = await running()
    lease = {"metadata": {"name": "l", "namespace": "default"}, "spec": {"holderIdentity": "a"}}
    await server.client.create(kinds.LEASE, lease)
    with pytest.raises(errors.Invalid, match=r"metadata\.resourceVersion: Invalid value: 0x0: must be specified for an update"):
        await server.client.update(kinds.LEASE, lease)


async def test_a_put_creates_a_lease_that_is_not_there_but_no_config_map() -> None:
    server = await running()
    made = await server.client.update(kinds.LEASE, {"metadata": {"name": "l", "namespace": "default"}})
    assert objects.name(made) == "l"
    with pytest.raises(errors.NotFound):
        await server.client.update(kinds.CONFIG_MAP, config_map())


async def test_a_namesake_is_not_written_to() -> None:
    server = await running()
    first = await server.client.create(kinds.CONFIG_MAP, config_map())
    await server.client.delete(kinds.CONFIG_MAP, "x", "default")
    await server.client.create(kinds.CONFIG_MAP, config_map())
    with pytest.raises(errors.Conflict, match="UID in precondition"):
        await server.client.update(kinds.CONFIG_MAP, first)


async def test_a_write_that_changes_nothing_is_none() -> None:
    server = await running()
    made = await server.client.create(kinds.CONFIG_MAP, config_map())
    before = server.backend.revision
    assert await server.client.update(kinds.CONFIG_MAP, made) == made
    assert await server.client.patch(kinds.CONFIG_MAP, "x", {"data": {"a": "1"}}, "default") == made
    assert server.backend.revision == before


async def test_a_dry_run_answers_and_leaves_no_trace() -> None:
    server = await running()
    before = server.backend.revision
    answer = await sent(server, "POST", CONFIG_MAPS, config_map(), dryRun="All")
    assert answer.status == 201
    assert server.backend.revision == before
    assert await server.client.find(kinds.CONFIG_MAP, "x", "default") is None


async def test_a_patch_that_names_no_revision_survives_a_race() -> None:
    server = await running()
    await server.client.create(kinds.CONFIG_MAP, config_map())
    update = server.backend.update
    raced = []

    async def racing(*args, **kwargs):  # type: ignore[no-untyped-def]
        if not raced:
            raced.append(True)
            await server.client.patch(kinds.CONFIG_MAP, "x", {"data": {"b": "other"}}, "default")
        return await update(*args, **kwargs)

    server.backend.update = racing  # type: ignore[method-assign]
    done = await server.client.patch(kinds.CONFIG_MAP, "x", {"data": {"a": "mine"}}, "default")
    assert done["data"] == {"a": "mine", "b": "other"}


async def test_a_patch_with_an_old_revision_is_refused() -> None:
    server = await running()
    made = await server.client.create(kinds.CONFIG_MAP, config_map())
    await server.client.patch(kinds.CONFIG_MAP, "x", {"data": {"a": "2"}}, "default")
    old = {"metadata": {"resourceVersion": objects.revision(made)}, "data": {"a": "3"}}
    with pytest.raises(errors.Conflict):
        await server.client.patch(kinds.CONFIG_MAP, "x", old, "default")


async def test_three_kinds_of_patch_are_understood_and_others_are_not() -> None:
    server = await running()
    await server.client.create(kinds.CONFIG_MAP, config_map())
    await server.client.patch(kinds.CONFIG_MAP, "x", [{"op": "add", "path": "/data/b", "value": "2"}], "default", content_type=JSON_PATCH)
    done = await server.client.patch(kinds.CONFIG_MAP, "x", {"data": {"a": None}}, "default", content_type=STRATEGIC_MERGE_PATCH)
    assert done["data"] == {"b": "2"}
    with pytest.raises(errors.UnsupportedMediaType):
        await server.client.patch(kinds.CONFIG_MAP, "x", {}, "default", content_type="application/json")


async def test_unknown_fields_are_warned_of_refused_or_ignored_as_asked() -> None:
    server = await running()
    body = {**config_map(), "nope": 1}
    warned = await sent(server, "POST", CONFIG_MAPS, body, dryRun="All")
    assert (warned.status, warned.headers["warning"]) == (201, '299 - "unknown field \\"nope\\""')
    refused = await sent(server, "POST", CONFIG_MAPS, body, fieldValidation="Strict")
    assert refused.status == 400
    assert 'strict decoding error: unknown field "nope"' in orjson.loads(refused.body)["message"]
    ignored = await sent(server, "POST", CONFIG_MAPS, body, fieldValidation="Ignore")
    assert ignored.status == 201
    assert "warning" not in ignored.headers
    assert "nope" not in orjson.loads(ignored.body)


async def test_what_is_wrong_besides_is_told_with_a_refusal() -> None:
    server = await running()
    answer = await sent(server, "POST", CONFIG_MAPS, {"nope": 1, "metadata": {"name": "Not A Name"}})
    assert answer.status == 422
    assert "nope" in answer.headers["warning"]


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        (f"{CONFIG_MAPS}/x", config_map("y"), "the name of the object (y) does not match the name on the URL (x)"),
        (f"{CONFIG_MAPS}/x", {"metadata": {}}, "the name of the object (x based on URL) was undeterminable: name must be provided"),
        (
            f"{CONFIG_MAPS}/x",
            {"metadata": {"name": "x", "namespace": "other"}},
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
    ],
)
async def test_a_body_that_is_about_something_else_is_refused(path: str, body: object, message: str) -> None:
    server = await running()
    await server.client.create(kinds.CONFIG_MAP, config_map())
    answer = await sent(server, "PUT", path, body)
    assert (answer.status, orjson.loads(answer.body)["message"]) == (400, message)


async def test_a_service_gets_an_address_and_gives_it_back() -> None:
    server = await running()
    service = {"metadata": {"name": "s", "namespace": "default"}, "spec": {"ports": [{"port": 80}]}}
    address = (await server.client.create(kinds.SERVICE, service))["spec"]["clusterIP"]
    other = {"metadata": {"name": "t", "namespace": "default"}, "spec": {"ports": [{"port": 80}], "clusterIP": address}}
    with pytest.raises(errors.Invalid, match="provided IP is already allocated"):
        await server.client.create(kinds.SERVICE, other)
    await server.client.delete(kinds.SERVICE, "s", "default")
    assert (await server.client.create(kinds.SERVICE, other))["spec"]["clusterIP"] == address


async def test_scaling_changes_the_replicas_and_counts_the_generation() -> None:
    server = await running()
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    await server.client.create(kinds.DEPLOYMENT, {"metadata": {"name": "d", "namespace": "default"}, "spec": spec})
    scale = await server.client.patch(kinds.DEPLOYMENT, "d", {"spec": {"replicas": 4}}, "default", subresource="scale")
    assert (scale["kind"], scale["spec"], scale["status"]["selector"]) == ("Scale", {"replicas": 4}, "a=b")
    found = await server.client.get(kinds.DEPLOYMENT, "d", "default")
    assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (4, 2)
    with pytest.raises(errors.Invalid, match="must be greater than or equal to 0"):
        await server.client.patch(kinds.DEPLOYMENT, "d", {"spec": {"replicas": -1}}, "default", subresource="scale")


def pod(name: str = "p", **spec: object) -> dict[str, object]:
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


async def test_a_pod_is_bound_once() -> None:
    server = await running()
    await server.client.create(kinds.POD, pod())
    binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}}
    await server.client.create(kinds.POD, binding, "default", name="p", subresource="binding")
    bound = await server.client.get(kinds.POD, "p", "default")
    assert bound["spec"]["nodeName"] == "n1"
    assert objects.condition_is(bound, "PodScheduled")
    with pytest.raises(errors.Conflict, match='already assigned to node "n1"'):
        await server.client.create(kinds.POD, binding, "default", name="p", subresource="binding")
