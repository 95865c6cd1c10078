"""Pods from templates, and how many are tried at once."""

from __future__ import annotations

import pytest
import trio

from edgek.client.transport import Disconnected
from edgek.model import errors, kinds
from edgek.model.objects import Object
from edgek.server.controllers import podmaking

OWNER: Object = {"metadata": {"name": "web", "namespace": "shop", "uid": "u-1"}}


def test_a_pod_takes_after_its_template_and_not_by_sharing() -> None:
    template = {
        "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}, "finalizers": ["my/hold"]},
        "spec": {"containers": [{"name": "main"}]},
    }
    made = podmaking.from_template(template, OWNER, kinds.REPLICA_SET, labels={"e": "f"})
    assert made["metadata"]["labels"] == {"a": "b", "e": "f"}
    assert made["metadata"]["annotations"] == {"c": "d"}
    assert made["metadata"]["finalizers"] == ["my/hold"]
    assert made["metadata"]["generateName"] == "web-"
    assert made["metadata"]["namespace"] == "shop"
    made["spec"]["containers"][0]["name"] = "changed"
    assert template["spec"] == {"containers": [{"name": "main"}]}


def test_equal_templates_have_the_same_hash_and_a_collision_another() -> None:
    one = podmaking.hash_of({"a": 1, "b": [2]})
    assert one == podmaking.hash_of({"b": [2], "a": 1})
    assert one != podmaking.hash_of({"a": 1, "b": [3]})
    assert one != podmaking.hash_of({"a": 1, "b": [2]}, 1)
    assert set(one) <= set(podmaking.ALPHABET)


async def test_a_start_is_slow_only_while_it_fails() -> None:
    rounds: list[int] = []
    running = 0

    async def make(number: int) -> None:
        nonlocal running
        running += 1
        await trio.testing.wait_all_tasks_blocked()
        if running:
            rounds.append(running)
            running = 0
        if number >= 6:
            raise errors.Forbidden("enough")

    made, failure = await podmaking.slow_start(100, make)
    assert rounds == [1, 2, 4]
    assert made == 6
    assert isinstance(failure, errors.Forbidden)


async def test_one_that_fails_does_not_stop_those_beside_it() -> None:
    done: list[int] = []

    async def make(number: int) -> None:
        if number == 1:
            raise Disconnected("cut")
        await trio.lowlevel.checkpoint()
        done.append(number)

    failures = await podmaking.together([lambda number=number: make(number) for number in range(4)])  # type: ignore[misc]
    assert sorted(done) == [0, 2, 3]
    assert [failure is not None for failure in failures] == [False, True, False, False]


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (errors.Forbidden("x", causes=[errors.Cause("NamespaceTerminating", "y")]), True),
        (errors.Forbidden("exceeded quota"), False),
        (Disconnected("cut"), False),
        (None, False),
    ],
)
def test_a_namespace_on_its_way_out_is_told_from_other_refusals(failure: podmaking.Failure | None, expected: bool) -> None:
    assert podmaking.is_terminating_namespace(failure) is expected
