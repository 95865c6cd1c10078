"""A pod lives through whatever happens to its node: Hypothesis chooses the trouble, a virtual clock makes the hours short."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import trio
import trio.testing
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgek.agent.kubelet.worker import PodWorker
from edgek.agent.runtime.runtime import RuntimeFailure
from edgek.model.kinds import POD
from tests.agent.kubelet.scene import Node, container, fresh_kubelet, node, pod

CALM_S = 1200.0  # longer than every back-off together with its last doubling
FAILING = ("run_sandbox", "create_container", "start_container", "stop_container", "stop_sandbox", "remove_container", "remove_sandbox", "image")
TROUBLES = st.lists(
    st.one_of(
        st.tuples(st.just("restart"), st.floats(0, 3)),
        st.tuples(st.just("away"), st.floats(0, 60)),
        st.tuples(st.just("reboot"), st.floats(0, 3)),
        st.tuples(st.just("crash"), st.floats(0, 400)),
        st.tuples(st.sampled_from(FAILING), st.floats(0, 3)),
    ),
    max_size=7,
)


async def befall(here: Node, trouble: str, wait_s: float) -> None:
    if trouble == "restart":
        here.die()
        await trio.sleep(wait_s)
        here.kubelet = fresh_kubelet(here.settings.data_dir, here.client, here.runtime, here.mounter)
        here.revive()
        await here.nursery.start(here.live)
    elif trouble == "away":
        here.runtime.go_away()
        await trio.sleep(wait_s)
        here.runtime.come_back()
    elif trouble == "reboot":
        here.runtime.reboot()
    elif trouble == "crash":
        for found in await here.runtime.containers():
            if found.state == "running":
                here.runtime.end(found.id, 1)
    else:
        here.runtime.failures.setdefault(trouble, []).append(RuntimeFailure("no"))
    await trio.sleep(wait_s)


async def live_through(troubles: Sequence[tuple[str, float]], *, delete_after: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with node(Path(folder)) as here:
            here.runtime.delays_s.update({"run_sandbox": 0.5, "create_container": 0.2, "start_container": 0.2, "stop_container": 0.3})
            sidecar = container("side", restartPolicy="Always")
            made = pod(containers=[container("main"), container("other")], initContainers=[container("init", "exit", "0"), sidecar])
            await here.client.create(POD, made)
            for trouble, wait_s in troubles[:delete_after]:
                await befall(here, trouble, wait_s)
            await here.settle(CALM_S)
            running = sorted(c.name for c in await here.runtime.containers() if c.state == "running")
            assert running == ["main", "other", "side"]
            assert here.condition("Ready")["status"] == "True"
            assert sum(box.ready for box in await here.runtime.sandboxes()) == 1

            await here.client.delete(POD, "web", "default")
            for trouble, wait_s in troubles[delete_after:]:
                await befall(here, trouble, wait_s)
            await here.settle(CALM_S)
            assert here.gone()
            assert await here.runtime.sandboxes() == []
            assert await here.runtime.containers() == []
            assert not list((here.settings.kubelet_dir / "pods").glob("*"))
            assert here.kubelet.workers == dict[str, PodWorker]()


@settings(deadline=None, max_examples=40)
@given(TROUBLES, st.integers(0, 7))
@example([("restart", 0.3), ("reboot", 0.0), ("restart", 0.6), ("run_sandbox", 0.0)], 4)
@example([("stop_container", 0.0), ("restart", 0.1), ("remove_sandbox", 0.0), ("away", 5.0)], 0)
def test_a_pod_outlives_every_trouble_and_leaves_nothing(troubles: list[tuple[str, float]], delete_after: int) -> None:
    async def main() -> None:
        await live_through(troubles, delete_after=delete_after)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
