"""Few writes, full slices."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edgek.server.controllers.slices import SLICE_MOST, Frame, Ports, plan

FRAME = Frame("default", "web", {"a": "b"}, {}, {"kind": "Service", "uid": "s"}, "IPv4")
HTTP: Ports = (("http", 80, "TCP", ""),)
DNS: Ports = (("dns", 53, "UDP", ""),)


def endpoint(number: int) -> dict[str, Any]:
    return {"addresses": [f"10.0.{number // 256}.{number % 256}"], "conditions": {"ready": True}}


FRESH = itertools.count()  # names are never used again


def apply(existing: list[dict[str, Any]], wanted: dict[Ports, list[dict[str, Any]]]) -> tuple[list[dict[str, Any]], int]:
    """The slices after a plan was carried out, and how many writes it took."""
    made = plan(FRAME, existing, wanted)
    by_name = {each["metadata"]["name"]: each for each in existing}
    for each in made.delete:
        del by_name[each["metadata"]["name"]]
    for each in made.update:
        by_name[each["metadata"]["name"]] = each
    for each in made.create:
        name = f"web-{next(FRESH)}"
        by_name[name] = {**each, "metadata": {**each["metadata"], "name": name}}
    return list(by_name.values()), len(made.delete) + len(made.update) + len(made.create)


def numbers(slices: list[dict[str, Any]]) -> set[str]:
    return {address for each in slices for entry in each["endpoints"] for address in entry["addresses"]}


def test_endpoints_beyond_one_slice_fill_the_next() -> None:
    slices, _ = apply([], {HTTP: [endpoint(n) for n in range(250)]})
    assert sorted(len(each["endpoints"]) for each in slices) == [50, 100, 100]


def test_one_new_endpoint_is_one_write() -> None:
    slices, _ = apply([], {HTTP: [endpoint(n) for n in range(250)]})
    slices, writes = apply(slices, {HTTP: [endpoint(n) for n in range(251)]})
    assert writes == 1
    assert len(numbers(slices)) == 251


def test_an_endpoint_that_replaces_another_goes_where_a_write_is_due_anyway() -> None:
    slices, _ = apply([], {HTTP: [endpoint(n) for n in range(150)]})
    _, writes = apply(slices, {HTTP: [endpoint(n) for n in range(1, 151)]})
    assert writes == 1


def test_when_the_ports_change_slices_are_used_again() -> None:
    slices, _ = apply([], {HTTP: [endpoint(1)]})
    again, writes = apply(slices, {DNS: [endpoint(1)]})
    assert writes == 1
    assert again[0]["metadata"]["name"] == slices[0]["metadata"]["name"]


def test_the_last_slice_stays_when_its_endpoints_go() -> None:
    slices, _ = apply([], {HTTP: [endpoint(n) for n in range(150)]})
    slices, _ = apply(slices, {})
    assert [each["endpoints"] for each in slices] == [[]]
    assert apply(slices, {}) == (slices, 0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from([HTTP, DNS]), st.sets(st.integers(0, 300), min_size=1)), min_size=1, max_size=4))
def test_whatever_comes_each_endpoint_is_in_one_slice_and_the_second_plan_is_empty(steps: list[dict[Ports, set[int]]]) -> None:
    slices: list[dict[str, Any]] = []
    for step in steps:
        wanted = {ports: [endpoint(n) for n in sorted(members)] for ports, members in step.items()}
        slices, _ = apply(slices, wanted)
        held = [entry["addresses"][0] for each in slices for entry in each["endpoints"]]
        assert sorted(held) == sorted(each["addresses"][0] for members in wanted.values() for each in members)
        assert all(len(each["endpoints"]) <= SLICE_MOST for each in slices)
        assert apply(slices, wanted)[1] == 0
