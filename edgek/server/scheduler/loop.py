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
from edgek.server.scheduler.explain import Explainer
from edgek.server.scheduler.pending import GATES, Pending
from edgek.server.scheduler.preempt import Preemption, preempt
from edgek.server.scheduler.rules import Wake
from edgek.server.scheduler.snapshot import Snapshot
from edgek.server.scheduler.views import SELECTED_NODE, Node, Pod, Volume

BINDINGS = 16  # at once: enough to keep an API busy whose writes share their fsync
RETRY_S = 1.0  # after a write failed for reasons of the API; what the pod lacks is not retried by time
VOLUMES_LATE = 'running PreBind plugin "VolumeBinding": binding volumes: context deadline exceeded'
VOLUMES_S = 600.0  # so long room is kept for a pod whose volumes are being made, as upstream does
VOLUMES_SLOW_S = 5.0  # then the pod says what it waits for
GATED = "Scheduling is blocked due to non-empty scheduling gates"


class Scheduler:
    """A pod is in one of these states: pending (to be tried, or parked until something happens), parked with room that is held for it while its
    volumes are made, being bound, or placed. Room that is held, or about to be taken, counts as taken; room that is being made is promised.
    """

    def __init__(self, client: Client, informers: Informers, recorder: Recorder) -> None:
        self._client = client
        self._recorder = recorder
        self._pods = informers.of(kinds.POD, views.pod)
        self._nodes = informers.of(kinds.NODE, views.node)
        self._claims = informers.of(kinds.PERSISTENT_VOLUME_CLAIM, views.claim)
        self._volumes = informers.of(kinds.PERSISTENT_VOLUME, views.volume)
        self._classes = informers.of(kinds.STORAGE_CLASS, views.storage_class)
        self._namespaces = informers.of(kinds.NAMESPACE, views.namespace)
        self._limits = informers.of(kinds.CSI_NODE, views.most_volumes)
        self._drivers = informers.of(kinds.CSI_DRIVER, views.tracks_capacity)
        self._capacities = informers.of(kinds.CSI_STORAGE_CAPACITY, views.capacity)
        storage = (self._claims.items, self._volumes.items, self._classes.items)
        self._snapshot = Snapshot(*storage, self._namespaces.items, self._limits.items, self._drivers.items, self._capacities.items)
        self._pending = Pending()
        self._binding: set[str] = set()  # uids, until the cache shows what became of it
        self._preempting: dict[str, bool] = {}  # uids of pods for which room is being made: were they tried meanwhile?
        self._held: dict[str, trio.CancelScope] = {}  # by uid: the asking for volumes, for as long as room is held
        self._explainer = Explainer(client, recorder, self._pods)
        self._work = trio.Event()
        self._slots = trio.CapacityLimiter(BINDINGS)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Schedule for ever. The informers are run by whoever made them."""
        self._nodes.add_handler(self._node_changed)
        self._pods.add_handler(self._pod_changed)
        for storage in (self._classes, self._limits, self._drivers, self._capacities):
            storage.add_handler(lambda key, old, new: self._happened("volume"))
        self._claims.add_handler(lambda key, old, new: self._claims_moved({key}))
        self._volumes.add_handler(self._volume_moved)
        self._namespaces.add_handler(lambda key, old, new: self._happened("namespace"))
        volumes = (self._claims, self._volumes, self._classes, self._limits, self._drivers, self._capacities)
        for informer in (self._namespaces, self._nodes, self._pods, *volumes):
            await informer.synced.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._explainer.run)
            task_status.started()
            while True:
                self._work = trio.Event()
                while (pod := self._pending.pop()) is not None:
                    self._schedule(pod, nursery)
                    await trio.lowlevel.checkpoint()
                await self._work.wait()

    def _schedule(self, pod: Pod, nursery: trio.Nursery) -> None:
        held = self._let_go(pod.uid)
        self._decide(pod, nursery)
        if held and self._snapshot.home(pod.uid) != held:
            self._happened("pod gone")

    def _decide(self, pod: Pod, nursery: trio.Nursery) -> None:
        if pod.gated:
            self._pending.park(pod, (GATES,))
            self._explainer.say(pod, "SchedulingGated", GATED)
            return
        chosen = choose(pod, self._snapshot)
        if isinstance(chosen, Refused):
            self._pending.park(pod, chosen.rules)
            self._explainer.say(pod, "Unschedulable", chosen.message)
            self._preempt(pod, nursery)
            return
        self._redeem(pod, chosen.node)
        self._snapshot.place(pod, chosen.node)
        unbound = self._claims_to_bind(pod)
        if unbound:
            self._pending.park(pod, ("VolumeBinding",))
            self._held[pod.uid] = trio.CancelScope()
            nursery.start_soon(self._hold_for_volumes, pod, unbound, chosen.node, self._held[pod.uid])
            return
        self._binding.add(pod.uid)
        nursery.start_soon(self._bind, pod, chosen)

    def _preempt(self, pod: Pod, nursery: trio.Nursery) -> None:
        """Make room at the expense of less important pods, and promise it. When they are gone, this one is tried again."""
        if pod.uid in self._preempting:
            self._preempting[pod.uid] = True
            return
        found = preempt(pod, self._snapshot)
        if found is None:
            self._redeem(pod, "")
            return
        self._redeem(pod, found.node)
        self._snapshot.promise(pod, found.node)
        if found.victims:
            self._preempting[pod.uid] = False
            nursery.start_soon(self._make_room, pod, found)

    def _redeem(self, pod: Pod, node: str) -> None:
        """The pod goes to this node, or nowhere: room that was promised to it elsewhere is anybody's."""
        if self._snapshot.release(pod.uid) not in ("", node):
            self._happened("pod gone")

    async def _make_room(self, pod: Pod, found: Preemption) -> None:
        try:
            status = {"metadata": {"uid": pod.uid}, "status": {"nominatedNodeName": found.node}}
            await self._client.patch(kinds.POD, pod.name, status, pod.namespace, subresource="status")
            for victim in found.victims:
                await self._delete_victim(victim, pod, found.node)
        except errors.NotFound:
            return  # the important pod is gone
        except (errors.ApiError, Disconnected) as exc:
            log.warning("cannot make room for a more important pod", pod=pod.key, node=found.node, error=exc)
            await trio.sleep(RETRY_S)
            self._preempting[pod.uid] = True
        finally:
            if self._preempting.pop(pod.uid) and self._pending.wake("pod gone", lambda each: each.uid == pod.uid):
                self._work.set()

    async def _delete_victim(self, victim: Pod, pod: Pod, node: str) -> None:
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "PreemptionByScheduler",
            "message": "default-scheduler: preempting to accommodate a higher priority pod",
            "lastTransitionTime": wallclock.now_rfc3339(),
        }
        patch = {"metadata": {"uid": victim.uid}, "status": {"conditions": [condition]}}
        try:
            await self._client.patch(kinds.POD, victim.name, patch, victim.namespace, subresource="status", content_type=STRATEGIC_MERGE_PATCH)
            await self._client.delete(kinds.POD, victim.name, victim.namespace, uid=victim.uid)
        except errors.NotFound:
            return
        self._recorder.normal(kinds.POD, victim.reference(), "Preempted", f"Preempted by pod {pod.uid} on node {node}")

    async def _bind(self, pod: Pod, placed: Placed) -> None:
        meta = {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": meta, "target": {"kind": "Node", "name": placed.node}}
        try:
            async with self._slots:
                await self._client.create(kinds.POD, binding, pod.namespace, name=pod.name, subresource="binding")
        except (errors.ApiError, Disconnected) as exc:
            await self._look_again(pod, exc)
            return
        text = f"Successfully assigned {pod.namespace}/{pod.name} to {placed.node}"
        self._recorder.normal(kinds.POD, pod.reference(), "Scheduled", text)

    async def _look_again(self, pod: Pod, exc: Exception) -> None:
        """We do not know what became of a binding. Its room stays taken until the cache had time to show it."""
        if not isinstance(exc, errors.NotFound | errors.Conflict):
            log.warning("binding failed", pod=pod.key, error=exc)
        await trio.sleep(RETRY_S)
        now = self._pods.get(pod.key)
        if pod.uid in self._binding and now is not None and now.uid == pod.uid and now.waits:
            self._binding.discard(pod.uid)
            self._snapshot.remove(pod.uid)
            self._happened("pod gone")
            self._try(now)

    def _claims_to_bind(self, pod: Pod) -> list[str]:
        """Claims that wait for their consumer's node."""
        found = []
        for name in pod.claims:
            claim = self._snapshot.claim(pod, name)
            if claim is not None and not claim.bound:
                found.append(name)
        return found

    async def _hold_for_volumes(self, pod: Pod, names: list[str], node: str, held: trio.CancelScope) -> None:
        """Write the chosen node on the claims; the pod is tried again when they are bound. Until then, or for so long, it keeps its room."""
        with held:
            for name in names:
                await self._write_node(pod, name, node)
            await trio.sleep(VOLUMES_SLOW_S)
            self._explainer.say(pod, "SchedulerError", _waits_for(names))
            await trio.sleep(VOLUMES_S - VOLUMES_SLOW_S)
            log.warning("a pod's volumes are not there yet, its room is free for others", pod=pod.key, node=node)
            self._explainer.say(pod, "SchedulerError", VOLUMES_LATE)
            del self._held[pod.uid]
            self._snapshot.remove(pod.uid)
            self._happened("pod gone")

    async def _write_node(self, pod: Pod, name: str, node: str) -> None:
        patch = {"metadata": {"annotations": {SELECTED_NODE: node}}}
        while True:
            claim = self._snapshot.claim(pod, name)
            if claim is None or claim.volume or claim.selected_node == node:
                return
            try:
                await self._client.patch(kinds.PERSISTENT_VOLUME_CLAIM, name, patch, pod.namespace)
                return
            except (errors.ApiError, Disconnected) as exc:
                log.warning("cannot write the node on a claim", claim=claim.key, error=exc)
                await trio.sleep(RETRY_S)

    def _let_go(self, uid: str) -> str:
        """Nothing is held for this pod any more; the node on which it was."""
        scope = self._held.pop(uid, None)
        if scope is None:
            return ""
        scope.cancel()
        node = self._snapshot.home(uid)
        self._snapshot.remove(uid)
        return node

    def _pod_changed(self, key: str, old: Pod | None, new: Pod | None) -> None:
        if old is not None and (new is None or new.uid != old.uid):
            self._forget(old)
        if new is None:
            return
        if old is None and new.waits and new.nominated:
            self._snapshot.promise(new, new.nominated)  # by the scheduler that was here before
        if not new.waits:
            self._placed_or_over(old, new)
        elif new.uid in self._binding:
            return  # what becomes of that is shown later
        elif new.uid not in self._pending or self._concerns_placing(old, new):
            self._try(new)
        else:
            self._pending.refresh(new)

    def _placed_or_over(self, old: Pod | None, new: Pod) -> None:
        if not new.node or new.finished:
            self._forget(new)
            return
        known = self._snapshot.home(new.uid) == new.node
        self._stop_waiting(new)
        self._snapshot.place(new, new.node)
        if not known or (old is not None and old.labels != new.labels):
            self._happened("pod placed")
        if old is not None and old.requests != new.requests:
            self._happened("pod gone")  # resized: perhaps to less

    @staticmethod
    def _concerns_placing(old: Pod | None, new: Pod) -> bool:
        """Our own words in its status are no reason to try again."""
        return old is None or _without_our_words(old) != _without_our_words(new)

    def _try(self, pod: Pod) -> None:
        self._pending.put(pod)
        self._work.set()

    def _forget(self, pod: Pod) -> None:
        self._stop_waiting(pod)
        if self._snapshot.home(pod.uid):
            self._snapshot.remove(pod.uid)
            self._happened("pod gone")

    def _stop_waiting(self, pod: Pod) -> None:
        self._pending.drop(pod.uid)
        self._redeem(pod, pod.node)
        self._binding.discard(pod.uid)
        self._explainer.drop(pod)
        scope = self._held.pop(pod.uid, None)
        if scope:
            scope.cancel()

    def _volume_moved(self, key: str, old: Volume | None, new: Volume | None) -> None:
        """One that is held for a claim matters to that claim's pods; one that is free may be for anybody."""
        claims = {each.claim for each in (old, new) if each is not None}
        if "" in claims:
            self._happened("volume")
        else:
            self._claims_moved(claims)

    def _claims_moved(self, keys: set[str]) -> None:
        if self._pending.wake("volume", lambda pod: any(f"{pod.namespace}/{name}" in keys for name in pod.claims)):
            self._work.set()

    def _node_changed(self, key: str, old: Node | None, new: Node | None) -> None:
        if new is None:
            self._snapshot.remove_node(key)
        else:
            self._snapshot.set_node(new)
        self._happened("node")

    def _happened(self, what: Wake) -> None:
        if self._pending.wake(what):
            self._work.set()


def _without_our_words(pod: Pod) -> Pod:
    return attrs.evolve(pod, scheduled_message="", nominated="")


def _waits_for(claims: list[str]) -> str:
    shown = ", ".join(f'"{each}"' for each in claims)
    return f'running PreBind plugin "VolumeBinding": binding volumes: persistentvolumeclaim {shown} is not bound yet, its events say why'
