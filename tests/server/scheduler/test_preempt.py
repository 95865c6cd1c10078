"""Who must go for a more important pod, and who may stay."""

from __future__ import annotations

from typing import Any

import attrs

from edgek.server.scheduler.preempt import preempt
from edgek.server.scheduler.views import Pod
from tests.server.scheduler.test_choose import AWAY, NO_SCHEDULE, cluster, node, pod


def of(priority: int, name: str = "p", *, cpu: str = "1", **more: Any) -> Pod:
    return pod(name, cpu=cpu, priority=priority, **more)


def lost(wanted: Pod, *nodes: Any, on: dict[str, list[Pod]]) -> tuple[str, set[str]] | None:
    found = preempt(wanted, cluster(*nodes, on=on))
    return (found.node, {victim.name for victim in found.victims}) if found else None


def test_a_less_important_pod_makes_room():
    assert lost(of(10), node("a", cpu="1"), on={"a": [of(5, "less")]}) == ("a", {"less"})


def test_a_less_important_pod_that_wants_to_be_alone_must_go():
    alone = of(5, "alone", cpu="100m", affinity=AWAY)
    assert lost(of(10, cpu="100m", labels={"app": "db"}), node("a"), on={"a": [of(5, "less", cpu="100m"), alone]}) == ("a", {"alone"})


def test_an_equal_one_does_not():
    assert lost(of(10), node("a", cpu="1"), on={"a": [of(10, "equal")]}) is None


def test_whoever_can_stay_stays_and_the_more_important_first():
    pods = [of(1, "one"), of(2, "two"), of(3, "three")]
    assert lost(of(10), node("a", cpu="3"), on={"a": pods}) == ("a", {"one"})


def test_the_node_with_the_least_important_victims_is_taken():
    on = {"a": [of(5, "five")], "b": [of(1, "one")]}
    assert lost(of(10), node("a", cpu="1"), node("b", cpu="1"), on=on) == ("b", {"one"})


def test_nobody_goes_where_it_would_not_help():
    assert lost(of(10), node("a", cpu="1", taints=[NO_SCHEDULE]), on={"a": [of(1, "one")]}) is None
    assert lost(of(10, cpu="4"), node("a", cpu="2"), on={"a": [of(1, "one")]}) is None


def test_nobody_else_goes_where_those_in_the_way_are_going_already():
    going = attrs.evolve(of(1, "going"), deleting=True)
    on = {"a": [going], "b": [of(1, "one")]}
    assert lost(of(10), node("a", cpu="1"), node("b", cpu="1"), on=on) == ("a", set())


def test_room_promised_to_an_equal_is_made_a_second_time_for_another():
    snapshot = cluster(node("a", cpu="2"), on={"a": [of(1, "one"), attrs.evolve(of(1, "going"), deleting=True)]})
    snapshot.promise(of(10, "before"), "a")
    found = preempt(of(10, "after"), snapshot)
    assert found is not None
    assert [victim.name for victim in found.victims] == ["one"]


def test_a_pod_that_never_preempts_waits():
    assert lost(of(10, preemptionPolicy="Never"), node("a", cpu="1"), on={"a": [of(5, "less")]}) is None


def test_a_claim_that_is_not_there_cannot_be_helped_that_way():
    claims = {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "none"}}]}
    assert lost(of(10, **claims), node("a", cpu="1"), on={"a": [of(5, "less")]}) is None
