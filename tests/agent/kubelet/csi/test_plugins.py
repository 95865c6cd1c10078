"""Drivers that register by a socket: taken in, told so, shown to the API, and forgotten with their socket."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import orjson
import pytest
import trio

from edgek.agent.kubelet.csi.announce import NODE_IDS, entry, steps
from edgek.agent.kubelet.csi.drivers import BuiltIn, Caller, Driver
from edgek.agent.kubelet.csi.plugins import Endpoint
from edgek.client.informer import Informer
from edgek.csi import messages
from edgek.host import rpc_serve
from edgek.host.rpc import Unreachable
from edgek.model import kinds
from edgek.model.objects import Object
from tests.agent.kubelet.csi.scene import DRIVER, PATIENCE_S, Here, here
from tests.fakes import csi_driver


async def shown(at: Here, wanted: list[Object]) -> None:
    """Until the CSINode has these drivers."""
    changed = trio.Event()

    def see(key: str, old: Object | None, new: Object | None) -> None:
        if new is not None and (new.get("spec") or {}).get("drivers") == wanted:
            changed.set()

    informer: Informer[Object] = Informer(at.client, kinds.CSI_NODE, lambda found: found)
    informer.add_handler(see)
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(informer.run)
            await changed.wait()
            nursery.cancel_scope.cancel()


async def test_a_driver_that_registers_stands_in_the_csinode_and_its_places_on_the_node(tmp_path: Path) -> None:
    async with here(tmp_path) as at:
        await shown(at, [])
        await at.drive(topology={"topology.example.com/zone": "z1"}, most_volumes=3)
        await shown(at, [{"name": DRIVER, "nodeID": "node-id-1", "topologyKeys": ["topology.example.com/zone"], "allocatable": {"count": 3}}])
        with trio.fail_after(PATIENCE_S):
            await at.node.until(lambda: NODE_IDS in ((at.node.get("node-1") or {})["metadata"].get("annotations") or {}))
        node = at.api.one(kinds.NODE, "node-1")
        assert node is not None
        assert node["metadata"]["labels"] == {"topology.example.com/zone": "z1"}
        assert orjson.loads(node["metadata"]["annotations"][NODE_IDS]) == {DRIVER: "node-id-1"}
        owner = at.api.one(kinds.CSI_NODE, "node-1")["metadata"]["ownerReferences"][0]  # type: ignore[index]
        assert owner["uid"] == node["metadata"]["uid"]


async def test_a_driver_goes_with_its_socket_and_a_new_one_takes_its_place(tmp_path: Path) -> None:
    async with here(tmp_path) as at:
        async with trio.open_nursery() as nursery:
            kept, at.nursery = at.nursery, nursery
            await at.drive()
            nursery.cancel_scope.cancel()
        at.nursery = kept
        await shown(at, [])
        assert at.storage.drivers.all() == []
        await at.drive(node_id="another")
        await shown(at, [{"name": DRIVER, "nodeID": "another", "topologyKeys": None}])


async def test_a_socket_that_was_there_before_us_is_found_and_one_without_a_process_holds_nothing_up(tmp_path: Path) -> None:
    registry = tmp_path / "kubelet" / "plugins_registry"
    registry.mkdir(parents=True)
    async with trio.open_nursery() as nursery:
        driver = csi_driver.Driver(tmp_path / "driver")
        await nursery.start(driver.serve, tmp_path / "kubelet")
        os.rename(registry / f"{DRIVER}-reg.sock", registry / "kept.sock")
        dead = socket.socket(socket.AF_UNIX)
        dead.bind(str(registry / "dead.sock"))
        dead.close()
        (registry / "no-socket").touch()
        async with here(tmp_path) as at:
            with trio.fail_after(PATIENCE_S):
                await driver.registered.wait()
            assert [each.name for each in at.storage.drivers.all()] == [DRIVER]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"type": "DevicePlugin"}, "no handler registered for plugin type: DevicePlugin"),
        ({"supported_versions": ["0.3.0"]}, "is supported here: 1.x is"),
        ({"name": "ours.example.com"}, "is built in"),
    ],
)
async def test_what_cannot_be_registered_is_told_why(tmp_path: Path, about: dict[str, object], message: str) -> None:
    async with here(tmp_path) as at:
        at.storage.plugins.built_in = frozenset({"ours.example.com"})
        told = trio.Event()
        driver = csi_driver.Driver(at.root)
        usual, told_usual = driver._about, driver._told

        async def unusual(endpoint: Path, request: object) -> object:
            return {**await usual(endpoint, {}), **about}

        async def hear(request: dict[str, object]) -> object:
            await told_usual(request)
            told.set()
            return {}

        driver._about, driver._told = unusual, hear  # type: ignore[method-assign,assignment]
        at.nursery.start_soon(driver.serve, at.kubelet_dir)
        with trio.fail_after(PATIENCE_S):
            await told.wait()
        assert message in driver.refused[0]
        assert at.storage.drivers.all() == []


async def test_a_driver_that_edgek_brings_is_shown_without_being_opened(tmp_path: Path) -> None:
    async with here(tmp_path) as at:
        at.storage.drivers.put_built_in(BuiltIn("ours.example.com", "node-1", nobody, {"ours.example.com/node": "node-1"}))
        await shown(at, [{"name": "ours.example.com", "nodeID": "node-1", "topologyKeys": ["ours.example.com/node"]}])


async def test_a_node_that_was_made_anew_is_told_again(tmp_path: Path) -> None:
    async with here(tmp_path) as at:
        await at.drive(topology={"zone": "z1"})
        await shown(at, [{"name": DRIVER, "nodeID": "node-id-1", "topologyKeys": ["zone"]}])
        await at.client.delete(kinds.NODE, "node-1")
        await at.client.delete(kinds.CSI_NODE, "node-1")
        await at.client.create(kinds.NODE, {"metadata": {"name": "node-1"}})
        await shown(at, [{"name": DRIVER, "nodeID": "node-id-1", "topologyKeys": ["zone"]}])
        with trio.fail_after(PATIENCE_S):
            await at.node.until(lambda: ((at.node.get("node-1") or {})["metadata"].get("labels") or {}) == {"zone": "z1"})


def nobody() -> Caller:
    raise AssertionError("nobody calls it")


A = Driver("a", "id", {"k": "v"}, 0, nobody)


@pytest.mark.parametrize(
    ("shown", "gone", "wanted"),
    [
        ([], set(), [[entry(A)]]),
        ([entry(A)], set(), []),
        ([{**entry(A), "nodeID": "old"}], set(), [[], [entry(A)]]),
        ([{**entry(A), "allocatable": {"count": 2}}], set(), [[entry(A)]]),
        ([{"name": "b", "nodeID": "x", "topologyKeys": None}], set(), [[{"name": "b", "nodeID": "x", "topologyKeys": None}, entry(A)]]),
        ([{"name": "b", "nodeID": "x", "topologyKeys": None}, entry(A)], {"b"}, [[entry(A)]]),
    ],
    ids=["new", "the same", "an entry may not change: it leaves and comes again", "its limit may change", "others stay", "one that went leaves"],
)
def test_what_is_written_to_the_csinode(shown: list[Object], gone: set[str], wanted: list[list[Object]]) -> None:
    assert steps(shown, [A], gone) == wanted


async def test_a_driver_that_died_is_not_knocked_at_between_calls_and_answers_when_it_is_back(tmp_path: Path) -> None:
    socket_file = tmp_path / "csi.sock"
    endpoint = Endpoint(str(socket_file))
    with pytest.raises(Unreachable):
        await endpoint.call(messages.NODE_GET_INFO, {}, timeout_s=PATIENCE_S)
    assert endpoint._channel is None  # nothing is left that would try again by itself
    driver = csi_driver.Driver(tmp_path / "driver")
    async with trio.open_nursery() as nursery:
        await nursery.start(rpc_serve.serve, socket_file, driver.answers)
        assert (await endpoint.call(messages.NODE_GET_INFO, {}, timeout_s=PATIENCE_S))["node_id"] == "node-id-1"
        nursery.cancel_scope.cancel()
    endpoint.close()
