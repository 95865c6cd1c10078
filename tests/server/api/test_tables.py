from datetime import UTC, datetime

from edgek.model import kinds
from edgek.model.kinds import Kind
from edgek.server.api import tables

NOW = datetime(2020, 1, 1, tzinfo=UTC)
CONFIG_MAP = {"metadata": {"name": "x", "creationTimestamp": "2019-12-31T23:59:59Z", "uid": "u"}, "data": {"a": "1"}}


def test_a_table_has_columns_and_a_row_per_object_with_its_metadata():
    table = tables.table(kinds.CONFIG_MAP, [CONFIG_MAP], list_meta={"resourceVersion": "7"}, now=NOW)
    assert (table["kind"], table["apiVersion"], table["metadata"]) == ("Table", "meta.k8s.io/v1", {"resourceVersion": "7"})
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Data", "Age"]
    (row,) = table["rows"]
    assert row["cells"] == ["x", 1, "1s"]
    assert row["object"] == {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": CONFIG_MAP["metadata"]}


def test_rows_carry_the_whole_object_or_nothing_where_that_is_asked_for():
    whole = tables.table(kinds.CONFIG_MAP, [CONFIG_MAP], include_object="Object", now=NOW)["rows"][0]["object"]
    assert (whole["kind"], whole["data"]) == ("ConfigMap", {"a": "1"})
    assert tables.table(kinds.CONFIG_MAP, [CONFIG_MAP], include_object="None", now=NOW)["rows"][0]["object"] is None


def test_a_watch_can_leave_the_columns_out():
    assert tables.table(kinds.CONFIG_MAP, [], with_columns=False, now=NOW)["columnDefinitions"] == []


def test_a_kind_that_nobody_knows_has_a_name_and_an_age():
    table = tables.table(Kind("example.com", "v1", "Widget", "widgets"), [CONFIG_MAP], now=NOW)
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Age"]
    assert table["rows"][0]["cells"] == ["x", "1s"]


def test_pods_that_are_over_say_so_beside_their_cells():
    row = tables.table(kinds.POD, [{"metadata": {"name": "x"}, "status": {"phase": "Succeeded"}}], now=NOW)["rows"][0]
    assert row["conditions"][0]["type"] == "Completed"


def test_the_template_generation_of_a_daemon_set_is_not_shown():
    meta = {"name": "x", "annotations": {"deprecated.daemonset.template.generation": "1"}}
    row = tables.table(kinds.DAEMON_SET, [{"metadata": meta}], now=NOW)["rows"][0]
    assert row["object"]["metadata"] == {"name": "x"}
