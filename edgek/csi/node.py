"""The Node service: volumes brought to a path of this node, and taken away again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from edgek.csi import messages, requests
from edgek.csi.driver import BadRequest, Driver, Use, mode_problem
from edgek.host.message import Values
from edgek.host.rpc import Method

CAPABILITIES = (messages.NODE_CAN_STAGE, messages.NODE_CAN_STATS, messages.NODE_CAN_SINGLE_NODE_MULTI_WRITER)


class Node:
    def __init__(self, opened: Callable[[], Awaitable[Driver]], run: Callable[..., Awaitable[Any]], node_id: str) -> None:
        self._opened = opened
        self._run = run
        self._node_id = node_id
        self.answers: Mapping[Method, Callable[[Values], Awaitable[Values]]] = {
            messages.NODE_STAGE_VOLUME: self._stage,
            messages.NODE_UNSTAGE_VOLUME: self._unstage,
            messages.NODE_PUBLISH_VOLUME: self._publish,
            messages.NODE_UNPUBLISH_VOLUME: self._unpublish,
            messages.NODE_GET_VOLUME_STATS: self._stats,
            messages.NODE_EXPAND_VOLUME: self._expand,
            messages.NODE_GET_CAPABILITIES: self._capabilities,
            messages.NODE_GET_INFO: self._node_info,
        }

    async def _stage(self, request: Values) -> Values:
        driver, use = await self._opened(), requests.stage_use(request)
        _check(driver, use)
        await self._run(_key(use.volume_id), driver.stage, use)
        return {}

    async def _unstage(self, request: Values) -> Values:
        driver, id_, staging = await self._opened(), requests.needed(request, "volume_id"), requests.needed(request, "staging_target_path")
        await self._run(_key(id_), driver.unstage, id_, Path(staging))
        return {}

    async def _publish(self, request: Values) -> Values:
        driver, use = await self._opened(), requests.publish_use(request)
        _check(driver, use)
        await self._run(_key(use.volume_id), driver.publish, use)
        return {}

    async def _unpublish(self, request: Values) -> Values:
        driver, id_, target = await self._opened(), requests.needed(request, "volume_id"), requests.needed(request, "target_path")
        await self._run(_key(id_), driver.unpublish, id_, Path(target))
        return {}

    async def _stats(self, request: Values) -> Values:
        driver, id_, path = await self._opened(), requests.needed(request, "volume_id"), requests.needed(request, "volume_path")
        space, files = await self._run((f"usage {path}",), driver.usage, id_, Path(path))
        return {"usage": [requests.usage(messages.BYTES, space), requests.usage(messages.INODES, files)]}

    async def _expand(self, request: Values) -> Values:
        driver, id_, path = await self._opened(), requests.needed(request, "volume_id"), requests.needed(request, "volume_path")
        return {"capacity_bytes": await self._run(_key(id_), driver.expand_on_node, id_, Path(path))}

    async def _capabilities(self, request: Values) -> Values:
        driver = await self._opened()
        found = (*CAPABILITIES, messages.NODE_CAN_EXPAND) if driver.expands_on_node else CAPABILITIES
        return {"capabilities": [{"rpc": {"type": each}} for each in found]}

    async def _node_info(self, request: Values) -> Values:
        driver = await self._opened()
        return {"node_id": self._node_id, "accessible_topology": {"segments": dict(driver.topology)} if driver.topology else None}


def _check(driver: Driver, use: Use) -> None:
    if problem := mode_problem(driver, use.capability):
        raise BadRequest(problem)


def _key(volume_id: str) -> tuple[str]:
    """One call at a time for a volume: also a hung one holds only this volume up."""
    return (f"volume {volume_id}",)
