from __future__ import annotations

from edgek.agent.kubelet.applied import Applied
from edgek.agent.kubelet.lifecycle import Seen
from edgek.model.objects import Object
from tests.agent.kubelet.values import grown, ran, seen

SMALL, LARGE = {"limits": {"cpu": "1"}}, {"limits": {"cpu": "2"}}


def a_pod(resources: Object, **status: object) -> Object:
    return {"spec": {"containers": [{"name": "main", "resources": resources}]}, "status": status}


def running() -> Seen:
    return seen(grown(ran("main"), id="c1"))


def test_a_container_of_which_nothing_is_known_has_what_its_spec_says() -> None:
    applied = Applied()
    assert applied.to(a_pod(SMALL), running()) == {"c1": SMALL}
    assert not applied.differ(a_pod(SMALL), running())


def test_a_spec_that_changes_differs_until_the_container_was_given_it() -> None:
    applied = Applied()
    applied.to(a_pod(SMALL), running())
    assert applied.to(a_pod(LARGE), running()) == {"c1": SMALL}
    assert applied.differ(a_pod(LARGE), running())
    applied.give(a_pod(LARGE), "c1", "main")
    assert not applied.differ(a_pod(LARGE), running())


def test_what_the_api_showed_before_we_started_counts() -> None:
    shown = [{"name": "main", "containerID": "containerd://c1", "resources": SMALL}]
    assert Applied().to(a_pod(LARGE, containerStatuses=shown), running()) == {"c1": SMALL}


def test_of_a_pod_that_nobody_knows_there_is_nothing_to_tell() -> None:
    assert Applied().to(None, running()) == {}
