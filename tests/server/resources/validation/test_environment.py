"""Fields of a pod that its environment may show."""

from __future__ import annotations

import pytest

from edgek.server.resources.validation.environment import check_field_ref
from edgek.server.resources.validation.fields import SPEC, Errors

ALLOWED = ("metadata.name",)


def problems(path: str) -> list[str]:
    errors = Errors()
    check_field_ref(errors, SPEC / "env", {"apiVersion": "v1", "fieldPath": path}, ALLOWED, subscripts=True)
    return [found.cause().message for found in errors.found]


@pytest.mark.parametrize("path", ["metadata.name", "metadata.labels['a']", "metadata.annotations['example.com/a']"])
def test_a_field_and_one_of_the_labels_or_annotations_may_be_shown(path: str) -> None:
    assert problems(path) == []


@pytest.mark.parametrize("path", ["metadata.nope", "metadata.labels['a'", "['a']", "metadata.labels['a b']", "spec.nodeName['a']"])
def test_others_may_not(path: str) -> None:
    assert len(problems(path)) == 1


def test_a_path_of_brackets_alone_is_read_once() -> None:
    path = "metadata.labels" + "['" * 500_000  # three megabytes of these would have held up the server for hours
    assert len(problems(path)) == 1
