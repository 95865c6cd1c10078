"""The node's own objects: registered, kept alive, and left alone at rest."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from edgek.agent.kubelet.contact import Contact
from edgek.agent.node import NodeKeeper
from edgek.client.client import Client
from edgek.client.events import Recorder
from edgek.host import uptime, wallclock
from edgek.model import errors, kinds, objects
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from tests.agent.kubelet.scene import EPOCH, MACHINE, settings
from tests.fakes.api import FakeApi
from tests.fakes.runtime import FakeRuntime, open_runtime


@attrs.define
class Here:
    api: FakeApi
    client: Client
    runtime: FakeRuntime
    keeper: NodeKeeper
    short: set[str]
    contact: Contact

    def node(self) -> Object:
        found = self.api.one(kinds.NODE, "node-1")
        assert found is not None
        return found

    def condition(self, type_: str) -> Object:
        found = objects.condition(self.node(), type_)
        assert found is not None
        return found


@asynccontextmanager
async def keeper(folder: Path, **changed: object) -> AsyncIterator[Here]:
    former, former_uptime = wallclock.use(lambda: EPOCH + trio.current_time()), uptime.use(trio.current_time)
    try:
        async with open_runtime() as runtime, trio.open_nursery() as nursery:
            api, short = FakeApi(), set[str]()
            client = Client(api)
            recorder = Recorder(client, "kubelet", "node-1")
            contact = Contact()
            told = attrs.evolve(settings(folder), **changed)
            made = NodeKeeper(told, client, runtime, recorder, MACHINE, pressures=lambda: frozenset(short), contact=contact)
            nursery.start_soon(recorder.run)
            await nursery.start(made.run)
            await trio.sleep(1)
            yield Here(api, client, runtime, made, short, contact)
            nursery.cancel_scope.cancel()
    finally:
        wallclock.use(former)
        uptime.use(former_uptime)


async def test_a_node_registers_itself_and_is_ready(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with keeper(tmp_path) as here:
        node = here.node()
        assert objects.labels(node)["kubernetes.io/hostname"] == "node-1"
        assert (here.condition("Ready")["status"], here.condition("Ready")["reason"]) == ("True", "KubeletReady")
        assert here.condition("MemoryPressure")["status"] == "False"
        assert node["status"]["capacity"]["cpu"] == "4"
        assert node["status"]["addresses"] == [{"type": "InternalIP", "address": "192.0.2.1"}, {"type": "Hostname", "address": "node-1"}]
        assert node["status"]["nodeInfo"]["containerRuntimeVersion"] == "fake://1.0"
        lease = here.api.one(kinds.LEASE, "node-1", "kube-node-lease")
        assert lease is not None
        assert lease["spec"]["holderIdentity"] == "node-1"
        assert lease["metadata"]["ownerReferences"][0]["uid"] == objects.uid(node)


async def test_at_rest_only_the_lease_is_written_and_every_five_minutes_the_status(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with keeper(tmp_path) as here:
        await trio.sleep(30)
        before = len(here.api.writes)
        await trio.sleep(600)
        written = [resource for _, resource, _ in here.api.writes[before:]]
        assert written.count("leases.coordination.k8s.io") == 60
        assert written.count("nodes/status") == 2
        assert len(written) == 62


async def test_a_runtime_that_is_away_makes_the_node_not_ready(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with keeper(tmp_path) as here:
        here.runtime.go_away()
        await trio.sleep(12)
        assert here.condition("Ready")["status"] == "False"
        assert here.condition("Ready")["message"].startswith("container runtime is down")
        here.runtime.come_back()
        await trio.sleep(12)
        assert here.condition("Ready")["status"] == "True"
        words = [event["reason"] for event in here.api.all(kinds.EVENT)]
        assert words == ["Starting", "NodeReady", "NodeNotReady", "NodeReady"] or sorted(words) == ["NodeNotReady", "NodeReady", "Starting"]


async def test_pressure_is_shown_within_a_beat(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with keeper(tmp_path) as here:
        here.short.add("MemoryPressure")
        await trio.sleep(11)
        assert here.condition("MemoryPressure")["reason"] == "KubeletHasInsufficientMemory"


async def test_conditions_and_resources_of_others_are_kept(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with keeper(tmp_path) as here:
        status = here.node()["status"]
        network = {"type": "NetworkUnavailable", "status": "False", "lastTransitionTime": "2027-01-01T00:00:00Z"}
        patch = {"status": {"conditions": [*status["conditions"], network], "capacity": {"example.org/card": "2"}}}
        await here.client.patch(kinds.NODE, "node-1", patch, subresource="status")
        here.short.add("DiskPressure")
        await trio.sleep(11)
        assert here.condition("NetworkUnavailable")["status"] == "False"
        assert here.node()["status"]["capacity"]["example.org/card"] == "2"
        assert here.keeper.offer().allocatable["example.org/card"] == 2


async def test_labels_of_administrators_count_for_admission(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with keeper(tmp_path) as here:
        await here.client.patch(kinds.NODE, "node-1", {"metadata": {"labels": {"disk": "ssd"}}})
        await trio.sleep(1)
        assert here.keeper.offer().labels["disk"] == "ssd"


async def test_a_node_that_was_deleted_while_it_lives_registers_again(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with keeper(tmp_path) as here:
        await here.client.delete(kinds.NODE, "node-1")
        await trio.sleep(25)
        assert here.condition("Ready")["status"] == "True"


async def test_a_node_that_is_not_to_register_waits_for_its_object_and_for_another_when_it_is_deleted(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with keeper(tmp_path, register_node=False) as here:
        await trio.sleep(60)
        assert here.api.one(kinds.NODE, "node-1") is None
        await here.client.create(kinds.NODE, {"metadata": {"name": "node-1"}, "spec": {}})
        await trio.sleep(25)
        assert here.condition("Ready")["status"] == "True"
        await here.client.delete(kinds.NODE, "node-1")
        await here.client.delete(kinds.LEASE, "node-1", "kube-node-lease")
        await trio.sleep(60)
        assert here.api.one(kinds.NODE, "node-1") is None
        assert not here.contact.here
        said = capsys.readouterr().err
        assert said.count("somebody has to create its Node object (--register-node=false)") == 1
        assert said.count("the node was deleted, and does not register again (--register-node=false)") == 1
        await here.client.create(kinds.NODE, {"metadata": {"name": "node-1"}, "spec": {}})
        await trio.sleep(15)
        assert here.condition("Ready")["status"] == "True"


def nobody_answers(verb: str, kind: Kind, body: Object) -> None:
    raise errors.ServiceUnavailable("not now")


async def test_the_server_counts_a_node_in_once_it_has_forgiven_a_silence(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with keeper(tmp_path) as here:
        assert here.contact.here
        here.api.before_write = nobody_answers
        await trio.sleep(60)
        assert here.contact.silent_s >= 55
        taints = [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]
        here.api.before_write = None
        await here.client.patch(kinds.NODE, "node-1", {"spec": {"taints": taints}})
        await trio.sleep(30)
        assert here.contact.silent_s >= 85, "its renewals are answered, but the cluster may be replacing its pods"
        await here.client.patch(kinds.NODE, "node-1", {"spec": {"taints": None}})
        await trio.sleep(6)
        assert here.contact.here


async def test_a_node_is_ready_the_moment_it_has_its_pod_range(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    ranged = trio.Event()
    async with keeper(tmp_path) as here:
        here.keeper.readiness.ranged = ranged.is_set
        await trio.sleep(15)
        ready = here.condition("Ready")
        assert (ready["status"], ready["reason"]) == ("False", "KubeletNotReady")
        assert "no pod range yet" in ready["message"]
        ranged.set()
        here.keeper.wake()
        await trio.sleep(0.1)
        assert here.condition("Ready")["status"] == "True"


async def test_a_runtime_that_hangs_holds_up_neither_the_lease_nor_the_status(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with keeper(tmp_path) as here:
        here.keeper._beats = (trio.sleep_forever,)
        here.runtime.delays_s["conditions"] = 5.0
        here.runtime.go_away()
        await trio.sleep(300)
        assert "container runtime is down" in here.condition("Ready")["message"]
        lease = here.api.one(kinds.LEASE, "node-1", "kube-node-lease")
        assert lease is not None
        assert wallclock.now() - wallclock.parse(lease["spec"]["renewTime"]) < 20
        here.runtime.delays_s.clear()
        here.runtime.come_back()
        await trio.sleep(15)
        assert here.condition("Ready")["status"] == "True"


async def test_a_server_that_refuses_is_not_asked_more_often_than_it_would_be_told(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with keeper(tmp_path) as here:
        refused: list[float] = []

        def no(verb: str, kind: Kind, body: Object) -> None:
            if kind is kinds.LEASE:
                refused.append(trio.current_time())
            raise errors.Unauthorized("you were forgotten")

        here.api.before_write = no
        await trio.sleep(100)
        assert 8 <= len(refused) <= 11
