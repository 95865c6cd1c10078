"""The numbers of a rollout, as laws and as examples."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgek.model.objects import Object
from edgek.server.controllers import rollout


def deployment(replicas: int, surge: Any = "25%", unavailable: Any = "25%") -> Object:
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    return {"metadata": {"name": "web"}, "spec": {"replicas": replicas, "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling}}}


def replica_set(name: str, replicas: int, available: int, **annotations: str) -> Object:
    meta = {"name": name, "creationTimestamp": "2027-01-01T00:00:00Z", "annotations": annotations}
    return {"metadata": meta, "spec": {"replicas": replicas}, "status": {"replicas": replicas, "availableReplicas": available}}


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        (10, "25%", "25%", (3, 2)),
        (10, 0, 0, (0, 1)),
        (1, "25%", "25%", (1, 0)),
        (1, "0%", "1%", (0, 1)),
        (4, 2, "100%", (2, 4)),
    ],
)
def test_surge_is_rounded_up_and_unavailability_down_and_something_can_always_move(
    replicas: int, surge: Any, unavailable: Any, expected: tuple[int, int]
) -> None:
    assert rollout.fenceposts(deployment(replicas, surge, unavailable)) == expected


def test_pods_that_serve_nobody_go_first() -> None:
    broken, sound = replica_set("broken", 3, 0), replica_set("sound", 7, 7)
    sizes = rollout.old_sizes(deployment(10), replica_set("new", 0, 0), [sound, broken])
    assert sizes == {"broken": 1, "sound": 7}


shares = st.integers(0, 100).map(lambda share: f"{share}%")
amounts = st.one_of(shares, st.integers(0, 10))
old_sets = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=4)


@given(st.integers(0, 30), amounts, amounts, old_sets, st.integers(0, 30))
def test_a_step_never_goes_beyond_surge_or_below_availability(
    replicas: int, surge: Any, unavailable: Any, old: list[tuple[int, int]], current: int
) -> None:
    wanted = deployment(replicas, surge, unavailable)
    old_ones = [replica_set(f"old-{number}", size, min(size, available)) for number, (size, available) in enumerate(old)]
    newest = replica_set("new", current, current)
    total = rollout.total_wanted([*old_ones, newest])
    grown = rollout.new_size(wanted, [*old_ones, newest], current)
    if grown > current:
        assert total - current + grown <= replicas + rollout.max_surge(wanted)
    sizes = rollout.old_sizes(wanted, newest, old_ones)
    available = rollout.total_seen([*old_ones, newest], "availableReplicas")
    # At worst the pods that go are those that serve, beyond the ones that do not.
    lost = sum(max(0, rollout.seen(each, "availableReplicas") - sizes[each["metadata"]["name"]]) for each in old_ones)
    assert lost == 0 or available - lost >= replicas - rollout.max_unavailable(wanted)
    assert all(0 <= sizes[each["metadata"]["name"]] <= rollout.wanted_replicas(each) for each in old_ones)


@given(st.integers(1, 50), st.integers(1, 50), st.lists(st.integers(1, 20), min_size=2, max_size=4))
def test_scaling_amid_a_rollout_gives_out_exactly_the_difference(before: int, after: int, sizes: list[int]) -> None:
    most = str(before + rollout.max_surge(deployment(before)))
    active = [replica_set(f"rs-{number}", size, size, **{rollout.MOST: most}) for number, size in enumerate(sizes)]
    wanted = deployment(after)
    found = rollout.proportional_sizes(wanted, active)
    assert set(found) == {each["metadata"]["name"] for each in active}
    assert all(size >= 0 for size in found.values())
    if sum(sizes) <= int(most):  # as it is when a rollout keeps to its surge
        assert sum(found.values()) == after + rollout.max_surge(wanted)
