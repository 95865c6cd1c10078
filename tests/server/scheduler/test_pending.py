from edgek.server.scheduler import views
from edgek.server.scheduler.pending import Pending


def pod(name: str, *, priority: int = 0, created: str = "2026-01-01T00:00:00Z") -> views.Pod:
    meta = {"namespace": "default", "name": name, "uid": name, "creationTimestamp": created}
    return views.pod({"metadata": meta, "spec": {"priority": priority}})


def names(pending: Pending) -> list[str]:
    found = []
    while (one := pending.pop()) is not None:
        found.append(one.name)
    return found


def test_the_most_important_pod_is_next_and_among_equals_the_oldest():
    pending = Pending()
    for one in (pod("young", created="2026-01-02T00:00:00Z"), pod("old"), pod("urgent", priority=5, created="2026-01-03T00:00:00Z")):
        pending.put(one)
    assert names(pending) == ["urgent", "old", "young"]


def test_a_parked_pod_comes_back_when_something_happens_that_its_rules_care_about():
    pending = Pending()
    pending.park(pod("p"), ["NodePorts"])
    assert not pending.wake("volume")
    assert names(pending) == []
    assert pending.wake("pod gone")
    assert names(pending) == ["p"]


def test_a_pod_that_changed_while_it_was_tried_is_tried_again():
    pending = Pending()
    pending.put(pod("p"))
    tried = pending.pop()
    pending.put(pod("p", priority=1))
    pending.park(tried, ["NodeName"])
    assert pending.pop().priority == 1


def test_a_dropped_pod_is_neither_tried_nor_woken():
    pending = Pending()
    pending.put(pod("p"))
    pending.park(pod("q"), ["NodeName"])
    pending.drop("p")
    pending.drop("q")
    pending.wake("node")
    assert names(pending) == []


def test_only_those_who_are_concerned_are_woken():
    pending = Pending()
    for name in ("p", "q"):
        pending.park(pod(name), ["VolumeBinding"])
    assert pending.wake("volume", lambda each: each.name == "q")
    assert names(pending) == ["q"]
    assert not pending.wake("volume", lambda each: each.name == "q")
