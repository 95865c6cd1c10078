"""Scenes of reading through the whole API, on a store in memory."""

import base64
from typing import Any

import orjson
import pytest

from edgek.client.transport import Request, Response
from edgek.model import errors, kinds, objects
from tests.server.api.running import NOBODY, Running, config_map, running

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


async def asked(server: Running, path: str, *, accept: str = "", **query: str) -> Response:
    return await server.transport().request(Request("GET", path, tuple(query.items()), {"accept": accept}))


async def listed(server: Running, path: str = CONFIG_MAPS, **query: str) -> tuple[list[str], dict[str, Any]]:
    """The names, and the list's metadata."""
    answer = await asked(server, path, **query)
    found = orjson.loads(answer.body)
    assert answer.status == 200, found
    return [objects.name(item) for item in found["items"]], found["metadata"]


async def with_names(*names: str) -> Running:
    server = await running()
    for name in names:
        await server.client.create(kinds.CONFIG_MAP, config_map(name, labels={"name": name}))
    return server


async def test_items_of_a_list_are_the_stored_objects_without_kind() -> None:
    server = await with_names("a", "b")
    single = await server.client.get(kinds.CONFIG_MAP, "a", "default")
    found = orjson.loads((await asked(server, CONFIG_MAPS)).body)
    assert (found["kind"], found["apiVersion"]) == ("ConfigMapList", "v1")
    assert found["items"][0] == {key: value for key, value in single.items() if key not in ("kind", "apiVersion")}


async def test_an_empty_list_has_items_and_a_revision() -> None:
    server = await running()
    names, meta = await listed(server)
    assert (names, meta["resourceVersion"]) == ([], str(server.backend.revision))


async def test_pages_show_the_state_of_the_first_one() -> None:
    server = await with_names("a", "b", "c", "d", "e")
    first, meta = await listed(server, limit="2")
    assert (first, meta["remainingItemCount"]) == (["a", "b"], 3)
    await server.client.delete(kinds.CONFIG_MAP, "c", "default")
    await server.client.create(kinds.CONFIG_MAP, config_map("cc"))
    second, second_meta = await listed(server, limit="2", **{"continue": meta["continue"]})
    assert (second, second_meta["resourceVersion"]) == (["c", "d"], meta["resourceVersion"])
    third, last = await listed(server, limit="2", **{"continue": second_meta["continue"]})
    assert third == ["e"]
    assert "continue" not in last


async def test_a_page_by_selector_never_promises_an_empty_next_one() -> None:
    server = await with_names("a", "b", "c")
    names, meta = await listed(server, limit="2", labelSelector="name in (a,b)")
    assert names == ["a", "b"]
    assert "continue" not in meta
    names, meta = await listed(server, limit="1", labelSelector="name in (a,c)")
    assert names == ["a"]
    names, _ = await listed(server, limit="1", labelSelector="name in (a,c)", **{"continue": meta["continue"]})
    assert names == ["c"]


async def test_an_expired_page_says_how_to_go_on() -> None:
    server = await with_names("a", "b", "c")
    _, meta = await listed(server, limit="1")
    await server.client.delete(kinds.CONFIG_MAP, "c", "default")
    server.backend.compact(server.backend.revision)
    answer = await asked(server, CONFIG_MAPS, limit="1", **{"continue": meta["continue"]})
    status = orjson.loads(answer.body)
    assert (answer.status, status["reason"]) == (410, "Expired")
    assert status["message"].endswith("may show up in the list.")
    names, _ = await listed(server, **{"continue": status["metadata"]["continue"]})
    assert names == ["b"]


async def test_a_token_that_we_did_not_make_is_refused() -> None:
    server = await running()
    made_up = base64.urlsafe_b64encode(b'{"v":"v9","rv":1,"start":"x"}').decode()
    wordy = base64.urlsafe_b64encode(b'{"v":"meta.k8s.io/v1","rv":"soon","start":"x"}').decode()
    for token in ("%%%", made_up, wordy, "e30"):
        assert (await asked(server, CONFIG_MAPS, **{"continue": token})).status == 400


async def test_a_list_can_show_the_past_exactly() -> None:
    server = await with_names("a")
    then = (await listed(server))[1]["resourceVersion"]
    await server.client.create(kinds.CONFIG_MAP, config_map("b"))
    assert (await listed(server, resourceVersion=then, resourceVersionMatch="Exact"))[0] == ["a"]
    assert (await listed(server, resourceVersion=then, resourceVersionMatch="NotOlderThan"))[0] == ["a", "b"]
    assert (await listed(server, resourceVersion=then))[0] == ["a", "b"]


async def test_a_read_from_the_future_waits_a_moment_and_gives_up(autojump_clock: object) -> None:
    server = await running()
    answer = await asked(server, CONFIG_MAPS, resourceVersion="99999999")
    status = orjson.loads(answer.body)
    assert (answer.status, status["details"]["causes"][0]["reason"]) == (504, "ResourceVersionTooLarge")


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"fieldSelector": "metadata.name=b"}, ["b"]),
        ({"fieldSelector": "metadata.name!=b"}, ["a", "c"]),
        ({"fieldSelector": "metadata.namespace=other"}, []),
        ({"labelSelector": "name notin (a)"}, ["b", "c"]),
    ],
)
async def test_selectors_choose(query: dict[str, str], names: list[str]) -> None:
    server = await with_names("a", "b", "c")
    assert (await listed(server, **query))[0] == names
    assert (await listed(server, "/api/v1/configmaps", **query))[0] == names


async def test_a_field_that_cannot_be_selected_by_is_refused() -> None:
    server = await running()
    answer = await asked(server, CONFIG_MAPS, fieldSelector="data.a=1")
    assert (answer.status, "is not a known field selector" in orjson.loads(answer.body)["message"]) == (400, True)


async def test_metadata_alone_can_be_listed() -> None:
    server = await with_names("a")
    found = orjson.loads((await asked(server, CONFIG_MAPS, accept=PARTIAL)).body)
    assert (found["kind"], found["items"][0]["kind"]) == ("PartialObjectMetadataList", "PartialObjectMetadata")
    assert set(found["items"][0]) == {"kind", "apiVersion", "metadata"}


async def test_a_table_has_a_row_per_object_with_as_much_of_it_as_asked() -> None:
    server = await with_names("a", "b")
    found = orjson.loads((await asked(server, CONFIG_MAPS, accept=TABLE)).body)
    assert (found["kind"], [row["cells"][0] for row in found["rows"]]) == ("Table", ["a", "b"])
    assert found["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    whole = orjson.loads((await asked(server, f"{CONFIG_MAPS}/a", accept=TABLE, includeObject="Object")).body)
    assert whole["rows"][0]["object"]["data"] == {"a": "1"}
    assert (await asked(server, CONFIG_MAPS, accept=TABLE, includeObject="Nope")).status == 400


async def test_events_show_under_both_their_groups() -> None:
    server = await running()
    event = {
        "metadata": {"name": "e", "namespace": "default"},
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"},
        "reason": "R",
        "message": "what happened",
        "type": "Normal",
    }
    await server.client.create(kinds.EVENT, event)
    seen = await server.client.get(kinds.EVENT_V1, "e", "default")
    assert (seen["apiVersion"], seen["note"], seen["regarding"]["name"]) == ("events.k8s.io/v1", "what happened", "p")
    names, _ = await listed(server, "/apis/events.k8s.io/v1/namespaces/default/events", fieldSelector="regarding.name=p")
    assert names == ["e"]


async def test_what_is_not_there_is_not_found() -> None:
    server = await running()
    with pytest.raises(errors.NotFound, match='configmaps "x" not found'):
        await server.client.get(kinds.CONFIG_MAP, "x", "default")
    assert (await asked(server, "/apis/none.example.com/v1/things")).body == b"404 page not found\n"
    assert orjson.loads((await asked(server, "/api/v1/things")).body)["details"] == {}
    assert (await asked(server, "/api/v1/namespaces/default/nodes")).status == 404


async def test_who_may_not_read_is_told_so() -> None:
    server = await running()
    with pytest.raises(errors.Forbidden, match='User "nobody" cannot list resource "configmaps" in API group "" in the namespace "default"'):
        await server.as_user(NOBODY).list(kinds.CONFIG_MAP, "default")


async def test_a_kind_that_is_added_while_the_server_runs_is_served_and_its_items_say_what_they_are() -> None:
    server = await running()
    thing = kinds.Kind("example.com", "v1", "Thing", "things")
    server.api.registry.add(thing)
    await server.client.create(
        thing, {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t", "namespace": "default"}, "anything": [1]}
    )
    (found,) = (await server.client.list(thing, "default")).items
    assert (found["apiVersion"], found["kind"], found["anything"]) == ("example.com/v1", "Thing", [1])
    server.api.registry.remove(thing)
    assert (await asked(server, "/apis/example.com/v1/namespaces/default/things")).status == 404
