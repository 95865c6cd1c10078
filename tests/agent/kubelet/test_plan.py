"""What is done next for a pod: a table of situations, each with its answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgek.agent.kubelet.actions import (
    Action,
    CreateSandbox,
    Finish,
    Forget,
    Kill,
    KillContainers,
    PrepareVolumes,
    RemoveContainer,
    RemoveSandbox,
    StartContainer,
    StopSandbox,
    UnmountVolumes,
    Wait,
)
from edgek.agent.kubelet.lifecycle import Circumstances, Health, Seen, Trouble, Verdict
from edgek.agent.kubelet.plan import plan
from edgek.model.objects import Object
from tests.agent.kubelet.values import NOW, a_pod, a_sandbox, init, ran, seen, sidecar


def around(**changes: Any) -> Circumstances:
    return Circumstances(NOW, **changes)


def kill(name: str, grace_s: float = 30.0, attempt: int = 0) -> Kill:
    return Kill(f"{name}-{attempt}", name, grace_s)


TABLE: list[tuple[str, Object | None, Seen, Circumstances, list[Action]]] = [
    ("a new pod gets its volumes first", a_pod(), seen(boxes=()), around(volumes_ready=False), [PrepareVolumes()]),
    ("then its sandbox", a_pod(), seen(boxes=()), around(), [CreateSandbox(0)]),
    ("then its containers, in their order", a_pod("a", "b"), seen(), around(), [StartContainer("a", 0), StartContainer("b", 0)]),
    ("a pod that runs is left alone", a_pod(), seen(ran("main")), around(), []),
    (
        "a pod that runs has its volumes looked after following our own start",
        a_pod(),
        seen(ran("main")),
        around(volumes_ready=False),
        [PrepareVolumes()],
    ),
    (
        "volumes that failed are waited for",
        a_pod(),
        seen(boxes=()),
        around(volumes_ready=False, troubles={"/volumes": Trouble("FailedMount", "no", NOW + 5)}),
        [Wait("", NOW + 5)],
    ),
    ("the first crash is mended at once", a_pod(), seen(ran("main", "exited", 1)), around(), [StartContainer("main", 1, 10.0)]),
    (
        "the next waits",
        a_pod(),
        seen(ran("main", "exited", 1, attempt=1, back_off=10)),
        around(),
        [Wait("main", NOW + 10, "CrashLoopBackOff", "back-off 10s restarting failed container=main pod=web_default(u1)")],
    ),
    (
        "and then it starts, with twice the pause behind it",
        a_pod(),
        seen(ran("main", "exited", 1, attempt=1, back_off=10, ended_ago_s=10)),
        around(),
        [StartContainer("main", 2, 20.0)],
    ),
    (
        "the pause grows to five minutes and no further",
        a_pod(),
        seen(ran("main", "exited", 1, attempt=9, back_off=300, ended_ago_s=300)),
        around(),
        [StartContainer("main", 10, 300.0)],
    ),
    (
        "ten good minutes make it forgotten",
        a_pod(),
        seen(ran("main", "exited", 1, attempt=9, back_off=300, ran_s=601)),
        around(),
        [StartContainer("main", 10, 10.0)],
    ),
    (
        "only the two newest of a container are kept",
        a_pod(),
        seen(ran("main", "exited", 1, attempt=1, back_off=0), ran("main", "exited", 1)),
        around(),
        [RemoveContainer("main-0", "main"), StartContainer("main", 2, 10.0)],
    ),
    ("OnFailure leaves what succeeded", a_pod("a", "b", restartPolicy="OnFailure"), seen(ran("a", "exited", 0), ran("b")), around(), []),
    (
        "OnFailure starts what failed again",
        a_pod("a", "b", restartPolicy="OnFailure"),
        seen(ran("a", "exited", 1), ran("b")),
        around(),
        [StartContainer("a", 1, 10.0)],
    ),
    ("Never leaves what failed", a_pod("a", "b", restartPolicy="Never"), seen(ran("a", "exited", 1), ran("b")), around(), []),
    ("a pod that is over has its sandbox stopped", a_pod(restartPolicy="Never"), seen(ran("main", "exited", 0)), around(), [StopSandbox("box0")]),
    (
        "and its volumes taken down",
        a_pod(restartPolicy="Never"),
        seen(ran("main", "exited", 0), boxes=(a_sandbox(ready=False),)),
        around(volumes_present=True),
        [UnmountVolumes()],
    ),
    ("init containers come first", a_pod(init=(init("i"), init("j"))), seen(), around(), [StartContainer("i", 0)]),
    ("one after another", a_pod(init=(init("i"), init("j"))), seen(ran("i", "exited", 0)), around(), [StartContainer("j", 0)]),
    ("and are waited for", a_pod(init=(init("i"),)), seen(ran("i")), around(), []),
    ("when they are done the others start", a_pod(init=(init("i"),)), seen(ran("i", "exited", 0)), around(), [StartContainer("main", 0)]),
    ("a failed one is tried again", a_pod(init=(init("i"),)), seen(ran("i", "exited", 2)), around(), [StartContainer("i", 1, 10.0)]),
    ("or is the end with Never", a_pod(init=(init("i"),), restartPolicy="Never"), seen(ran("i", "exited", 2)), around(), [StopSandbox("box0")]),
    (
        "init containers that were removed since are not run again beside their pod",
        a_pod(init=(init("i"),)),
        seen(ran("main")),
        around(),
        [],
    ),
    (
        "a sidecar holds up the others until it has started",
        a_pod(init=(sidecar("s"),)),
        seen(ran("s")),
        around(health={"s-0": Health(started=False)}),
        [],
    ),
    ("and no longer", a_pod(init=(sidecar("s"),)), seen(ran("s")), around(health={"s-0": Health()}), [StartContainer("main", 0)]),
    (
        "a sidecar that ended is started again beside its pod",
        a_pod(init=(sidecar("s"),), restartPolicy="Never"),
        seen(ran("s", "exited", 0), ran("main")),
        around(),
        [StartContainer("s", 1, 10.0)],
    ),
    (
        "a liveness probe that failed ends its container",
        a_pod(),
        seen(ran("main")),
        around(health={"main-0": Health(failed="liveness probe")}),
        [KillContainers((kill("main"),), why="Container main failed liveness probe, will be restarted")],
    ),
    (
        "a sandbox that died is replaced",
        a_pod(),
        seen(ran("main", "exited", 137), boxes=(a_sandbox(ready=False),)),
        around(),
        [CreateSandbox(1, changed=True)],
    ),
    (
        "after what is left of it was ended",
        a_pod(),
        seen(ran("main"), boxes=(a_sandbox(ready=False),)),
        around(),
        [KillContainers((kill("main"),))],
    ),
    (
        "in a new sandbox everything starts again, init containers too",
        a_pod(init=(init("i"),)),
        seen(ran("i", "exited", 0), ran("main", "exited", 255), boxes=(a_sandbox(ready=False), a_sandbox(1))),
        around(),
        [StartContainer("i", 1, 10.0)],
    ),
    (
        "two ready sandboxes are one too many",
        a_pod(),
        seen(boxes=(a_sandbox(), a_sandbox(1))),
        around(),
        [StopSandbox("box1"), StopSandbox("box0")],
    ),
    (
        "a container that was made and never started is made anew",
        a_pod(),
        seen(ran("main", "created")),
        around(),
        [RemoveContainer("main-0", "main")],
    ),
    (
        "a trouble is waited for, and said",
        a_pod(),
        seen(),
        around(troubles={"main": Trouble("ErrImagePull", "no such image", NOW + 3)}),
        [Wait("main", NOW + 3, "ErrImagePull", "no such image")],
    ),
    (
        "a deleted pod ends: all together, then the sidecars backwards",
        a_pod("a", "b", deleting_s=7, init=(sidecar("s"), sidecar("t"))),
        seen(ran("s"), ran("t"), ran("a"), ran("b")),
        around(),
        [KillContainers((kill("a", 7), kill("b", 7)), (kill("t", 7), kill("s", 7)))],
    ),
    ("then its sandbox", a_pod(deleting_s=7), seen(ran("main", "exited", 0)), around(), [StopSandbox("box0")]),
    (
        "then it is over",
        a_pod(deleting_s=7),
        seen(ran("main", "exited", 0), boxes=(a_sandbox(ready=False),)),
        around(),
        [UnmountVolumes(), Finish()],
    ),
    ("a deleted pod of which nothing ran is over at once", a_pod(deleting_s=30), seen(boxes=()), around(), [UnmountVolumes(), Finish()]),
    (
        "what the API forgot is removed",
        None,
        seen(ran("main", "exited", 0)),
        around(),
        [StopSandbox("box0"), RemoveContainer("main-0", "main"), RemoveSandbox("box0"), UnmountVolumes(), Forget()],
    ),
    ("after it was ended", None, seen(ran("main")), around(), [KillContainers((kill("main"),))]),
    (
        "an evicted pod ends quickly",
        a_pod(),
        seen(ran("main")),
        around(verdict=Verdict("Evicted", "memory", grace_s=1)),
        [KillContainers((kill("main", 1),))],
    ),
    ("a refused pod does nothing", a_pod(), seen(boxes=()), around(verdict=Verdict("OutOfcpu", "no")), []),
    ("a pod that the API calls failed never starts", a_pod(phase="Failed"), seen(boxes=()), around(), []),
    (
        "an ephemeral container starts beside the others, once",
        a_pod(ephemeralContainers=[{"name": "debug", "image": "debug:1"}]),
        seen(ran("main")),
        around(),
        [StartContainer("debug", 0)],
    ),
    (
        "and never again",
        a_pod(ephemeralContainers=[{"name": "debug", "image": "debug:1"}]),
        seen(ran("main"), ran("debug", "exited", 1)),
        around(),
        [],
    ),
]


@pytest.mark.parametrize(("pod", "sight", "given_", "wanted"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_what_is_done_next(pod: Object | None, sight: Seen, given_: Circumstances, wanted: list[Action]) -> None:
    assert plan(pod, sight, given_) == wanted


def test_a_container_with_another_image_is_replaced() -> None:
    pod = a_pod()
    pod["spec"]["containers"][0]["image"] = "main:2"
    assert plan(pod, seen(ran("main")), around()) == [KillContainers((kill("main"),), why="Container main definition changed, will be restarted")]


def test_a_deadline_is_waited_for() -> None:
    pod = a_pod(activeDeadlineSeconds=60, phase="Running")
    pod["status"]["startTime"] = "1970-01-01T02:46:00Z"  # NOW is 02:46:40
    assert plan(pod, seen(ran("main")), around()) == [Wait("", NOW + 20)]


def test_the_hook_and_grace_of_an_unknown_pod_stand_on_its_containers() -> None:
    hooked = ran("main", annotations={"io.kubernetes.container.preStopHandler": '{"sleep":{"seconds":3}}'})
    assert plan(None, seen(hooked), around()) == [KillContainers((Kill("main-0", "main", 30.0, {"sleep": {"seconds": 3}}),))]


STATES = st.sampled_from(["created", "running", "exited", "unknown"])
CONTAINERS = st.builds(
    ran,
    st.sampled_from(["main", "i", "s"]),
    STATES,
    st.integers(0, 2),
    attempt=st.integers(0, 3),
    box=st.integers(0, 1),
    ended_ago_s=st.integers(0, 400),
)
SIGHTS = st.builds(
    lambda containers, ready: seen(*containers, boxes=(a_sandbox(0, ready=ready[0]), a_sandbox(1, ready=ready[1]))),
    st.lists(CONTAINERS, max_size=5, unique_by=lambda c: c.id),
    st.tuples(st.booleans(), st.booleans()),
)


@given(SIGHTS, st.sampled_from(["Always", "OnFailure", "Never"]))
def test_a_deleted_pod_never_starts_anything(sight: Seen, policy: str) -> None:
    actions = plan(a_pod(deleting_s=5, init=(init("i"), sidecar("s")), restartPolicy=policy), sight, around())
    assert not any(isinstance(action, StartContainer | CreateSandbox) for action in actions)
    assert actions  # there is always something left to do until it is finished


@given(SIGHTS)
def test_no_plan_starts_a_container_that_runs(sight: Seen) -> None:
    running = {c.name for c in sight.containers if c.state == "running" and sight.sandbox and c.sandbox_id == sight.sandbox.id}
    newest = {name for name in running if (found := sight.current(name)) and found.state == "running"}
    started = {action.name for action in plan(a_pod(init=(init("i"), sidecar("s"))), sight, around()) if isinstance(action, StartContainer)}
    assert not started & newest


def test_a_clock_that_was_set_back_keeps_nothing_waiting() -> None:
    future = ran("main", "exited", 1, attempt=3, back_off=40, ended_ago_s=-100_000)
    assert plan(a_pod(), seen(future), around()) == [StartContainer("main", 4, 80.0)]
    stale = around(troubles={"main": Trouble("ErrImagePull", "", NOW + 100_000)})
    assert plan(a_pod(), seen(), stale) == [StartContainer("main", 0)]


def test_a_pod_whose_time_without_the_server_is_over_is_ended_and_waits() -> None:
    away = around(away="stop")
    assert plan(a_pod(), seen(ran("main")), away) == [KillContainers((Kill("main-0", "main", 30.0),))]
    ended = ran("main", "exited", 143)
    assert plan(a_pod(), seen(ended), away) == [StopSandbox("box0")]
    (wait,) = plan(a_pod(), seen(ended, boxes=(a_sandbox(0, ready=False),)), away)
    assert isinstance(wait, Wait)
    assert (wait.name, wait.reason, wait.until) == ("main", "ServerAway", float("inf"))


def test_a_pod_of_which_nobody_knows_whether_it_may_run_begins_nothing_and_goes_on() -> None:
    unsure = around(away="unsure")
    assert [type(action) for action in plan(a_pod(), seen(boxes=()), unsure)] == [Wait]
    assert plan(a_pod(), seen(ran("main")), unsure) == []


def test_a_pod_that_is_deleted_ends_whether_the_server_is_away_or_not() -> None:
    assert plan(a_pod(deleting_s=5), seen(boxes=()), around(away="stop")) == [UnmountVolumes(), Finish()]


def test_a_container_that_was_ended_because_the_server_was_away_begins_again_at_once() -> None:
    ended = ran("main", "exited", 143, attempt=2, back_off=40, ended_ago_s=1)
    assert plan(a_pod(), seen(ended), around(excused=frozenset({ended.id}))) == [StartContainer("main", 3, 0.0)]


@given(SIGHTS)
def test_nothing_is_started_while_the_server_is_away_for_too_long(sight: Seen) -> None:
    actions = plan(a_pod(init=(init("i"), sidecar("s"))), sight, around(away="stop"))
    assert not any(isinstance(action, StartContainer | CreateSandbox) for action in actions)
    assert actions
