"""The scheduler: watches pods without a node, chooses one for each, and binds them there.

It waits for changes only: a pod that fits nowhere says why, and is tried again when something happens that could let it in.
"""

from __future__ import annotations

import attrs
import trio

from edgek.client.client import STRATEGIC_MERGE_PATCH, Client
from edgek.client.events import Recorder
from edgek.client.informer import Informers
from edgek.client.transport import Disconnected
from edgek.host import log, wallclock
from edgek.model import errors, kinds
from edgek.server.scheduler import views
from edgek.server.scheduler.choose import Placed, Refused, choose
from edgek.server.scheduler.pending import Pending
from edgek.server.scheduler.rules import Wake, volumes
from edgek.server.scheduler.snapshot import Snapshot
from edgek.server.scheduler.views import SELECTED_NODE, Node, Pod

BINDINGS = 16  # at once: enough to keep an API busy whose writes share their fsync
RETRY_S = 1.0  # after a binding failed for reasons of the API; what the pod lacks is not retried by time
GATED = "Scheduling is blocked due to non-empty scheduling gates"


class Scheduler:
    def __init__(self, client: Client, informers: Informers, recorder: Recorder) -> None:
        self._client = client
        self._recorder = recorder
        self._pods = informers.of(kinds.POD, views.pod)
        self._nodes = informers.of(kinds.NODE, views.node)
        self._claims = informers.of(kinds.PERSISTENT_VOLUME_CLAIM, views.claim)
        self._volumes = informers.of(kinds.PERSISTENT_VOLUME, views.volume)
        self._classes = informers.of(kinds.STORAGE_CLASS, views.storage_class)
        self._snapshot = Snapshot(self._claims.items, self._volumes.items, self._classes.items)
        self._pending = Pending()
        self._work = trio.Event()
        self._slots = trio.CapacityLimiter(BINDINGS)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Schedule for ever. The informers are run by whoever made them."""
        self._nodes.add_handler(self._node_changed)
        self._pods.add_handler(self._pod_changed)
        for storage in (self._claims, self._volumes, self._classes):
            storage.add_handler(lambda key, old, new: self._happened("volume"))
        for informer in (self._nodes, self._pods, self._claims, self._volumes, self._classes):
            await informer.synced.wait()
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                self._work = trio.Event()
                while (pod := self._pending.pop()) is not None:
                    self._schedule(pod, nursery)
                    await trio.lowlevel.checkpoint()
                await self._work.wait()

    def _schedule(self, pod: Pod, nursery: trio.Nursery) -> None:
        if pod.gated:
            self._pending.park(pod, ("SchedulingGates",))
            nursery.start_soon(self._explain, pod, "SchedulingGated", GATED)
            return
        chosen = choose(pod, self._snapshot)
        if isinstance(chosen, Refused):
            self._pending.park(pod, chosen.rules)
            nursery.start_soon(self._explain, pod, "Unschedulable", chosen.message)
            return
        unbound = self._claims_to_make(pod)
        if unbound:
            self._pending.park(pod, ("VolumeBinding",))
            nursery.start_soon(self._ask_for_volumes, pod, unbound, chosen.node)
            return
        self._snapshot.place(pod, chosen.node)
        nursery.start_soon(self._bind, pod, chosen)

    async def _bind(self, pod: Pod, placed: Placed) -> None:
        meta = {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": meta, "target": {"kind": "Node", "name": placed.node}}
        async with self._slots:
            try:
                await self._client.create(kinds.POD, binding, pod.namespace, name=pod.name, subresource="binding")
            except (errors.ApiError, Disconnected) as exc:
                await self._take_back(pod, exc)
                return
        text = f"Successfully assigned {pod.namespace}/{pod.name} to {placed.node}"
        self._recorder.normal(kinds.POD, pod.reference(), "Scheduled", text)

    async def _take_back(self, pod: Pod, exc: Exception) -> None:
        """The binding did not happen, as far as we know: if the pod still waits, it is tried again."""
        self._snapshot.remove(pod.uid)
        self._happened("pod gone")
        if isinstance(exc, errors.NotFound | errors.Conflict):
            return  # gone, or bound by somebody else: the informer says so
        log.warning("binding failed", pod=pod.key, error=exc)
        await trio.sleep(RETRY_S)
        now = self._pods.get(pod.key)
        if now is not None and now.uid == pod.uid and now.waits:
            self._pending.put(now)
            self._work.set()

    def _claims_to_make(self, pod: Pod) -> list[str]:
        """Claims that wait for their consumer's node and do not know it yet (or are being made)."""
        found = []
        for name in pod.claims:
            claim = self._snapshot.claim(pod, name)
            if claim is not None and not claim.bound and volumes.waits_for_consumer(claim, self._snapshot):
                found.append(name)
        return found

    async def _ask_for_volumes(self, pod: Pod, names: list[str], node: str) -> None:
        """Write the chosen node on the claims; the pod is tried again when they are bound."""
        for name in names:
            claim = self._snapshot.claim(pod, name)
            if claim is None or claim.selected_node == node:
                continue
            patch = {"metadata": {"annotations": {SELECTED_NODE: node}}}
            try:
                await self._client.patch(kinds.PERSISTENT_VOLUME_CLAIM, name, patch, pod.namespace)
            except (errors.ApiError, Disconnected) as exc:
                log.warning("cannot write the node on a claim", claim=f"{pod.namespace}/{name}", error=exc)

    async def _explain(self, pod: Pod, reason: str, message: str) -> None:
        """Say on the pod, and in an Event, why it waits; once for each reason."""
        if pod.scheduled_message == message:
            return
        if reason == "Unschedulable":
            self._recorder.warning(kinds.POD, pod.reference(), "FailedScheduling", message)
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": reason,
            "message": message,
            "lastTransitionTime": wallclock.now_rfc3339(),
        }
        try:
            patch = {"metadata": {"uid": pod.uid}, "status": {"conditions": [condition]}}
            await self._client.patch(kinds.POD, pod.name, patch, pod.namespace, subresource="status", content_type=STRATEGIC_MERGE_PATCH)
        except (errors.ApiError, Disconnected) as exc:
            log.debug("cannot say why a pod waits", pod=pod.key, error=exc)

    def _pod_changed(self, key: str, old: Pod | None, new: Pod | None) -> None:
        if old is not None and (new is None or new.uid != old.uid):
            self._forget(old)
        if new is None:
            return
        if new.waits:
            if self._snapshot.home(new.uid):
                return  # its binding is on the way
            if new.uid not in self._pending or self._concerns_placing(old, new):
                self._pending.put(new)
                self._work.set()
            return
        self._pending.drop(new.uid)
        if new.node and not new.finished:
            known = self._snapshot.home(new.uid) == new.node
            self._snapshot.place(new, new.node)
            if not known or (old is not None and old.labels != new.labels):
                self._happened("pod placed")
        else:
            self._forget(new)

    @staticmethod
    def _concerns_placing(old: Pod | None, new: Pod) -> bool:
        """Our own words in its status are no reason to try again."""
        return old is None or attrs.evolve(old, scheduled_message="") != attrs.evolve(new, scheduled_message="")

    def _forget(self, pod: Pod) -> None:
        self._pending.drop(pod.uid)
        if self._snapshot.home(pod.uid):
            self._snapshot.remove(pod.uid)
            self._happened("pod gone")

    def _node_changed(self, key: str, old: Node | None, new: Node | None) -> None:
        if new is None:
            self._snapshot.remove_node(key)
        else:
            self._snapshot.set_node(new)
        self._happened("node")

    def _happened(self, what: Wake) -> None:
        if self._pending.wake(what):
            self._work.set()
