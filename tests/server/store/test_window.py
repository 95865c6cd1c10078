"""The watch window: what leaves it, and what a list looked like before."""

from __future__ import annotations

from edgek.server.store.backend import Event, Record
from edgek.server.store.window import EVENT_BYTES, Window
from tests.server.store.drafts import key


def record(name: str, revision: int, body: bytes = b"", *, resource: str = "pods", namespace: str = "default") -> Record:
    return Record(key(name, namespace=namespace, resource=resource), "uid", revision, body, {}, {})


def added(name: str, revision: int, *, resource: str = "pods", namespace: str = "default") -> Event:
    return Event("ADDED", record(name, revision, resource=resource, namespace=namespace), None)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_events_are_found_by_resource_and_namespace_in_order() -> None:
    window = Window(1, clock=Clock())
    window.add([added("a", 2), added("b", 3, namespace="other"), added("c", 4, resource="nodes"), added("d", 5)])
    assert [event.record.key.name for event in window.after("pods", "", 1)] == ["a", "b", "d"]
    assert [event.record.key.name for event in window.after("pods", "default", 2)] == ["d"]
    assert window.after("pods", "", 5) == window.after("services", "", 1) == []


def test_too_many_events_push_out_the_oldest() -> None:
    window = Window(1, clock=Clock(), max_events=2)
    window.add([added("a", 2), added("b", 3, resource="nodes"), added("c", 4)])
    assert (len(window), window.oldest) == (2, 2)
    assert window.after("pods", "", 2) == window.after("pods", "", 1)


def test_bodies_that_only_the_window_keeps_count_against_its_bytes() -> None:
    """A current body is the store's own: a thousand large creations weigh no more than small ones."""
    window = Window(1, clock=Clock(), max_bytes=3 * EVENT_BYTES + 2500)
    first, second = record("a", 2, b"x" * 1000), record("a", 3, b"x" * 1000)
    window.add([Event("ADDED", first, None)])
    window.add([Event("MODIFIED", second, first)])
    assert window.oldest == 1
    window.add([Event("DELETED", record("a", 4, b"x" * 1000), second)])
    assert window.oldest == 2


def test_age_counts_when_somebody_looks() -> None:
    clock = Clock()
    window = Window(1, clock=clock, max_age_s=300)
    window.add([added("a", 2)])
    clock.now = 200
    window.add([added("b", 3)])
    clock.now = 301
    assert (window.oldest, len(window)) == (2, 1)
    clock.now = 501
    assert (window.oldest, len(window)) == (3, 0)


def test_undoing_shows_each_changed_place_as_it_was() -> None:
    window = Window(1, clock=Clock())
    old, newer, newest = record("a", 2), record("a", 4), record("a", 5)
    window.add([Event("ADDED", old, None), added("b", 3), Event("MODIFIED", newer, old), Event("MODIFIED", newest, newer)])
    window.add([Event("DELETED", record("c", 6), record("c", 1))])
    then = window.undone("pods", 2)
    assert then["default", "a"] is old
    assert then["default", "b"] is None
    assert then["default", "c"] is not None
    assert window.undone("pods", 6) == {}


def test_compaction_forgets_up_to_a_revision_and_moves_the_beginning_there() -> None:
    window = Window(1, clock=Clock())
    window.add([added("a", 2), added("b", 5)])
    window.compact(4)
    assert (window.oldest, len(window)) == (4, 1)
    window.compact(3)
    assert window.oldest == 4
