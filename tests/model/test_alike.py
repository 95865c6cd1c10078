"""Equal values are one value; others never are."""

from __future__ import annotations

from edgek.model import alike


def fresh(*texts: str) -> tuple[str, ...]:
    return texts  # made anew by each call


def test_equal_values_are_kept_once() -> None:
    assert alike.shared(fresh("a", "b")) is alike.shared(fresh("a", "b"))
    assert alike.shared_map({"app": "web", "tier": "a"}) is alike.shared_map({"tier": "a", "app": "web"})


def test_what_is_empty_stays_what_it_is() -> None:
    assert (alike.shared_map({}), alike.shared(()), alike.shared(frozenset())) == ({}, (), frozenset())


def test_a_mapping_is_not_taken_for_its_items() -> None:
    alike.shared_map({"app": "web"})
    assert alike.shared(("map", ("app", "web"))) == ("map", ("app", "web"))
    assert alike.shared((("app", "web"),)) == (("app", "web"),)


def test_sharing_begins_anew_before_it_costs_more_than_it_spares() -> None:
    first = alike.shared(("first",))
    for number in range(alike.KEPT_MOST):
        alike.shared((number,))
    assert alike.shared(fresh("first")) == first
    assert alike.shared(fresh("first")) is not first
