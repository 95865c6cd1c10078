"""Of the classes that are marked as default, one is."""

from __future__ import annotations

from edgek.model.default_class import INGRESS, STORAGE, newest_default
from edgek.model.objects import Object


def a_class(name: str, created: str, mark: str = STORAGE[0], value: str = "true") -> Object:
    return {"metadata": {"name": name, "creationTimestamp": created, "annotations": {mark: value}}}


def test_the_newest_counts_and_among_equals_the_first_by_name() -> None:
    old, new, too = a_class("a", "2026-01-01T00:00:00Z"), a_class("c", "2026-02-01T00:00:00Z"), a_class("b", "2026-02-01T00:00:00Z", STORAGE[1])
    assert newest_default([old, new, too], STORAGE) == "b"


def test_what_is_not_marked_or_marked_with_another_word_is_none() -> None:
    assert newest_default([{"metadata": {"name": "x"}}, a_class("y", "", value="false"), a_class("z", "", INGRESS[0])], STORAGE) == ""
