"""What the API is told of this node's storage drivers: the CSINode, and on the Node the places that volumes can reach it at.

Written when a driver came or went, and when the Node was made anew; never otherwise. A driver that is only not there yet, as after a reboot, stays
in the CSINode: its pods are scheduled here, and wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import trio

from edgek.agent.kubelet.csi.drivers import Driver, Drivers, NotRegistered
from edgek.client.client import Client
from edgek.client.transport import Disconnected
from edgek.host import log
from edgek.model import errors, kinds, objects
from edgek.model.objects import Object

NODE_IDS = "csi.volume.kubernetes.io/nodeid"
MOST_VOLUMES = 2**31 - 1  # the field is an int32
RETRY_FIRST_S = 1.0
RETRY_MOST_S = 60.0


class Announcer:
    def __init__(self, client: Client, node_name: str, drivers: Drivers) -> None:
        self._client = client
        self._node_name = node_name
        self._drivers = drivers
        self._gone: set[str] = set()  # drivers that were here and went
        self._node: Object | None = None
        self._work = trio.Event()
        drivers.on_change(self._driver_changed)

    async def run(self) -> None:
        pause_s = RETRY_FIRST_S
        while True:
            await self._work.wait()
            self._work = trio.Event()
            try:
                if self._node is not None:
                    await self._announce(self._node)
                pause_s = RETRY_FIRST_S
            except (errors.ApiError, Disconnected) as exc:
                log.warning("cannot tell of the node's storage drivers", error=exc, retry_s=pause_s)
                await trio.sleep(pause_s)
                pause_s = min(2 * pause_s, RETRY_MOST_S)
                self._work.set()

    def node_changed(self, node: Object) -> None:
        """The API shows our Node anew."""
        before, self._node = self._node, node
        if before is None or objects.uid(before) != objects.uid(node) or self._patch(node):
            self._work.set()

    def _driver_changed(self, name: str) -> None:
        try:
            self._drivers.find(name)
            self._gone.discard(name)
        except NotRegistered:
            self._gone.add(name)
        self._work.set()

    async def _announce(self, node: Object) -> None:
        await self._write_csi_node(node)
        patch = self._patch(node)
        if patch:
            self._node = await self._client.patch(kinds.NODE, self._node_name, {"metadata": patch})

    async def _write_csi_node(self, node: Object) -> None:
        while True:
            shown = await self._client.find(kinds.CSI_NODE, self._node_name)
            try:
                if shown is None:
                    shown = await self._client.create(kinds.CSI_NODE, new_csi_node(node))
                for wanted in steps((shown.get("spec") or {}).get("drivers") or (), self._drivers.all(), self._gone):
                    shown = await self._client.update(kinds.CSI_NODE, {**shown, "spec": {"drivers": wanted}})
            except (errors.Conflict, errors.AlreadyExists):
                continue
            else:
                return

    def _patch(self, node: Object) -> Object:
        """What the Node's metadata lack."""
        places = {key: value for driver in self._drivers.all() for key, value in driver.topology.items()}
        labels = {key: value for key, value in places.items() if objects.labels(node).get(key) != value}
        shown = objects.annotations(node).get(NODE_IDS) or "{}"
        before = _parsed(shown)
        ids = {name: id_ for name, id_ in before.items() if name not in self._gone} | {d.name: d.node_id for d in self._drivers.all()}
        patch: dict[str, Any] = {"labels": labels} if labels else {}
        if ids != before:
            patch["annotations"] = {NODE_IDS: orjson.dumps(ids, option=orjson.OPT_SORT_KEYS).decode() if ids else None}
        return patch


def new_csi_node(node: Object) -> Object:
    """Goes with its Node."""
    owner = {"apiVersion": "v1", "kind": "Node", "name": objects.name(node), "uid": objects.uid(node)}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSINode",
        "metadata": {"name": objects.name(node), "ownerReferences": [owner]},
        "spec": {"drivers": []},
    }


def steps(shown: list[Object] | tuple[Object, ...], drivers: list[Driver], gone: set[str]) -> list[list[Object]]:
    """What to write, one after another. An entry may not be changed but for its limit: it must leave and come again."""
    wanted = {driver.name: entry(driver) for driver in drivers}
    kept = [each for each in shown if each["name"] not in gone]
    unlike = [each["name"] for each in kept if each["name"] in wanted and _fixed(each) != _fixed(wanted[each["name"]])]
    first = [each for each in kept if each["name"] not in unlike]
    last = [wanted.pop(each["name"], each) for each in first] + list(wanted.values())
    found = [first] if unlike else []
    return [*found, last] if last != (found[-1] if found else list(shown)) else found


def entry(driver: Driver) -> Object:
    made: dict[str, Any] = {"name": driver.name, "nodeID": driver.node_id, "topologyKeys": sorted(driver.topology) or None}
    if driver.most_volumes > 0:
        made["allocatable"] = {"count": min(driver.most_volumes, MOST_VOLUMES)}
    return made


def _fixed(found: Mapping[str, Any]) -> tuple[Any, ...]:
    return found.get("nodeID"), sorted(found.get("topologyKeys") or ())


def _parsed(text: str) -> dict[str, str]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
