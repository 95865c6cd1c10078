"""Scenes of pods on a node: everything is real but the API, the runtime, mounts and time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
import trio.testing

from edgek.agent.kubelet.admission import NodeOffer
from edgek.agent.runtime.runtime import RuntimeFailure
from edgek.client.client import Client
from edgek.client.transport import Disconnected, Request, Response, StreamResponse
from edgek.model import kinds, objects
from tests.agent.kubelet.scene import container, fresh_kubelet, node, pod
from tests.fakes.api import FakeApi
from tests.fakes.programs import Process


async def test_a_pod_runs_and_is_ready(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        await here.create(pod())
        assert here.phase() == "Running"
        assert here.condition("Ready")["status"] == "True"
        assert here.pod()["status"]["podIP"].startswith("10.42.")
        shown = here.shown()
        assert (shown["ready"], shown["started"], shown["restartCount"]) == (True, True, 0)
        assert "running" in shown["state"]
        assert [reason for reason, _ in here.events()] == ["Pulled", "Created", "Started"]


async def test_a_pod_at_rest_is_left_alone(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        await here.create(pod())
        calls, writes = len(here.runtime.calls), len(here.api.writes)
        await here.settle(3600)
        assert (len(here.runtime.calls), len(here.api.writes)) == (calls, writes)


async def test_what_the_api_changes_is_no_reason_to_ask_the_runtime(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        await here.create(pod())
        await here.settle(5)
        asked: list[str] = []
        look = here.runtime.sandboxes

        async def counted(*, uid: str = "") -> Any:
            asked.append(uid)
            return await look(uid=uid)

        here.runtime.sandboxes = counted  # type: ignore[method-assign]
        await here.client.patch(kinds.POD, "web", {"metadata": {"labels": {"a": "b"}}}, "default")
        await here.settle(5)
        assert asked == []
        here.runtime.end(here.shown()["containerID"].rpartition("/")[2], 1)
        await here.settle(5)
        assert asked and here.shown()["restartCount"] == 1


async def test_a_deleted_pod_ends_and_leaves_nothing(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        made = await here.create(pod())
        await here.delete()
        await here.settle(1)
        assert here.gone()
        assert await here.runtime.sandboxes() == []
        assert not (tmp_path / "kubelet" / "pods" / made["metadata"]["uid"]).exists()
        assert here.kubelet.workers == {}
        assert ("Killing", "Stopping container main") in here.events()


async def test_a_stubborn_container_gets_the_whole_grace_period(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        await here.create(pod(containers=[container("main", "stubborn")]))
        await here.delete(grace_s=20)
        await here.settle(15)
        assert not here.gone()
        await here.settle(6)
        assert here.gone()


async def test_a_shorter_grace_period_takes_effect_while_the_pod_is_ending(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        await here.create(pod(containers=[container("main", "stubborn")]))
        await here.delete(grace_s=1000)
        await here.settle(5)
        await here.delete(grace_s=3)
        await here.settle(5)
        assert here.gone()


async def test_a_crashing_container_is_restarted_with_growing_pauses(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        await here.create(pod(containers=[container("main", "exit", "3")]))
        await here.settle(5)
        shown = here.shown()
        assert shown["restartCount"] == 1  # the first restart is at once
        assert shown["state"]["waiting"]["reason"] == "CrashLoopBackOff"
        assert shown["state"]["waiting"]["message"].startswith("back-off 10s restarting failed container=main pod=web_default(")
        assert shown["lastState"]["terminated"]["exitCode"] == 3
        for wait_s, count in ((10, 2), (20, 3), (40, 4), (80, 5), (160, 6), (300, 7), (300, 8)):
            await here.settle(wait_s)
            assert here.shown()["restartCount"] == count
        assert here.phase() == "Running"
        assert len(await here.containers()) == 2  # the last, and the one before for its log


async def test_a_container_that_ran_long_enough_is_restarted_at_once(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        await here.create(pod(containers=[container("main", "sleep", "700")]))
        for round_ in range(1, 4):
            await here.settle(700)
            assert here.shown()["restartCount"] == round_
            assert "running" in here.shown()["state"]


async def test_a_job_s_pod_succeeds_and_its_containers_stay_for_their_logs(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        await here.create(pod(containers=[container("main", "echo", "done")], restartPolicy="Never"))
        assert here.phase() == "Succeeded"
        assert here.shown()["state"]["terminated"]["reason"] == "Completed"
        assert here.condition("Ready")["reason"] == "PodCompleted"
        assert [c.state for c in await here.containers()] == ["exited"]
        assert [box.ready for box in await here.runtime.sandboxes()] == [False]


async def test_init_containers_run_in_order_before_the_others(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        first = [container("one", "sleep", "5"), container("two", "sleep", "5")]
        await here.create(pod(initContainers=first))
        assert here.phase() == "Pending"
        assert here.condition("Initialized")["message"] == "containers with incomplete status: [one two]"
        assert here.shown()["state"]["waiting"]["reason"] == "PodInitializing"
        await here.settle(5)
        assert here.condition("Initialized")["message"] == "containers with incomplete status: [two]"
        await here.settle(5)
        assert here.phase() == "Running"
        assert [c.name for c in sorted(await here.containers(), key=lambda c: c.created_at)] == ["one", "two", "main"]


async def test_an_edgek_that_starts_again_does_not_touch_a_healthy_pod(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        await here.create(pod())
        here.die()
        calls, status = len(here.runtime.calls), here.pod()["status"]
        again = fresh_kubelet(tmp_path, here.client, here.runtime, here.mounter)
        await here.nursery.start(again.run)
        await here.settle(60)
        assert len(here.runtime.calls) == calls
        assert here.pod()["status"] == status


async def test_pods_start_again_after_the_machine_rebooted(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        await here.create(pod())
        here.runtime.reboot()
        await here.settle(2)
        assert here.phase() == "Running"
        assert here.shown()["restartCount"] == 1
        assert here.shown()["lastState"]["terminated"]["exitCode"] == 255
        assert [box.attempt for box in await here.runtime.sandboxes() if box.ready] == [1]


async def test_what_the_api_does_not_know_is_removed_at_the_start(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        await here.create(pod())
        here.die()
        stranger = fresh_kubelet(tmp_path, Client(FakeApi()), here.runtime, here.mounter)
        await here.nursery.start(stranger.run)
        await here.settle(5)
        assert await here.runtime.sandboxes() == []


async def test_a_missing_image_is_asked_for_with_growing_pauses(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        await here.create(pod(containers=[{"name": "main", "image": "example.org/none:1"}]))
        await here.settle(3)
        waiting = here.shown()["state"]["waiting"]
        assert waiting["reason"] == "ImagePullBackOff"
        assert waiting["message"].startswith('Back-off pulling image "example.org/none:1": ErrImagePull: ')
        here.runtime.registry.add("example.org/none:1")
        await here.settle(10)
        assert here.phase() == "Running"


async def test_a_runtime_that_is_away_for_a_while_costs_nothing(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        await here.create(pod())
        before = await here.containers()
        here.runtime.go_away()
        await here.settle(30)
        here.runtime.come_back()
        await here.settle(5)
        assert await here.containers() == before
        assert here.phase() == "Running"


async def test_a_deadline_ends_the_pod(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        await here.create(pod(activeDeadlineSeconds=60))
        await here.settle(50)
        assert here.phase() == "Running"
        await here.settle(15)
        assert (here.phase(), here.pod()["status"]["reason"]) == ("Failed", "DeadlineExceeded")
        assert all(c.state == "exited" for c in await here.containers())


async def test_a_changed_image_replaces_the_container(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        await here.create(pod())
        here.runtime.add_image("example.org/box:2")
        newer = [container() | {"image": "example.org/box:2"}]
        await here.client.patch(kinds.POD, "web", {"spec": {"containers": newer}}, "default")
        await here.settle(2)
        assert (await here.running()).image == "example.org/box:2"
        assert here.shown()["restartCount"] == 1
        assert ("Killing", "Container main definition changed, will be restarted") in here.events()


async def test_a_node_that_boots_without_its_server_starts_its_pods(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    mounts = [{"name": "cm", "mountPath": "/cm"}]
    volumes = [{"name": "cm", "configMap": {"name": "settings"}}]
    async with node(tmp_path) as here:
        await here.client.create(kinds.CONFIG_MAP, {"metadata": {"name": "settings"}, "data": {"a": "1"}}, "default")
        await here.create(pod(containers=[container(volumeMounts=mounts)], volumes=volumes))
        await here.create(pod("job", containers=[container("main", "exit", "0")], restartPolicy="Never"))
        assert here.phase() == "Running"
        here.die()
        here.runtime.reboot()
        first = await here.containers()

        away = fresh_kubelet(tmp_path, Client(Nobody()), here.runtime, here.mounter)
        await here.nursery.start(away.run)
        await here.settle(30)
        fresh = [c for c in await here.containers() if c.id not in {old.id for old in first}]
        assert [(c.name, c.state) for c in fresh] == [("main", "running")]  # the job has ended and does not run again
        assert [objects.name(worker.pod) for worker in away.workers.values() if worker.pod] == ["web"]


class Nobody:
    """A server that cannot be reached."""

    async def request(self, request: Request) -> Response:
        raise Disconnected("no route to host")

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[StreamResponse]:
        raise Disconnected("no route to host")
        yield  # for the type


async def test_hooks_run_after_the_start_and_before_the_end(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        said: list[str] = []

        async def say(process: Process) -> int:
            await trio.sleep(2)
            said.append(process.argv[1])
            return 0

        here.runtime.programs["say"] = say
        hooks = {"postStart": {"exec": {"command": ["say", "hello"]}}, "preStop": {"exec": {"command": ["say", "goodbye"]}}}
        await here.create(pod(containers=[container("main", lifecycle=hooks)]))
        await here.settle(3)
        assert said == ["hello"]
        await here.delete()
        assert (await here.running()).name == "main"  # the hook is still talking
        await here.settle(3)
        assert said == ["hello", "goodbye"]
        assert here.gone()


async def test_a_hook_that_takes_too_long_does_not_keep_the_pod(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        hooks = {"preStop": {"sleep": {"seconds": 1000}}}
        await here.create(pod(containers=[container("main", lifecycle=hooks)]))
        await here.delete(grace_s=10)
        await here.settle(13)
        assert here.gone()


async def test_a_post_start_hook_that_fails_ends_its_container(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        await here.create(pod(containers=[container("main", lifecycle={"postStart": {"exec": {"command": ["exit", "1"]}}})]))
        await here.settle(3)
        assert here.shown()["restartCount"] >= 1
        assert ("FailedPostStartHook", "PostStartHook failed") in here.events()


async def test_sidecars_end_last_and_backwards(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        sidecars = [container("one", restartPolicy="Always"), container("two", restartPolicy="Always")]
        await here.create(pod(initContainers=sidecars, containers=[container("main", "echo", "done")], restartPolicy="Never"))
        await here.settle(3)
        assert here.phase() == "Succeeded"
        ids = {c.id: c.name for c in await here.containers()}
        assert [ids[subject] for method, subject in here.runtime.calls if method == "stop_container"] == ["two", "one"]


async def test_a_pod_that_is_deleted_while_its_image_is_pulled_is_gone_at_once(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        here.runtime.delays_s["pull_image"] = 1000
        here.runtime.registry.add("example.org/slow:1")
        await here.create(pod(containers=[{"name": "main", "image": "example.org/slow:1"}]))
        assert here.shown()["state"]["waiting"]["reason"] == "ContainerCreating"
        await here.delete()
        await here.settle(2)
        assert here.gone()


async def test_a_pod_starts_the_moment_its_config_map_appears(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        variables = [{"configMapRef": {"name": "late"}}]
        await here.create(pod(containers=[container("main", envFrom=variables)]))
        await here.settle(2)
        waiting = here.shown()["state"]["waiting"]
        assert (waiting["reason"], waiting["message"]) == ("CreateContainerConfigError", 'configmap "late" not found')
        await here.client.create(kinds.CONFIG_MAP, {"metadata": {"name": "late"}, "data": {"A": "1"}}, "default")
        await here.settle(0.5)
        assert here.phase() == "Running"


async def test_a_pod_that_does_not_fit_is_refused(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        here.kubelet.offer = lambda: NodeOffer({}, {"cpu": 1.0}, 110)
        await here.create(pod(containers=[container("main", resources={"requests": {"cpu": "2"}})]))
        assert (here.phase(), here.pod()["status"]["reason"]) == ("Failed", "OutOfcpu")
        assert here.runtime.calls == []


async def test_an_ephemeral_container_joins_a_running_pod(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        await here.create(pod())
        debug = container("debug", targetContainerName="main")
        await here.client.patch(kinds.POD, "web", {"spec": {"ephemeralContainers": [debug]}}, "default")
        await here.settle(1)
        assert "running" in here.shown("debug")["state"]
        assert here.shown()["restartCount"] == 0


async def test_one_pod_s_trouble_is_not_another_s(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        broken = pod("broken")
        broken["spec"]["containers"] = [{"image": "no name"}]  # the API would refuse it
        await here.create(broken)
        await here.create(pod())
        assert here.phase() == "Running"


async def test_a_runtime_that_refuses_is_asked_again_with_growing_pauses(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        here.runtime.failures["run_sandbox"] = [RuntimeFailure("no room") for _ in range(3)]
        await here.create(pod())
        assert here.phase() == "Pending"
        assert ("FailedCreatePodSandBox", "Failed to create pod sandbox: no room") in here.events()
        await here.settle(20)
        assert here.phase() == "Running"
        here.runtime.failures["stop_container"] = [RuntimeFailure("busy") for _ in range(3)]
        await here.delete()
        await here.settle(30)
        assert here.gone()


def asking(cpu: str, **more: object) -> dict[str, object]:
    return {"containers": [container("main", resources={"requests": {"cpu": cpu}, "limits": {"cpu": cpu}}, **more)]}


async def test_resources_change_in_place(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        await here.create(pod(**asking("1")))
        before = await here.running()
        await here.client.patch(kinds.POD, "web", {"spec": asking("2")}, "default")
        await here.settle(1)
        assert (await here.running()).id == before.id
        assert here.runtime.resources(before.id).cpu_quota_us == 200_000
        assert here.shown()["resources"]["limits"] == {"cpu": "2"}
        assert "PodResizeInProgress" not in [c["type"] for c in here.pod()["status"]["conditions"]]


async def test_a_change_that_does_not_fit_waits_and_is_said(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        here.kubelet.offer = lambda: NodeOffer({}, {"cpu": 4.0}, 110)
        await here.create(pod(**asking("1")))
        await here.client.patch(kinds.POD, "web", {"spec": asking("8")}, "default")
        await here.settle(1)
        assert here.condition("PodResizePending")["reason"] == "Infeasible"
        assert here.shown()["resources"]["limits"] == {"cpu": "1"}
        await here.client.patch(kinds.POD, "web", {"spec": asking("1")}, "default")
        await here.settle(1)
        assert "PodResizePending" not in [c["type"] for c in here.pod()["status"]["conditions"]]


async def test_a_change_may_ask_for_a_restart(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    policy = [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]
    async with node(tmp_path) as here:
        await here.create(pod(**asking("1", resizePolicy=policy)))
        await here.client.patch(kinds.POD, "web", {"spec": asking("2", resizePolicy=policy)}, "default")
        await here.settle(2)
        assert here.shown()["restartCount"] == 1
        assert here.runtime.resources((await here.running()).id).cpu_quota_us == 200_000


async def test_a_change_that_came_while_edgek_was_away_is_made(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        await here.create(pod(**asking("1")))
        here.die()
        await here.client.patch(kinds.POD, "web", {"spec": asking("2")}, "default")
        await here.nursery.start(fresh_kubelet(tmp_path, here.client, here.runtime, here.mounter).run)
        await here.settle(2)
        assert here.runtime.resources((await here.running()).id).cpu_quota_us == 200_000


async def test_a_start_is_not_broken_off_by_a_deletion(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        here.runtime.delays_s["start_container"] = 5
        await here.create(pod())
        await here.delete()
        await here.settle(20)
        assert here.gone()
        ended = [method for method, _ in here.runtime.calls if method in ("start_container", "stop_container")]
        assert ended == ["start_container", "stop_container"]


async def test_a_step_that_changes_nothing_is_not_tried_without_end(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        await here.create(pod())
        asked: list[str] = []

        async def ignore(sandbox_id: str) -> None:
            await trio.lowlevel.checkpoint()
            asked.append(sandbox_id)

        stop, here.runtime.stop_sandbox = here.runtime.stop_sandbox, ignore  # type: ignore[method-assign]  # a runtime that only nods
        await here.delete()
        await here.settle(60)
        assert 2 <= len(asked) <= 12
        here.runtime.stop_sandbox = stop  # type: ignore[method-assign]
        await here.settle(60)
        assert here.gone()


async def test_a_sub_path_made_from_an_annotation_is_tried_again_when_that_changes(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        field = {"fieldRef": {"fieldPath": "metadata.annotations['part']"}}
        mount = {"name": "v", "mountPath": "/v", "subPathExpr": "$(PART)"}
        made = pod(containers=[container(env=[{"name": "PART", "valueFrom": field}], volumeMounts=[mount])], volumes=[{"name": "v", "emptyDir": {}}])
        made["metadata"]["annotations"] = {"part": "../out"}
        await here.create(made)
        assert here.shown()["state"]["waiting"]["reason"] == "CreateContainerConfigError"
        await here.client.patch(kinds.POD, "web", {"metadata": {"annotations": {"part": "in"}}}, "default")
        await here.settle(1)
        assert here.phase() == "Running"
