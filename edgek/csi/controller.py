"""The Controller service: volumes and snapshots made, grown, listed and deleted. No attaching: these drivers' volumes are reached without."""

from __future__ import annotations

import bisect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from edgek.csi import messages, requests
from edgek.csi.driver import BadRequest, Driver, Full, NewVolume, NotFound, Pending, Source, mode_problem
from edgek.host.message import Values
from edgek.host.rpc import Method

CAPABILITIES = (
    messages.CAN_CREATE_DELETE_VOLUME,
    messages.CAN_LIST_VOLUMES,
    messages.CAN_GET_CAPACITY,
    messages.CAN_CREATE_DELETE_SNAPSHOT,
    messages.CAN_LIST_SNAPSHOTS,
    messages.CAN_CLONE,
    messages.CAN_EXPAND,
    messages.CAN_GET_VOLUME,
    messages.CAN_SINGLE_NODE_MULTI_WRITER,
    messages.CAN_GET_SNAPSHOT,
)
_TOKEN = "after:"  # a page begins after the id that ended the one before: right whatever came and went meanwhile

Run = Callable[..., Awaitable[Any]]


class Controller:
    def __init__(self, opened: Callable[[], Awaitable[Driver]], run: Run) -> None:
        """``run(keys, function, *args)`` calls what blocks."""
        self._opened = opened
        self._run = run
        self.answers: Mapping[Method, Callable[[Values], Awaitable[Values]]] = {
            messages.CREATE_VOLUME: self._create_volume,
            messages.DELETE_VOLUME: self._delete_volume,
            messages.VALIDATE_VOLUME_CAPABILITIES: self._validate,
            messages.LIST_VOLUMES: self._list_volumes,
            messages.CONTROLLER_GET_VOLUME: self._get_volume,
            messages.GET_CAPACITY: self._get_capacity,
            messages.CONTROLLER_GET_CAPABILITIES: self._capabilities,
            messages.CREATE_SNAPSHOT: self._create_snapshot,
            messages.DELETE_SNAPSHOT: self._delete_snapshot,
            messages.LIST_SNAPSHOTS: self._list_snapshots,
            messages.GET_SNAPSHOT: self._get_snapshot,
            messages.CONTROLLER_EXPAND_VOLUME: self._expand,
        }

    async def _create_volume(self, request: Values) -> Values:
        driver = await self._opened()
        wanted = NewVolume(
            requests.needed(request, "name"),
            requests.size(request["capacity_range"]),
            requests.capabilities(request),
            request["parameters"],
            requests.source(request["volume_content_source"]),
        )
        for capability in wanted.capabilities:
            if problem := mode_problem(driver, capability):
                raise BadRequest(problem)
        places = request["accessibility_requirements"]
        if places is not None and driver.topology and not requests.fits(driver.topology, places["requisite"]):
            raise Full(f"{driver.name} makes volumes at {dict(driver.topology)} here, which is not among the places that are wanted")
        found = await self._run((f"volume {driver.id_of(wanted)}", *_keys(wanted.source)), driver.create, wanted)
        return {"volume": requests.volume(driver, found)}

    async def _delete_volume(self, request: Values) -> Values:
        driver, id_ = await self._opened(), requests.needed(request, "volume_id")
        await self._run((f"volume {id_}",), driver.delete, id_)
        return {}

    async def _validate(self, request: Values) -> Values:
        driver, id_, wanted = await self._opened(), requests.needed(request, "volume_id"), requests.capabilities(request)
        await self._get(driver, id_)
        for capability in wanted:
            if problem := mode_problem(driver, capability):
                return {"message": problem}
        names = ("volume_context", "volume_capabilities", "parameters", "mutable_parameters")
        return {"confirmed": {name: request[name] for name in names}}

    async def _list_volumes(self, request: Values) -> Values:
        driver = await self._opened()
        found, more = _page(request, await self._run((), driver.volumes), lambda volume: volume.id)
        return {"entries": [{"volume": requests.volume(driver, each)} for each in found], "next_token": more}

    async def _get_volume(self, request: Values) -> Values:
        driver, id_ = await self._opened(), requests.needed(request, "volume_id")
        return {"volume": requests.volume(driver, await self._get(driver, id_)), "status": {}}

    async def _get(self, driver: Driver, id_: str) -> Any:
        found = await self._run((), driver.find, id_)
        if found is None:
            raise NotFound(f"volume {id_!r} is not there")
        return found

    async def _get_capacity(self, request: Values) -> Values:
        driver, place = await self._opened(), request["accessible_topology"]
        if place is not None and driver.topology and not requests.fits(driver.topology, [place]):
            return {"available_capacity": 0}
        if any(mode_problem(driver, requests.capability(each)) for each in request["volume_capabilities"]):
            return {"available_capacity": 0}
        free = await self._run((), driver.available_bytes, request["parameters"])
        return {"available_capacity": free, "maximum_volume_size": {"value": free}}

    async def _capabilities(self, request: Values) -> Values:
        return {"capabilities": [{"rpc": {"type": each}} for each in CAPABILITIES]}

    async def _create_snapshot(self, request: Values) -> Values:
        driver, name, id_ = await self._opened(), requests.needed(request, "name"), requests.needed(request, "source_volume_id")
        found = await self._run((f"snapshot {driver.snapshot_id_of(name, id_)}", f"volume {id_}"), driver.snapshot, name, id_)
        return {"snapshot": requests.snapshot(found)}

    async def _delete_snapshot(self, request: Values) -> Values:
        driver, id_ = await self._opened(), requests.needed(request, "snapshot_id")
        await self._run((f"snapshot {id_}",), driver.delete_snapshot, id_)
        return {}

    async def _list_snapshots(self, request: Values) -> Values:
        driver, id_, of_volume = await self._opened(), request["snapshot_id"], request["source_volume_id"]
        found = await self._run((), driver.snapshots)
        wanted = [each for each in found if id_ in ("", each.id) and of_volume in ("", each.volume_id)]
        page, more = _page(request, wanted, lambda snapshot: snapshot.id)
        return {"entries": [{"snapshot": requests.snapshot(each)} for each in page], "next_token": more}

    async def _get_snapshot(self, request: Values) -> Values:
        driver, id_ = await self._opened(), requests.needed(request, "snapshot_id")
        found = [each for each in await self._run((), driver.snapshots) if each.id == id_]
        if not found:
            raise NotFound(f"snapshot {id_!r} is not there")
        return {"snapshot": requests.snapshot(found[0])}

    async def _expand(self, request: Values) -> Values:
        driver, id_ = await self._opened(), requests.needed(request, "volume_id")
        if request["capacity_range"] is None:
            raise BadRequest("capacity_range is missing")
        if request["volume_capability"] is not None and (problem := mode_problem(driver, requests.capability(request["volume_capability"]))):
            raise BadRequest(problem)
        found = await self._run((f"volume {id_}",), driver.expand, id_, requests.size(request["capacity_range"]))
        return {"capacity_bytes": found.capacity_bytes, "node_expansion_required": driver.expands_on_node}


def _keys(source: Source | None) -> tuple[str, ...]:
    """What must not go while it is copied."""
    if source is None:
        return ()
    return (f"volume {source.volume_id}" if source.volume_id else f"snapshot {source.snapshot_id}",)


def _page(request: Values, everything: Sequence[Any], id_of: Callable[[Any], str]) -> tuple[Sequence[Any], str]:
    """The entries that are asked for, in the order of their ids, and the token of the next page."""
    token, most = request["starting_token"], request["max_entries"]
    if most < 0:
        raise BadRequest(f"max_entries is {most}")
    if token and not token.startswith(_TOKEN):
        raise Pending(f"starting_token {token!r} is none of ours; begin anew without one")
    ordered = sorted(everything, key=id_of)
    start = bisect.bisect_right(ordered, token.removeprefix(_TOKEN), key=id_of) if token else 0
    page = ordered[start : start + most] if most else ordered[start:]
    return page, _TOKEN + id_of(page[-1]) if page and start + len(page) < len(ordered) else ""
