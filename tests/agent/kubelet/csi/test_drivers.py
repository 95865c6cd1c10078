"""Storage drivers by name: opened when they are first called, replaced when they come again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from edgek.agent.kubelet.csi.drivers import BuiltIn, Driver, Drivers, NotRegistered
from edgek.csi import messages
from edgek.host.message import Values
from edgek.host.rpc import Method


@attrs.define
class Answering:
    calls: list[str] = attrs.field(factory=list)

    async def call(self, method: Method, values: Mapping[str, Any], *, timeout_s: float | None) -> Values:
        self.calls.append(method.path)
        return {"capabilities": [{"rpc": {"type": messages.NODE_CAN_STAGE}}, {"rpc": None}]}


async def test_a_driver_that_edgek_brings_is_opened_at_its_first_call_and_only_then() -> None:
    opened: list[Answering] = []

    def open_it() -> Answering:
        opened.append(Answering())
        return opened[-1]

    drivers = Drivers()
    drivers.put_built_in(BuiltIn("a.example", "node-1", open_it, {"zone": "x"}))
    driver = drivers.find("a.example")
    assert (driver.node_id, driver.topology, opened) == ("node-1", {"zone": "x"}, [])
    assert await driver.can(messages.NODE_CAN_STAGE)
    assert not await driver.can(messages.NODE_CAN_EXPAND)
    assert [each.calls for each in opened] == [["/csi.v1.Node/NodeGetCapabilities"]]


def test_a_driver_that_came_again_is_not_dropped_with_its_former_self() -> None:
    heard: list[str] = []
    drivers, old, new = Drivers(), Driver("a", "n", {}, 0, Answering), Driver("a", "n", {}, 0, Answering)
    drivers.on_change(heard.append)
    drivers.put(old)
    drivers.put(new)
    drivers.drop(old)
    assert drivers.find("a") is new
    drivers.drop(new)
    with pytest.raises(NotRegistered, match="driver name a not found in the list of registered CSI drivers"):
        drivers.find("a")
    assert heard == ["a", "a", "a"]
