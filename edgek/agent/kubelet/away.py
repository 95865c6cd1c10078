"""Pods that are not to run while the server is away for too long (``edgek.io/when-away: stop=TIME``): stopped here, and begun again.

Never two of such a pod run in the cluster. Both sides hold to this:

1. The node ends the pod's containers when the server has not been heard of for TIME (``contact.py`` says since when). Where that is not known, as
   after a boot, it starts none before the server has been heard of.
2. The cluster waits for TIME, the pod's grace period and a margin, from when it called the node lost, which is later than when it heard of it last.
   Then it looks whether the node is still lost, and deletes the pod as it was before it looked, or not at all (``controllers/tainteviction.py``).
3. A node that is back makes sure that the server counts it in, and only then writes to the pod, as it is now. If that succeeds the cluster cannot
   delete it any more on the ground of 2, and the pod may run.
"""

from __future__ import annotations

from collections.abc import Mapping

import trio

from edgek.agent.kubelet import lifecycle
from edgek.agent.kubelet.contact import LATE_S, Contact
from edgek.agent.kubelet.worker import PodWorker
from edgek.client.client import STRATEGIC_MERGE_PATCH, Client
from edgek.client.transport import Disconnected
from edgek.host import log, wallclock
from edgek.model import errors, kinds, objects, when_away
from edgek.model.objects import Object

CONDITION = "edgek.io/Stopped"
CLAIMING_S = 10.0  # a server that answers more slowly is asked again with the next renewal


class Away:
    """``workers`` by uid, as they are at any time."""

    def __init__(self, contact: Contact, client: Client, workers: Mapping[str, PodWorker]) -> None:
        self._contact = contact
        self._client = client
        self._workers = workers
        self._begin = 0.0

    def overdue(self, pod: Object | None) -> bool:
        """Whether the pod's time without the server is over."""
        if pod is None or lifecycle.is_static(pod):
            return False
        limit_s = when_away.stop_s(objects.annotations(pod))
        return limit_s is not None and self._contact.silent_s >= limit_s

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """For ever. Pods that ran when this agent started have a moment's time: the server is about to be heard of, mostly."""
        self._begin = trio.current_time() + LATE_S
        task_status.started()
        try:
            while True:
                with trio.move_on_after(self._next_look_s()):
                    await self._contact.news()
                if self._contact.here:
                    await self._resume()
                else:
                    self._contact.keep()
                    self._stop()
        finally:
            self._contact.keep()

    def _next_look_s(self) -> float:
        silent_s = self._contact.silent_s
        times = [limit_s - silent_s for worker in self._workers.values() if (limit_s := _limit_s(worker)) is not None and limit_s > silent_s]
        return min([LATE_S, *times])

    def _stop(self) -> None:
        if trio.current_time() < self._begin:
            return
        for worker in self._workers.values():
            if worker.away != "stop" and self.overdue(worker.pod):
                log.warning("no word from the server for too long, stopping a pod", pod=objects.key(worker.pod or {}))
                worker.away_is("stop")

    async def _resume(self) -> None:
        for worker in [each for each in self._workers.values() if each.away]:
            try:
                with trio.move_on_after(CLAIMING_S):
                    if worker.pod is None or worker.gone or await self._claim(worker.pod):
                        worker.away_is("")
            except (Disconnected, errors.ApiError) as exc:
                log.debug("a stopped pod cannot be begun again yet", pod=worker.uid, error=exc)

    async def _claim(self, pod: Object) -> bool:
        """Whether it is still ours, and the cluster knows that we know."""
        name, namespace = objects.name(pod), objects.namespace(pod)
        while self._contact.here:
            found = await self._client.find(kinds.POD, name, namespace)
            if found is None or objects.uid(found) != objects.uid(pod) or objects.is_deleting(found):
                return False  # we are about to be told
            condition = {
                "type": CONDITION,
                "status": "False",
                "reason": "ServerIsBack",
                "message": f"the node was without the server; it is back since {wallclock.now_micro()}",  # never the same: it has to be a change
                "lastTransitionTime": wallclock.now_rfc3339(),
            }
            guard = {"uid": objects.uid(found), "resourceVersion": objects.revision(found)}
            patch = {"metadata": guard, "status": {"conditions": [condition]}}
            try:
                await self._client.patch(kinds.POD, name, patch, namespace, subresource="status", content_type=STRATEGIC_MERGE_PATCH)
            except errors.Conflict:
                continue
            return self._contact.here
        return False


def _limit_s(worker: PodWorker) -> float | None:
    """Of a pod that still runs, after how long it is to be stopped."""
    if worker.pod is None or worker.away == "stop" or lifecycle.is_static(worker.pod):
        return None
    return when_away.stop_s(objects.annotations(worker.pod))
