from __future__ import annotations

import pytest

from edgek.server.resources.validation.gotypes import TYPES
from edgek.server.resources.validation.goview import difference, dumped, dumped_template


def test_what_is_absent_is_shown_as_zero() -> None:
    assert dumped("ServicePort", {"protocol": "TCP", "port": 80}) == {
        "Name": "",
        "Protocol": "TCP",
        "AppProtocol": None,
        "Port": 80,
        "TargetPort": 0,
        "NodePort": 0,
    }


def test_the_fields_stand_in_their_order() -> None:
    assert list(dumped("Taint", {"effect": "NoSchedule", "key": "a"}) or {}) == ["Key", "Value", "Effect", "TimeAdded"]


def test_structures_are_shown_through_and_through() -> None:
    shown = dumped("Container", {"name": "c", "ports": [{"containerPort": 80}], "securityContext": {"privileged": True}}) or {}
    assert shown["Ports"] == [{"Name": "", "HostPort": 0, "ContainerPort": 80, "Protocol": "", "HostIP": ""}]
    assert shown["SecurityContext"]["Privileged"] is True
    assert shown["Env"] is None


def test_the_hosts_namespaces_stand_in_the_security_context() -> None:
    shown = dumped("PodSpec", {"hostNetwork": True, "securityContext": {"fsGroup": 5}}) or {}
    assert (shown["SecurityContext"]["HostNetwork"], shown["SecurityContext"]["FSGroup"]) == (True, 5)
    assert "HostNetwork" not in shown


@pytest.mark.parametrize(
    ("name", "member"),
    [("DNSPolicy", "dnsPolicy"), ("SetHostnameAsFQDN", "setHostnameAsFQDN"), ("Hostname", "hostname"), ("ServiceAccountName", "serviceAccountName")],
)
def test_go_names_are_found_under_their_json_names(name: str, member: str) -> None:
    assert (dumped("PodSpec", {member: "seen"}) or {})[name] == "seen"


def test_a_template_has_no_name_of_its_own() -> None:
    assert list(dumped_template({"metadata": {"labels": {"a": "b"}}, "spec": {}})) == ["labels", "Spec"]


def test_a_difference_is_a_unified_diff_with_an_indent_of_one() -> None:
    old = {"accessModes": ["ReadWriteOnce"], "volumeName": "a"}
    assert difference("PersistentVolumeClaimSpec", old, {**old, "volumeName": "b"}) == (
        '@@ -7,7 +7,7 @@\n   "Limits": null,\n   "Requests": null\n  },\n- "VolumeName": "a",\n+ "VolumeName": "b",\n'
        '  "StorageClassName": null,\n  "VolumeMode": null,\n  "DataSource": null,\n'
    )


def test_every_structure_that_the_table_mentions_is_in_it() -> None:
    mentioned = {field.partition(mark)[2] for fields in TYPES.values() for field in fields.split() for mark in ":*[" if mark in field}
    assert mentioned <= TYPES.keys()
