"""Saying why pods wait: on the pod, and in an Event. The newest reason counts, each is said once, and is said again only where nobody heard it."""

from __future__ import annotations

import attrs
import trio

from edgek.client.client import STRATEGIC_MERGE_PATCH, Client
from edgek.client.events import Recorder
from edgek.client.informer import Informer
from edgek.client.transport import Disconnected
from edgek.client.workqueue import WorkQueue
from edgek.host import log, wallclock
from edgek.model import errors, kinds
from edgek.model.objects import Object
from edgek.server.scheduler.views import Pod


@attrs.frozen
class _Word:
    uid: str
    reason: str
    message: str


class Explainer:
    def __init__(self, client: Client, recorder: Recorder, pods: Informer[Pod]) -> None:
        self._client = client
        self._recorder = recorder
        self._pods = pods
        self._words: dict[str, _Word] = {}  # by namespace/name
        self._said: dict[str, _Word] = {}
        self._queue = WorkQueue()

    def say(self, pod: Pod, reason: str, message: str) -> None:
        """``Unschedulable``, ``SchedulerError`` or ``SchedulingGated``, and why."""
        word = _Word(pod.uid, reason, message)
        if self._words.get(pod.key) != word:
            self._words[pod.key] = word
            self._queue.add(pod.key)

    def drop(self, pod: Pod) -> None:
        """It waits no more."""
        for words in (self._words, self._said):
            if pod.key in words and words[pod.key].uid == pod.uid:
                del words[pod.key]

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        while True:
            key = await self._queue.get()
            try:
                await self._tell(key)
            except (errors.NotFound, errors.Forbidden, errors.Invalid) as exc:
                log.debug("cannot say why a pod waits", pod=key, error=exc)
                self._queue.done(key)
            except (errors.ApiError, Disconnected):
                self._queue.retry(key)
            else:
                self._queue.done(key)

    async def _tell(self, key: str) -> None:
        word, pod = self._words.get(key), self._pods.get(key)
        if word is None or pod is None or pod.uid != word.uid or not pod.waits:
            return
        said = self._said.get(key)
        if (said.message if said else pod.scheduled_message) == word.message:
            return
        condition: Object = {"type": "PodScheduled", "status": "False", "reason": word.reason, "message": word.message}
        if not pod.scheduled_message:
            condition["lastTransitionTime"] = wallclock.now_rfc3339()
        patch = {"metadata": {"uid": pod.uid}, "status": {"conditions": [condition]}}
        await self._client.patch(kinds.POD, pod.name, patch, pod.namespace, subresource="status", content_type=STRATEGIC_MERGE_PATCH)
        if self._words.get(key) is not None:
            self._said[key] = word
        if word.reason != "SchedulingGated":
            self._recorder.warning(kinds.POD, pod.reference(), "FailedScheduling", word.message)
