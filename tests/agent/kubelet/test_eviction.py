from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from edgek.agent.kubelet import eviction
from edgek.agent.kubelet.eviction import SIGNALS, Candidate, Level, Pressures, Shortage, overfull, shortages, verdict, victim
from edgek.agent.kubelet.housekeeping import Housekeeping
from edgek.host.worker import InLine
from edgek.model.objects import Object
from tests.agent.kubelet.scene import container, node, pod

MEMORY = Shortage(SIGNALS[0], Level(1 << 30, 50 << 20))


def a_pod(name: str, asked: str = "0", *, priority: int = 0, **annotations: str) -> Object:
    resources = {"requests": {"memory": asked}}
    meta = {"name": name, "annotations": annotations}
    return {"metadata": meta, "spec": {"priority": priority, "containers": [{"name": "c", "resources": resources}]}}


@pytest.mark.parametrize(
    ("levels", "wanted"),
    [
        ({"memory.available": Level(1 << 30, 200 << 20)}, []),
        ({"memory.available": Level(1 << 30, 99 << 20)}, ["MemoryPressure"]),
        ({"nodefs.available": Level(100, 11)}, []),
        ({"nodefs.available": Level(100, 9)}, ["DiskPressure"]),
        ({"nodefs.inodesFree": Level(100, 4)}, ["DiskPressure"]),
        ({"imagefs.available": Level(100, 14)}, ["DiskPressure"]),
        ({"pid.available": Level(100, 1)}, ["PIDPressure"]),
    ],
)
def test_when_something_is_short(levels: dict[str, Level], wanted: list[str]) -> None:
    assert [found.signal.condition for found in shortages(levels)] == wanted


def test_who_has_to_go() -> None:
    modest = Candidate(a_pod("modest", "100Mi"), 50 << 20)
    greedy = Candidate(a_pod("greedy", "10Mi"), 60 << 20)
    greedier = Candidate(a_pod("greedier", "10Mi"), 90 << 20)
    important = Candidate(a_pod("important", "10Mi", priority=100), 500 << 20)
    system = Candidate(a_pod("system", priority=2_000_001_000), 900 << 20)
    static = Candidate(a_pod("static", **{"kubernetes.io/config.source": "file"}), 900 << 20)
    everybody = [modest, greedy, greedier, important, system, static]
    order = []
    while (chosen := victim(MEMORY, everybody)) is not None:
        order.append(chosen.pod["metadata"]["name"])
        everybody.remove(chosen)
    assert order == ["greedier", "greedy", "important", "modest"]


def test_a_condition_outlasts_its_cause_by_five_minutes() -> None:
    pressures = Pressures().seen([MEMORY], 0)
    assert pressures.seen([], 299).conditions == {"MemoryPressure"}
    assert pressures.seen([], 300).conditions == set()


def test_the_verdict_says_what_was_short_and_who_took_it() -> None:
    found = verdict(MEMORY, Candidate(a_pod("p"), 60 << 20))
    assert (found.reason, found.grace_s) == ("Evicted", 1.0)
    assert found.message == (
        "The node was low on resource: memory. Threshold quantity: 102400Ki, available: 51200Ki. "
        "Container c was using 61440Ki, request is 0, has larger consumption of memory. "
    )


def test_a_volume_beyond_its_limit() -> None:
    value: Object = {"spec": {"volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Ki"}}]}}
    assert overfull(value, {"v": 1024}) is None
    found = overfull(value, {"v": 1025})
    assert found is not None
    assert found.message == 'Usage of EmptyDir volume "v" exceeds the limit "1Ki". '


async def test_a_node_short_of_memory_evicts_one_pod_at_a_time(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with node(tmp_path) as here:
        for name in ("a", "b"):
            await here.create(pod(name))
        monkeypatch.setattr(eviction, "read_levels", lambda *_: {"memory.available": Level(1 << 30, 1 << 20)})
        housekeeping = Housekeeping(here.kubelet, files=InLine())
        await housekeeping.beat()
        await here.settle(2)
        assert housekeeping.pressures() == {"MemoryPressure"}
        phases = sorted((here.phase("a"), here.phase("b")))
        assert phases == ["Failed", "Running"]
        failed = next(name for name in ("a", "b") if here.phase(name) == "Failed")
        assert here.pod(failed)["status"]["reason"] == "Evicted"
        assert here.condition("DisruptionTarget", failed)["reason"] == "TerminationByKubelet"
        await housekeeping.beat()
        await here.settle(1)
        assert sorted((here.phase("a"), here.phase("b"))) == phases  # the first has to show its effect before the next


async def test_an_overfull_volume_ends_its_pod(tmp_path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with node(tmp_path) as here:
        monkeypatch.setattr(eviction, "read_levels", lambda *_: {})
        mount: Any = [{"name": "v", "mountPath": "/v"}]
        volumes = [{"name": "v", "emptyDir": {"sizeLimit": "1Ki"}}]
        made = await here.create(pod(containers=[container(volumeMounts=mount)], volumes=volumes))
        path = here.kubelet.volumes.path_of(made["metadata"]["uid"], "v")
        assert path is not None
        (path / "big").write_bytes(b"x" * 8192)
        await Housekeeping(here.kubelet, files=InLine()).beat()
        await here.settle(2)
        assert here.pod()["status"]["reason"] == "Evicted"


async def test_unused_images_go_when_the_disk_is_short(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with node(tmp_path) as here:
        await here.create(pod())
        here.runtime.add_image("example.org/unused:1")
        monkeypatch.setattr(eviction, "read_levels", lambda *_: {"imagefs.available": Level(100, 1)})
        housekeeping = Housekeeping(here.kubelet, files=InLine())
        await here.settle(121)  # a younger one may be about to be used
        await housekeeping.beat()
        assert [image.tags[0] for image in await here.runtime.images()] == ["example.org/box:1"]
        assert here.phase() == "Running"


async def test_a_container_that_writes_too_much_ends_its_pod(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with node(tmp_path) as here:
        monkeypatch.setattr(eviction, "read_levels", lambda *_: {})
        await here.create(pod(containers=[container(resources={"limits": {"ephemeral-storage": "1Ki"}})]))
        housekeeping = Housekeeping(here.kubelet, files=InLine())
        await housekeeping.beat()
        await here.settle(1)
        assert here.phase() == "Running"
        await InLine().run(Path((await here.running()).log_path).write_bytes, b"x" * 1025)
        await housekeeping.beat()
        await here.settle(2)
        assert here.pod()["status"]["message"] == 'Container main exceeded its local ephemeral storage limit "1Ki". '
