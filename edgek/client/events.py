"""Recording Events, as ``kubectl describe`` shows them.

The same event of the same object within ten minutes raises its count instead of adding another; recording never fails the one who records. What is
recorded while no server answers is sent when one does, once: with the times at which it happened, the same events as one.
"""

from __future__ import annotations

import copy
import hashlib
import random
from collections import OrderedDict

import attrs
import trio

from edgek.client.client import Client
from edgek.client.transport import Disconnected
from edgek.host import log, wallclock
from edgek.model import errors, kinds, objects
from edgek.model.kinds import Kind
from edgek.model.objects import Object

QUEUE = 1000  # different events waiting to be sent; beyond that the newest are dropped: they are help, not state
RETRY_FIRST_S, RETRY_MOST_S = 1.0, 15.0  # while no server answers
AWAY = (Disconnected, errors.ServiceUnavailable, errors.TooManyRequests, errors.Timeout)
REMEMBERED = 4096  # events whose count may still rise
AGGREGATE_S = 600.0
MESSAGE_MOST = 1024  # bytes, upstream's limit


@attrs.define
class _Series:
    """An event that the API has, whose count may still rise."""

    name: str
    namespace: str
    count: int
    last_seen: float


@attrs.define
class _Waiting:
    """What is to be sent. Times are those of ``trio.current_time``: the calendar clock may jump before they are told."""

    event: Object
    first_at: float
    last_at: float
    count: int = 1
    name: str = ""  # in the API, once that was asked to make it: asked again for want of an answer, it must not make another


class Recorder:
    """``component`` names the source (``kubelet``, ``default-scheduler``); ``host`` the node, for events of a node."""

    def __init__(self, client: Client, component: str, host: str = "") -> None:
        self._client = client
        self._component = component
        self._host = host
        self._stamp = 0
        self._seen: OrderedDict[str, _Series] = OrderedDict()
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()
        self._wake = trio.lowlevel.ParkingLot()

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
        wait_s = RETRY_FIRST_S
        while True:
            if not self._waiting:
                await self._wake.park()
            digest, waiting = self._waiting.popitem(last=False)
            try:
                await self._write(digest, waiting)
            except AWAY as exc:
                self._put_back(digest, waiting)
                log.debug("event not recorded yet", reason=waiting.event["reason"], error=exc)
                await trio.sleep(wait_s * random.uniform(0.5, 1.0))
                wait_s = min(2 * wait_s, RETRY_MOST_S)
                continue
            except errors.ApiError as exc:
                log.debug("event not recorded", reason=waiting.event["reason"], error=exc)
            wait_s = RETRY_FIRST_S

    def _put_back(self, digest: str, waiting: _Waiting) -> None:
        """In front again, with what was recorded of it meanwhile."""
        since = self._waiting.pop(digest, None)
        if since:
            waiting.count += since.count
            waiting.last_at = since.last_at
        self._waiting[digest] = waiting
        self._waiting.move_to_end(digest, last=False)

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
        self._add(digest, event)

    def _add(self, digest: str, event: Object) -> None:
        now = trio.current_time()
        waiting = self._waiting.get(digest)
        if waiting:
            waiting.count += 1
            waiting.last_at = now
        elif len(self._waiting) >= QUEUE:
            log.warning("event dropped, the queue is full", reason=event["reason"], object=event["involvedObject"].get("name"))
        else:
            self._waiting[digest] = _Waiting(event, now, now)
            self._wake.unpark()

    async def _write(self, digest: str, waiting: _Waiting) -> None:
        first, last = _stamp(waiting.first_at), _stamp(waiting.last_at)
        series = self._seen.get(digest)
        if series and waiting.first_at - series.last_seen < AGGREGATE_S and not waiting.name:
            count = series.count + waiting.count
            try:
                await self._client.patch(kinds.EVENT, series.name, {"count": count, "lastTimestamp": last}, series.namespace, minimal=True)
                series.count, series.last_seen = count, waiting.last_at
                return
            except errors.NotFound:
                pass
        involved = waiting.event["involvedObject"]
        namespace = involved.get("namespace") or "default"
        again = bool(waiting.name)
        if not again:
            self._stamp = max(wallclock.now_ns(), self._stamp + 1)  # two events may fall into one tick of the clock
            waiting.name = f"{involved['name']}.{self._stamp:x}"
        meta = {"name": waiting.name, "namespace": namespace}
        try:
            event = {**waiting.event, "metadata": meta, "firstTimestamp": first, "lastTimestamp": last, "count": waiting.count}
            await self._client.create(kinds.EVENT, event, minimal=True)
        except errors.AlreadyExists:
            if not again:
                raise
            await self._client.patch(kinds.EVENT, waiting.name, {"count": waiting.count, "lastTimestamp": last}, namespace, minimal=True)
        self._seen[digest] = _Series(waiting.name, namespace, waiting.count, waiting.last_at)
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)


def _stamp(at: float) -> str:
    return wallclock.rfc3339(wallclock.now() - (trio.current_time() - at))
