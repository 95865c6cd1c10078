import json

import pytest

from edgek.model import errors, kinds, schema
from edgek.model.kinds import Kind
from edgek.server.api import patch

WIDGET = Kind("example.com", "v1", "Widget", "widgets")


def config_map():
    return {"metadata": {"name": "x"}, "data": {"a": "1", "b": "2"}}


def json_patch(*operations, live=None):
    return patch.apply(kinds.CONFIG_MAP, patch.JSON_PATCH, json.dumps(operations).encode(), live or config_map())


def merge(body, live=None, kind=kinds.CONFIG_MAP):
    return patch.apply(kind, patch.MERGE_PATCH, json.dumps(body).encode(), live or config_map())[0]


@pytest.mark.parametrize(
    ("operation", "data"),
    [
        ({"op": "replace", "path": "/data/a", "value": "z"}, {"a": "z", "b": "2"}),
        ({"op": "remove", "path": "/data/a"}, {"b": "2"}),
        ({"op": "move", "from": "/data/a", "path": "/data/q"}, {"b": "2", "q": "1"}),
        ({"op": "copy", "from": "/data/a", "path": "/data/q"}, {"a": "1", "b": "2", "q": "1"}),
        ({"op": "add", "path": "/data/a~1b~0c", "value": "z"}, {"a": "1", "b": "2", "a/b~c": "z"}),
        ({"op": "replace", "path": "/data/c", "value": "z"}, {"a": "1", "b": "2", "c": "z"}),
        ({"op": "test", "path": "/data/a", "value": "1"}, {"a": "1", "b": "2"}),
        ({"op": "test", "path": "/data/none", "value": None}, {"a": "1", "b": "2"}),
    ],
)
def test_a_json_patch_changes_what_it_points_at(operation, data):
    assert json_patch(operation)[0]["data"] == data


def test_a_json_patch_inserts_into_lists():
    live = {"spec": {"ports": [{"port": 1}, {"port": 2}]}}
    added = ({"op": "add", "path": "/spec/ports/-", "value": {"port": 3}}, {"op": "add", "path": "/spec/ports/0", "value": {"port": 0}})
    assert json_patch(*added, live=live)[0]["spec"]["ports"] == [{"port": 0}, {"port": 1}, {"port": 2}, {"port": 3}]


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/data/nope"},
        {"op": "replace", "path": "/finalizers/0", "value": "z"},
        {"op": "test", "path": "/data/a", "value": "2"},
        {"op": "add", "path": "/metadata/annotations/a", "value": "d"},
        {"op": "add", "value": "z"},
        {"op": "frobnicate", "path": "/data"},
        {"op": "add", "path": "data", "value": "z"},
        {"op": "replace", "path": "", "value": 1},
        "remove",
    ],
)
def test_a_json_patch_that_cannot_be_done_is_rejected(operation):
    with pytest.raises(errors.Invalid, match="the server rejected our request due to an error in our request"):
        json_patch(operation)


def test_copies_cannot_blow_an_object_up():
    doublings = [{"op": "copy", "from": "/data", "path": f"/data/c{at}"} for at in range(40)]
    with pytest.raises(errors.Invalid):
        json_patch(*doublings)


def test_a_json_patch_has_a_longest_length_and_known_members():
    with pytest.raises(errors.TooLarge, match="The allowed maximum operations in a JSON patch is 10000, got 10001"):
        json_patch(*[{"op": "test", "path": "/data/a", "value": "1"}] * 10_001)
    obj, found = json_patch({"op": "remove", "path": "/data/a", "foo": 1})
    assert schema.decode_problems(kinds.CONFIG_MAP, obj, found) == ['json patch unknown field "[0].foo"']


@pytest.mark.parametrize(
    ("kind", "raw", "message"),
    [
        (patch.JSON_PATCH, "[{", "error decoding patch: unexpected end of JSON input"),
        (patch.JSON_PATCH, "{}", "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"),
        (patch.MERGE_PATCH, "", "error decoding patch: unexpected end of JSON input"),
        (patch.MERGE_PATCH, "[]", "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"),
        (patch.STRATEGIC_MERGE_PATCH, "{", "unexpected end of JSON input"),
    ],
)
def test_a_patch_that_is_no_patch_is_refused(kind, raw, message):
    with pytest.raises(errors.BadRequest) as caught:
        patch.apply(kinds.CONFIG_MAP, kind, raw.encode(), config_map())
    assert caught.value.message == message


def test_a_merge_patch_merges_maps_and_replaces_lists():
    assert merge({"data": {"a": None, "c": "3"}})["data"] == {"b": "2", "c": "3"}
    assert merge({"spec": {"x": {"y": None, "z": 1}}})["spec"] == {"x": {"z": 1}}
    assert merge({"finalizers": ["b"]}, {"finalizers": ["a"]}) == {"finalizers": ["b"]}


def test_the_duplicates_of_a_patch_are_told():
    assert patch.apply(kinds.CONFIG_MAP, patch.MERGE_PATCH, b'{"data":{"q":"1","q":"2"}}', config_map())[1] == ["data.q"]


# --- strategic merge --------------------------------------------------------------------------------------------------------------------------


def strategic(body, live, kind=kinds.POD):
    return patch.apply(kind, patch.STRATEGIC_MERGE_PATCH, json.dumps(body).encode(), live)[0]


def pod(**spec):
    return {"metadata": {"name": "x"}, "spec": spec}


def containers(*names):
    return [{"name": name, "image": name} for name in names]


def names(obj):
    return [item["name"] for item in obj["spec"]["containers"]]


def test_containers_merge_by_name():
    live = pod(containers=[{"name": "c", "image": "old", "command": ["a", "b"]}])
    merged = strategic({"spec": {"containers": [{"name": "c", "image": "new", "command": ["z"]}, {"name": "d", "image": None}]}}, live)
    assert merged["spec"]["containers"] == [{"name": "c", "image": "new", "command": ["z"]}, {"name": "d"}]


def test_new_elements_come_first_and_the_patch_sets_the_order_of_what_it_names():
    assert names(strategic({"spec": {"containers": [{"name": "n"}]}}, pod(containers=containers("c")))) == ["n", "c"]
    assert names(strategic({"spec": {"containers": [{"name": "d"}, {"name": "c"}]}}, pod(containers=containers("c", "d")))) == ["d", "c"]


def test_an_element_is_deleted_by_its_key_and_a_missing_one_is_no_error():
    body = {"spec": {"containers": [{"name": "c", "$patch": "delete"}, {"name": "zz", "$patch": "delete"}]}}
    assert names(strategic(body, pod(containers=containers("c", "d")))) == ["d"]


def test_a_list_or_a_map_can_be_replaced():
    body = {"spec": {"containers": [{"$patch": "replace"}, {"name": "n"}], "nodeSelector": {"$patch": "replace", "a": "b"}}}
    merged = strategic(body, pod(containers=containers("c"), nodeSelector={"x": "y"}))
    assert merged["spec"] == {"containers": [{"name": "n"}], "nodeSelector": {"a": "b"}}


def test_a_map_can_be_deleted_and_null_deletes_a_member():
    live = pod(nodeSelector={"x": "y"}, hostname="h", containers=[])
    assert strategic({"spec": {"nodeSelector": {"$patch": "delete"}, "hostname": None}}, live)["spec"] == {"nodeSelector": {}, "containers": []}


def test_retained_keys_are_all_that_is_left():
    live = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    body = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert strategic(body, live, kinds.DEPLOYMENT)["spec"]["strategy"] == {"type": "Recreate"}


def test_a_patch_may_set_only_what_it_retains():
    body = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate", "rollingUpdate": {"maxSurge": 1}}}}
    with pytest.raises(errors.BadRequest, match="invalid patch format of retainKeys"):
        strategic(body, {"spec": {"strategy": {}}}, kinds.DEPLOYMENT)


def test_the_order_can_be_set_with_and_without_new_elements():
    assert names(strategic({"spec": {"$setElementOrder/containers": [{"name": "d"}, {"name": "c"}]}}, pod(containers=containers("c", "d")))) == [
        "d",
        "c",
    ]
    body = {"spec": {"$setElementOrder/containers": [{"name": "n"}, {"name": "c"}], "containers": [{"name": "n"}]}}
    assert names(strategic(body, pod(containers=containers("c")))) == ["n", "c"]


def test_what_only_the_server_has_keeps_its_place_among_its_neighbours():
    body = {"spec": {"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}], "containers": [{"name": "a"}]}}
    assert names(strategic(body, pod(containers=containers("s1", "a", "s2", "c", "s3")))) == ["s1", "s2", "c", "a", "s3"]


def test_elements_must_stand_in_the_order_that_is_set():
    body = {"spec": {"$setElementOrder/containers": [{"name": "c"}], "containers": [{"name": "n", "image": "n"}]}}
    with pytest.raises(errors.ServerError) as caught:
        strategic(body, pod(containers=containers("c")))
    assert caught.value.message == "The order in patch list:\n[map[image:n name:n]]\n doesn't match $setElementOrder list:\n[map[name:c]]\n"


def test_lists_of_words_are_merged_ordered_and_thinned():
    live = {"metadata": {"finalizers": ["a", "b"]}}
    assert strategic({"metadata": {"finalizers": ["c", "a"]}}, live)["metadata"]["finalizers"] == ["c", "a", "b"]
    live = {"metadata": {"finalizers": ["a", "b"]}}
    assert strategic({"metadata": {"$setElementOrder/finalizers": ["b", "a"], "finalizers": []}}, live)["metadata"]["finalizers"] == ["b", "a"]
    live = {"metadata": {"finalizers": ["a", "b"]}}
    assert strategic({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}, live)["metadata"]["finalizers"] == ["b"]


def test_lists_without_a_merge_strategy_are_replaced():
    live = pod(tolerations=[{"key": "a"}])
    assert strategic({"spec": {"tolerations": [{"key": "b"}]}}, live)["spec"]["tolerations"] == [{"key": "b"}]


@pytest.mark.parametrize("body", [{"spec": {"containers": [{"name": "c", "$patch": "frobnicate"}]}}])
def test_an_unknown_directive_is_a_server_error_as_it_is_upstream(body):
    with pytest.raises(errors.ServerError) as caught:
        strategic(body, pod(containers=containers("c")))
    assert (caught.value.message, caught.value.code) == ("unknown patch type: frobnicate in map: map[$patch:frobnicate name:c]", 500)


def test_an_element_without_its_key_is_a_server_error():
    with pytest.raises(errors.ServerError, match="does not contain declared merge key: name"):
        strategic({"spec": {"containers": [{"image": "i"}]}}, pod(containers=containers("c")))


def test_a_value_of_the_wrong_type_is_told_with_the_patch():
    with pytest.raises(errors.Invalid) as caught:
        strategic({"spec": {"containers": {"name": "c"}}}, pod(containers=containers("c")))
    assert caught.value.message == ' "" is invalid: patch: Invalid value: "map[spec:map[containers:map[name:c]]]": cannot restore slice from map'


def test_a_custom_resource_has_no_strategic_merge():
    with pytest.raises(errors.UnsupportedMediaType, match="accepted media types include: application/json-patch"):
        strategic({}, {}, WIDGET)


def test_a_list_as_long_as_a_body_allows_is_merged_while_others_wait_a_moment() -> None:
    names = [f"example.com/{number}" for number in range(50_000)]
    sent = {"metadata": {"finalizers": names, "$setElementOrder/finalizers": names}}
    found, _ = patch.apply(
        kinds.CONFIG_MAP, patch.STRATEGIC_MERGE_PATCH, json.dumps(sent).encode(), {"metadata": {"name": "x", "finalizers": names[:100]}}
    )
    assert found["metadata"]["finalizers"] == names
