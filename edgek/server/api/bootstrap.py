"""Bring the default objects into being when the server starts: what is missing is made, what drifted is mended, nothing else is written.

The few without which no pod finds the API are kept so while it runs.

Everything goes through the API like any other write. Objects are written side by side, so that the store makes few batches of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

import attrs
import trio

from edgek.client.client import Client
from edgek.client.informer import Informer
from edgek.client.transport import Disconnected
from edgek.host import log, wallclock
from edgek.model import errors, objects
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server.api import default_objects, default_roles
from edgek.server.api.default_objects import Condition, Default, Settings
from edgek.server.api.identity import AUTHENTICATED_GROUP, MASTERS_GROUP, User

# As whom the client that is handed over should act.
USER = User("system:apiserver", groups=(MASTERS_GROUP, AUTHENTICATED_GROUP))

MEND_AGAIN_S = 10.0  # while writes are refused


@attrs.frozen
class Write:
    """One thing to do: create ``obj``, or update it where it is there already (None: leave it), and let its status say ``condition``.

    ``uid``: of the object that is in its place, and goes first.
    """

    kind: Kind
    name: str
    namespace: str
    obj: Object | None
    is_new: bool = False
    condition: Condition | None = None
    uid: str = ""


async def ensure_defaults(client: Client, settings: Settings, *, agents: bool) -> int:
    """Make the default objects be there; how many were written. ``agents``: nodes will join, so give them what they need."""
    count = await _ensure(client, list(default_objects.namespaces()))
    rest = [*default_roles.all_of(agents=agents), *default_objects.all_of(settings)]
    return count + await _ensure(client, rest)


async def keep_defaults(client: Client, settings: Settings, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Mend what the cluster cannot do without as soon as somebody deletes or changes it. Until cancelled."""
    wanted = list(default_objects.kept(settings))
    told, changes = trio.open_memory_channel[None](1)

    def notice(key: str, old: str | None, new: str | None) -> None:
        if old is not None:
            with contextlib.suppress(trio.WouldBlock):
                told.send_nowait(None)

    async with trio.open_nursery() as nursery:
        for kind, namespace, name in dict.fromkeys((d.kind, objects.namespace(d.obj), objects.name(d.obj)) for d in wanted):
            informer = Informer(client, kind, objects.revision, namespace=namespace, fields=f"metadata.name={name}")
            informer.add_handler(notice)
            await nursery.start(informer.run)
        task_status.started()
        async for _ in changes:
            await _mend(client, wanted)


async def _mend(client: Client, wanted: Sequence[Default]) -> None:
    mended = False
    while not mended:
        try:
            if count := await _ensure(client, wanted):
                log.warning("default objects mended", count=count)
            mended = True
        except* (errors.ApiError, Disconnected) as group:
            log.warning("default objects cannot be mended yet", error=group.exceptions[0])
            await trio.sleep(MEND_AGAIN_S)


def plan(wanted: Iterable[Default], seen: Iterable[tuple[Kind, Object]]) -> list[Write]:
    """What to write so that the cluster holds what is wanted."""
    there = {(kind, objects.namespace(obj), objects.name(obj)): obj for kind, obj in seen}
    writes: list[Write] = []
    for default in wanted:
        found = there.get(default.key)
        lacking = default.condition if default.condition and not default.condition.holds(found or {}) else None
        _, namespace, name = default.key
        if found is not None and (new := default.renew(found)) is not None:
            writes.append(Write(default.kind, name, namespace, new, is_new=True, condition=lacking, uid=objects.uid(found)))
            continue
        obj = default.obj if found is None else default.mend(found)
        if obj is not None or lacking is not None:
            writes.append(Write(default.kind, name, namespace, obj, is_new=found is None, condition=lacking))
    return writes


async def _ensure(client: Client, wanted: Sequence[Default]) -> int:
    seen: list[tuple[Kind, Object]] = []
    places = dict.fromkeys((default.kind, objects.namespace(default.obj)) for default in wanted)
    for kind, namespace in places:
        # In a list objects do not say what they are.
        seen += [(kind, {"apiVersion": kind.api_version, "kind": kind.name, **obj}) for obj in (await client.list(kind, namespace)).items]
    writes = plan(wanted, seen)
    async with trio.open_nursery() as nursery:
        for write in writes:
            nursery.start_soon(_perform, client, write)
    return len(writes)


async def _perform(client: Client, write: Write) -> None:
    try:
        if write.uid:
            await client.delete(write.kind, write.name, write.namespace, uid=write.uid)
        if write.obj is not None:
            await (client.create(write.kind, write.obj) if write.is_new else client.update(write.kind, write.obj))
        if write.condition is not None:
            condition = {**attrs.asdict(write.condition), "lastTransitionTime": wallclock.now_rfc3339()}
            patch = {"status": {"conditions": [condition]}}
            await client.patch(write.kind, write.name, patch, write.namespace, subresource="status")
    except (errors.AlreadyExists, errors.Conflict, errors.NotFound):
        return  # somebody was quicker; the next start looks again
