"""Telling the API what became of pods: their statuses, and that they may be deleted. The newest word counts; what fails is said again."""

from __future__ import annotations

import random
from collections.abc import Callable

import attrs
import trio

from edgek.agent.kubelet.status import OURS, same
from edgek.client.client import Client
from edgek.client.transport import Disconnected
from edgek.client.workqueue import WorkQueue
from edgek.host import log
from edgek.model import errors, kinds, objects
from edgek.model.objects import Object

WORKERS = 4
AWAY_S = 3.0  # about: between attempts of one worker while no server answers
PASSING_S = 1.0  # a pod that starts within this time is written once, not three times; twenty that start at once take a second
OWNED = (
    "phase", "conditions", "message", "reason", "hostIP", "hostIPs", "podIP", "podIPs", "startTime", "initContainerStatuses",
    "containerStatuses", "ephemeralContainerStatuses", "qosClass", "observedGeneration",
)  # fmt: skip


@attrs.frozen
class _Word:
    """What is to be said of a pod. ``pod`` is its object in the API as we know it."""

    pod: Object
    status: Object
    finish: bool = False


class Publisher:
    """``known(uid)`` is the API's object as last seen, for pods that go by another uid there (mirror pods), or None when it has none."""

    def __init__(self, client: Client, known: Callable[[str], Object | None]) -> None:
        self._client = client
        self._known = known
        self._words: dict[str, _Word] = {}
        self._queue = WorkQueue()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(WORKERS):
                nursery.start_soon(self._work)
            task_status.started()

    def say(self, pod: Object, status: Object, *, finish: bool = False, passing: bool = False) -> None:
        """``finish``: and then delete it for good. ``passing``: it will soon be different, so it is only said if that takes a while."""
        uid = objects.uid(pod)
        self._words[uid] = _Word(pod, status, finish)
        if passing:
            self._queue.add_after(uid, PASSING_S)
        else:
            self._queue.add(uid)

    def forget(self, uid: str) -> None:
        self._words.pop(uid, None)

    async def _work(self) -> None:
        while True:
            uid = await self._queue.get()
            try:
                await self._tell(uid)
            except Disconnected as exc:
                log.debug("status not written", pod=uid, error=exc)
                self._queue.done(uid)
                self._queue.add(uid)
                await trio.sleep(AWAY_S * random.uniform(0.5, 1.5))  # however long it was away, the server hears it soon when it is back
            except errors.ApiError as exc:
                log.debug("status not written", pod=uid, error=exc)
                self._queue.retry(uid)
            else:
                self._queue.done(uid)

    async def _tell(self, uid: str) -> None:
        word = self._words.get(uid)
        if word is None:
            return
        shown = self._known(uid)
        if shown is None:
            return
        while True:
            if not same(_owned(shown.get("status") or {}), _owned(word.status)):
                try:
                    await self._patch(shown, word.status)
                except errors.Conflict:
                    fresh = await self._client.find(kinds.POD, objects.name(shown), objects.namespace(shown))
                    if fresh is None or objects.uid(fresh) != objects.uid(shown):
                        return
                    shown = fresh
                    continue
                except errors.NotFound:
                    return
            break
        if word.finish:
            await self._delete(shown)

    async def _patch(self, shown: Object, status: Object) -> None:
        """A merge patch for this very revision, so that conditions of others are never lost."""
        wanted: Object = {key: status.get(key) for key in OWNED if status.get(key) is not None or key in (shown.get("status") or {})}
        wanted["conditions"] = _with_others(wanted.get("conditions") or [], shown)
        patch = {"metadata": {"uid": objects.uid(shown), "resourceVersion": objects.revision(shown)}, "status": wanted}
        await self._client.patch(kinds.POD, objects.name(shown), patch, objects.namespace(shown), subresource="status", minimal=True)

    async def _delete(self, shown: Object) -> None:
        try:
            await self._client.delete(kinds.POD, objects.name(shown), objects.namespace(shown), uid=objects.uid(shown), grace_s=0, minimal=True)
        except errors.NotFound:
            return
        except errors.Conflict:
            found = await self._client.find(kinds.POD, objects.name(shown), objects.namespace(shown))
            if found is not None and objects.uid(found) == objects.uid(shown):
                raise  # no namesake, only others wrote it at the same time: it still has to go


def _owned(status: Object) -> Object:
    return {key: status[key] for key in OWNED if key in status}


def _with_others(ours: list[Object], shown: Object) -> list[Object]:
    """Conditions that others set since we looked are kept."""
    mine = {c["type"] for c in ours} | set(OURS)
    return [*ours, *(c for c in (shown.get("status") or {}).get("conditions") or () if c["type"] not in mine)]
