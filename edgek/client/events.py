"""Recording Events, as ``kubectl describe`` shows them.

The same event of the same object within ten minutes raises its count instead of adding another; recording never fails the one who records.
"""

from __future__ import annotations

import copy
import hashlib
from collections import OrderedDict
from typing import Any

import attrs
import trio

from edgek.client.client import Client
from edgek.client.transport import Disconnected
from edgek.host import log, wallclock
from edgek.model import errors, kinds, objects
from edgek.model.kinds import Kind
from edgek.model.objects import Object

QUEUE = 1000  # events waiting to be sent; beyond that the newest are dropped: they are help, not state
REMEMBERED = 4096  # events whose count may still rise
AGGREGATE_S = 600.0
MESSAGE_MOST = 1024  # bytes, upstream's limit


@attrs.define
class _Series:
    name: str
    namespace: str
    count: int
    last_seen: float


class Recorder:
    """``component`` names the source (``kubelet``, ``default-scheduler``); ``host`` the node, for events of a node."""

    def __init__(self, client: Client, component: str, host: str = "") -> None:
        self._client = client
        self._component = component
        self._host = host
        self._stamp = 0
        self._seen: OrderedDict[str, _Series] = OrderedDict()
        self._send, self._receive = trio.open_memory_channel[tuple[str, Object]](QUEUE)

    def named(self, component: str) -> Recorder:
        """A recorder for another component of the same program; this one's ``run`` sends for both."""
        other = copy.copy(self)
        other._component = component
        return other

    def normal(self, kind: Kind, obj: Object, reason: str, message: str, *, field_path: str = "") -> None:
        self._record(kind, obj, "Normal", reason, message, field_path)

    def warning(self, kind: Kind, obj: Object, reason: str, message: str, *, field_path: str = "") -> None:
        self._record(kind, obj, "Warning", reason, message, field_path)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Send what was recorded, for ever."""
        task_status.started()
        async for digest, event in self._receive:
            try:
                await self._write(digest, event)
            except (errors.ApiError, Disconnected) as exc:
                log.debug("event not recorded", reason=event["reason"], error=exc)

    def _record(self, kind: Kind, obj: Object, type_: str, reason: str, message: str, field_path: str) -> None:
        involved = {
            "apiVersion": kind.api_version,
            "kind": kind.name,
            "name": objects.name(obj),
            "namespace": objects.namespace(obj),
            "uid": objects.uid(obj),
            "resourceVersion": objects.revision(obj),
            "fieldPath": field_path,
        }
        event = {
            "involvedObject": {key: value for key, value in involved.items() if value},
            "type": type_,
            "reason": reason,
            "message": message[:MESSAGE_MOST],
            "source": {"component": self._component, **({"host": self._host} if self._host else {})},
            "reportingComponent": self._component,
            "reportingInstance": self._host,
        }
        digest = hashlib.sha1("\0".join((involved["uid"], field_path, type_, reason, message)).encode()).hexdigest()
        try:
            self._send.send_nowait((digest, event))
        except trio.WouldBlock:
            log.warning("event dropped, the queue is full", reason=reason, object=objects.key(obj))

    async def _write(self, digest: str, event: dict[str, Any]) -> None:
        stamp = wallclock.now_rfc3339()
        series = self._seen.get(digest)
        if series and trio.current_time() - series.last_seen < AGGREGATE_S:
            series.count += 1
            series.last_seen = trio.current_time()
            try:
                await self._client.patch(kinds.EVENT, series.name, {"count": series.count, "lastTimestamp": stamp}, series.namespace)
                return
            except errors.NotFound:
                pass
        involved = event["involvedObject"]
        namespace = involved.get("namespace") or "default"
        self._stamp = max(wallclock.now_ns(), self._stamp + 1)  # two events may fall into one tick of the clock
        name = f"{involved['name']}.{self._stamp:x}"
        meta = {"name": name, "namespace": namespace}
        await self._client.create(kinds.EVENT, {**event, "metadata": meta, "firstTimestamp": stamp, "lastTimestamp": stamp, "count": 1})
        self._seen[digest] = _Series(name, namespace, 1, trio.current_time())
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
