"""What is found out once for all nodes, and for how long that is good."""

from __future__ import annotations

from edgek.server.scheduler.snapshot import NodeState, Snapshot
from tests.server.scheduler.test_choose import AWAY, cluster, node, pod


class Question:
    """How many pods there are, and how often that was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def of(self, snapshot: Snapshot) -> int:
        def find() -> int:
            self.asked += 1
            return sum(len(state.pods) for state in snapshot.nodes.values())

        return snapshot.once("pods", find)


def test_in_a_still_snapshot_rules_find_out_once_what_is_the_same_for_all_nodes() -> None:
    question, still = Question(), cluster(node("a"), on={"a": [pod("one")]}).still()
    assert [question.of(still), question.of(still)] == [1, 1]
    assert question.asked == 1


def test_in_one_that_changes_nothing_is_kept() -> None:
    question, snapshot = Question(), cluster(node("a"), on={"a": [pod("one")]})
    assert question.of(snapshot) == 1
    snapshot.place(pod("two"), "a")
    assert question.of(snapshot) == 2
    assert question.of(snapshot.still()) == 2


def test_what_was_found_out_says_nothing_of_another_node_in_its_place() -> None:
    question, still = Question(), cluster(node("a"), on={"a": [pod("one")]}).still()
    assert question.of(still) == 1
    assert question.of(still.with_node(NodeState(node("a")))) == 0
    assert question.of(still) == 1


def test_a_pod_is_promised_room_on_one_node_at_most() -> None:
    snapshot, awaited = cluster(node("a"), node("b")), pod("awaited")
    snapshot.promise(awaited, "a")
    snapshot.promise(awaited, "b")
    assert [snapshot.promised(name, pod("other")) for name in ("a", "b")] == [[], [awaited]]
    assert [snapshot.release(awaited.uid), snapshot.release(awaited.uid)] == ["b", ""]


def test_one_node_in_the_place_of_another_costs_one_answer() -> None:
    asked: list[str] = []

    def count(state: NodeState) -> int:
        asked.append(state.node.name)
        return len(state.pods)

    still = cluster(node("a"), node("b"), on={"a": [pod("one")], "b": [pod("two")]}).still()
    assert still.of_each("pods", count) == {"a": 1, "b": 1}
    emptied = still.with_node(NodeState(node("b")))
    assert emptied.of_each("pods", count) == {"a": 1, "b": 0}
    assert still.of_each("pods", count) == {"a": 1, "b": 1}
    assert asked == ["a", "b", "b"]


def test_who_keeps_off_goes_with_his_pod() -> None:
    snapshot = cluster(node("a"), on={"a": [pod("shy", affinity=AWAY), pod("plain")]})
    assert list(snapshot.nodes["a"].keeping_off) == ["uid-shy"]
    snapshot.remove("uid-shy")
    assert not snapshot.nodes["a"].keeping_off
