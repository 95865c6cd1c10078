"""What a StorageClass says of volumes on an export, and what a volume's id keeps of it."""

from __future__ import annotations

import pytest

from edgek.csi.driver import BadRequest
from edgek.csi.export import Export, export_of, folder_of, read_class, read_id

OF_PVC = {"csi.storage.k8s.io/pvc/name": "data", "csi.storage.k8s.io/pvc/namespace": "shop", "csi.storage.k8s.io/pv/name": "pvc-1"}
HERE = Export("files", "/share")


def test_a_class_of_csi_driver_nfs_is_read_as_it_is() -> None:
    words = {
        "server": "nfs.example.com",
        "share": "/export/",
        "subDir": "${pvc.metadata.namespace}/${pvc.metadata.name}/${pv.metadata.name}",
        "mountPermissions": "0750",
        "onDelete": "Archive",
        **OF_PVC,
    }
    asked = read_class(words, None, ["nfsvers=4.1", "hard"])
    assert asked.export == Export("nfs.example.com", "/export", "nfsvers=4.1")
    assert (asked.folder, asked.on_delete, asked.mode) == ("shop/data/pvc-1", "archive", 0o750)


def test_what_a_class_leaves_open_has_its_defaults() -> None:
    asked = read_class({"SERVER": "a", "Share": "/b", "mountpermissions": "0", **OF_PVC}, HERE)
    assert (asked.export, asked.folder, asked.on_delete, asked.mode) == (Export("a", "/b"), "", "delete", 0o777)
    assert read_class({}, HERE).export == HERE


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({}, "server is a required parameter"),
        ({"server": "a"}, "share is a required parameter"),
        ({"server": "a", "share": "b"}, "no absolute path"),
        ({"server": "a", "share": "/b/../c"}, r"'\.\.'"),
        ({"server": "a", "share": "/b#c"}, "'#'"),
        ({"server": "-o", "share": "/b"}, "no host name"),
        ({"server": "a b", "share": "/b"}, "no host name"),
        ({"server": "a", "share": "/b", "colour": "blue"}, "invalid parameter 'colour' in storage class"),
        ({"server": "a", "share": "/b", "onDelete": "burn"}, "invalid value burn for OnDelete"),
        ({"server": "a", "share": "/b", "mountPermissions": "rwx"}, "invalid mountPermissions rwx"),
        ({"server": "a", "share": "/b", "mountPermissions": "17777"}, "invalid mountPermissions"),
    ],
)
def test_what_a_class_cannot_say_is_refused_with_what_it_can(words: dict[str, str], says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        read_class(words, None)


@pytest.mark.parametrize("pattern", ["..", "a/../../b", ".edgek", "/.edgek/volumes", "${pvc.metadata.uid}", "a\nb"])
def test_a_sub_directory_stays_below_its_share_and_out_of_our_records(pattern: str) -> None:
    with pytest.raises(BadRequest):
        folder_of(pattern, OF_PVC)


def test_a_pattern_cannot_be_filled_with_a_way_out() -> None:
    with pytest.raises(BadRequest):
        folder_of("${pvc.metadata.name}/x", {"csi.storage.k8s.io/pvc/name": "../.."})
    with pytest.raises(BadRequest, match="did not send"):
        folder_of("${pvc.metadata.name}", {})


@pytest.mark.parametrize("export", [HERE, Export("fd00::1", "/"), Export("[fd00::1]", "/a b"), Export("10.0.0.1", "/x", "nfsvers=3,port=2050")])
def test_an_id_leads_back_to_its_export_and_name(export: Export) -> None:
    assert read_id(export.id_of("pvc-1")) == (export, "pvc-1")


@pytest.mark.parametrize("id_", ["", "pvc-1", "a#b", "a#/b##", "a#b##c", "#/b##c", "a#/b##c#d"])
def test_other_drivers_ids_are_none_of_ours(id_: str) -> None:
    assert read_id(id_) is None


def test_an_id_keeps_the_options_that_are_needed_to_reach_the_server_in_one_order() -> None:
    first, second = (export_of("a", "/b", flags) for flags in (["vers=3,proto=tcp", "hard"], ["noatime", "proto=tcp", "vers=3"]))
    assert first == second == Export("a", "/b", "proto=tcp,vers=3")
