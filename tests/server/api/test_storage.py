import attrs
import orjson
import pytest

from edgek.model import kinds
from edgek.server.api.routes import Registry
from edgek.server.api.storage import Objects, copied, encode, partial, prefix
from edgek.server.store.memory import MemoryBackend


@pytest.fixture
def objects() -> Objects:
    return Objects(MemoryBackend(), Registry())


async def stored(objects: Objects, kind: kinds.Kind, obj: dict[str, object]) -> None:
    meta = obj["metadata"]
    assert isinstance(meta, dict)
    await objects.backend.create(objects.key(kind, "n", str(meta["name"])), objects.draft(kind, obj))


async def test_stored_bytes_begin_with_what_a_list_cuts_off(objects: Objects) -> None:
    await stored(objects, kinds.CONFIG_MAP, {"data": {"a": "1"}, "apiVersion": "v1", "metadata": {"name": "x"}, "kind": "ConfigMap"})
    record = objects.record(kinds.CONFIG_MAP, "n", "x")
    assert record is not None
    assert record.body.startswith(prefix(kinds.CONFIG_MAP))
    assert orjson.loads(objects.item(kinds.CONFIG_MAP, record)) == {
        "data": {"a": "1"},
        "metadata": {"name": "x", "resourceVersion": str(record.revision)},
    }


async def test_bytes_of_another_make_are_cut_too(objects: Objects) -> None:
    record = await objects.backend.create(
        objects.key(kinds.CONFIG_MAP, "n", "x"),
        objects.draft(kinds.CONFIG_MAP, {"metadata": {"name": "x"}}),
    )
    odd = attrs.evolve(record, body=b'{ "metadata": {"name": "x"}, "kind": "ConfigMap", "apiVersion": "v1" }')
    assert orjson.loads(objects.item(kinds.CONFIG_MAP, odd)) == {"metadata": {"name": "x"}}


async def test_one_event_is_kept_and_shown_as_either_kind(objects: Objects) -> None:
    sent = {"metadata": {"name": "e"}, "note": "hello", "regarding": {"name": "p"}, "reportingController": "c"}
    await stored(objects, kinds.EVENT_V1, sent)
    core = objects.get(kinds.EVENT, "e", "n")
    assert core is not None
    assert (core["apiVersion"], core["message"], core["involvedObject"]) == ("v1", "hello", {"name": "p"})
    new = objects.get(kinds.EVENT_V1, "e", "n")
    assert new is not None
    assert (new["apiVersion"], new["note"]) == ("events.k8s.io/v1", "hello")
    record = objects.record(kinds.EVENT, "n", "e")
    assert record is not None
    assert record.fields["involvedObject.name"] == "p"


def test_a_copy_is_deep() -> None:
    first = {"a": {"b": [1]}}
    second = copied(first)
    second["a"]["b"].append(2)
    assert first == {"a": {"b": [1]}}


def test_an_encoded_object_names_its_kind_first_whatever_it_said_of_itself() -> None:
    assert encode(kinds.POD, {"metadata": {}, "apiVersion": "old"}) == b'{"kind":"Pod","apiVersion":"v1","metadata":{}}'


def test_metadata_alone_is_an_object_of_its_own_kind() -> None:
    assert partial({"metadata": {"name": "x"}, "spec": {}}) == {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"name": "x"},
    }
