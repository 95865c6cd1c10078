from __future__ import annotations

from typing import Any

import pytest

from edgek.model import kinds
from tests.server.resources.scene import problems, table, updated

PARTS = "alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
NAME_PART = f"name part must consist of {PARTS} (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
NAME_PART += "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
OWNER = {"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "u1", "controller": True}


@pytest.mark.parametrize(
    ("changes", "said"),
    table(
        {
            "an object needs a name": ({"metadata.name": ""}, ["metadata.name: Required value: name or generateName is required"]),
            "the key of a label is a qualified name": ({"metadata.labels": {"a b": "c"}}, [f'metadata.labels: Invalid value: "a b": {NAME_PART}']),
            "a label is short": (
                {"metadata.labels": {"a": "a" * 64}},
                [f'metadata.labels: Invalid value: "{"a" * 64}": must be no more than 63 bytes'],
            ),
            "a finalizer says whose it is": (
                {"metadata.finalizers": ["abc"]},
                ['metadata.finalizers[0]: Invalid value: "abc": name is neither a standard finalizer name nor is it fully qualified'],
            ),
            "the garbage collector does one thing or the other": (
                {"metadata.finalizers": ["orphan", "foregroundDeletion"]},
                ['metadata.finalizers: Invalid value: ["orphan","foregroundDeletion"]: finalizer orphan and foregroundDeletion cannot be both set'],
            ),
            "an owner has a uid": (
                {"metadata.ownerReferences": [{**OWNER, "uid": ""}]},
                ['metadata.ownerReferences.uid: Invalid value: "": must not be empty'],
            ),
            "annotations are no place for files": (
                {"metadata.annotations": {"a": "x" * 262144}},
                ["metadata.annotations: Too long: may not be more than 262144 bytes"],
            ),
        }
    ),
)
def test_metadata_is_refused(changes: dict[str, Any], said: list[str]) -> None:
    assert problems(kinds.CONFIG_MAP, changes) == said


def test_an_object_has_one_controller() -> None:
    (said,) = problems(kinds.CONFIG_MAP, {"metadata.ownerReferences": [OWNER, {**OWNER, "name": "b", "uid": "u2"}]})
    assert said.endswith('Only one reference can have Controller set to true. Found "true" in references for Pod/a and Pod/b')


@pytest.mark.parametrize("name", ["name", "namespace", "uid"])
def test_identity_is_for_life(name: str) -> None:
    _, said = updated(kinds.CONFIG_MAP, {f"metadata.{name}": "other"})
    assert said == [f'metadata.{name}: Invalid value: "other": field is immutable']


def test_nothing_new_can_hold_up_a_deletion_that_has_begun() -> None:
    going = {"metadata.deletionTimestamp": "2026-01-01T00:00:00Z", "metadata.finalizers": ["example.com/a"]}
    _, said = updated(kinds.CONFIG_MAP, {"metadata.finalizers": ["example.com/a", "example.com/b"]}, going)
    assert said == [
        "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, "
        'found new finalizers []string{"example.com/b"}'
    ]
    assert updated(kinds.CONFIG_MAP, {"metadata.finalizers": []}, going)[1] == []


@pytest.mark.parametrize(
    ("kind", "name", "good"),
    table(
        {
            "a pod has a DNS name": (kinds.POD, "a.b", True),
            "in small letters": (kinds.POD, "Bad", False),
            "a namespace has no dots": (kinds.NAMESPACE, "a.b", False),
            "a service begins with a letter": (kinds.SERVICE, "1a", False),
            "a role may be called anything that fits a URL": (kinds.ROLE, "system:node", True),
            "but no more than that": (kinds.ROLE, "a%b", False),
        }
    ),
)
def test_names_of_a_kind(kind: kinds.Kind, name: str, good: bool) -> None:
    assert (problems(kind, {"metadata.name": name}) == []) is good


def test_a_generated_name_may_begin_with_a_prefix_that_ends_in_a_dash() -> None:
    assert problems(kinds.POD, {"metadata.generateName": "web-"}) == []
    assert problems(kinds.POD, {"metadata.generateName": "Web-"}) != []
