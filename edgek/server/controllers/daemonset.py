"""DaemonSets: a pod on every node that should have one.

Where, and in which order an update goes, is decided in ``daemonset_plan.py``. The pods are bound by the scheduler: each names its node in a
node affinity.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from edgek.client.reconcile import Cluster, Watch, own_key
from edgek.host import wallclock
from edgek.model import errors, kinds, objects
from edgek.model.objects import Object
from edgek.server.controllers import daemonset_plan, history, owning, placement, podmaking, statuses, views
from edgek.server.controllers.daemonset_plan import Plan, Scene
from edgek.server.controllers.podmaking import Failure
from edgek.server.controllers.replicaset import is_leaving, next_availability
from edgek.server.controllers.views import PodView

GENERATION = "deprecated.daemonset.template.generation"
GENERATION_LABEL = "pod-template-generation"


class DaemonSetController:
    name: ClassVar[str] = "daemonset"
    account: ClassVar[str] = "daemon-set-controller"
    workers: ClassVar[int] = 2
    interval_s: ClassVar[float] = 0.02

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._events = cluster.recorder.named("daemonset-controller")
        self._sets = cluster.informers.of(kinds.DAEMON_SET, views.whole)
        self._pods = cluster.informers.of(kinds.POD, views.pod)
        self._nodes = cluster.informers.of(kinds.NODE, placement.place)
        self._revisions = history.cache(cluster)

    def watches(self) -> Sequence[Watch]:
        self._sets.add_index("namespace", owning.object_namespace_index)
        self._pods.add_index("owner", views.owner_index)
        return [
            Watch(self._sets, own_key),
            Watch(self._pods, self._keys_of_pod),
            Watch(self._revisions, self._keys_of_revision),
            Watch(self._nodes, lambda key, old, new: list(self._sets.items)),
        ]

    async def reconcile(self, key: str) -> float | None:
        wanted = self._sets.get(key)
        if wanted is None:
            return None
        if owning.selector_of(wanted).is_empty:
            message = "This daemon set is selecting all pods. A non-empty selector is required."
            self._events.warning(kinds.DAEMON_SET, wanted, "SelectingAll", message)
            return None
        if objects.is_deleting(wanted):
            return None
        past = history.History(self._cluster, self._revisions, kinds.DAEMON_SET, wanted)
        revisions = await past.all()
        wanted, current = await self._current(wanted, past, revisions)
        scene = await self._look(wanted, history.hash_in(current))
        failure = await self._carry_out(wanted, scene, daemonset_plan.placing(scene))
        if failure is None:
            scene = self._scene(wanted, scene.hash, self._own(wanted))
            failure = await self._carry_out(wanted, scene, daemonset_plan.updating(scene))
        scene = self._scene(wanted, scene.hash, self._own(wanted))
        live = {pod.labels.get(history.HASH, "") for pods in scene.pods.values() for pod in pods}
        await past.forget(revisions, {*live, scene.hash})
        await statuses.write(self._cluster, self._sets, wanted, daemonset_plan.status(scene))
        if failure is not None:
            raise failure
        return next_availability(self._own(wanted), wanted["spec"].get("minReadySeconds") or 0, scene.now)

    # --- looking ------------------------------------------------------------------------------------------------------------------------

    async def _current(self, wanted: Object, past: history.History, revisions: Sequence[Object]) -> tuple[Object, Object]:
        status = wanted.get("status") or {}
        try:
            return wanted, await past.current(revisions, int(status.get("collisionCount") or 0))
        except errors.Conflict:
            counted = {**status, "collisionCount": int(status.get("collisionCount") or 0) + 1}
            await statuses.write(self._cluster, self._sets, wanted, counted)
            raise

    async def _look(self, wanted: Object, value: str) -> Scene:
        claim = owning.Claim(self._cluster, self._pods, kinds.DAEMON_SET, wanted, owning.selector_of(wanted))
        orphans = [pod for pod in self._pods.by_index("owner", f"orphan/{objects.namespace(wanted)}") if pod.active]
        return self._scene(wanted, value, await claim.of([*self._own(wanted), *orphans], owning.of_pod))

    def _scene(self, wanted: Object, value: str, pods: Iterable[PodView]) -> Scene:
        by_node: dict[str, list[PodView]] = {}
        for pod in pods:
            by_node.setdefault(pod.target_node, []).append(pod)
        return Scene(wanted, self._nodes.items, by_node, value, wallclock.now())

    def _own(self, wanted: Object) -> list[PodView]:
        return self._pods.by_index("owner", objects.uid(wanted))

    def _keys_of_pod(self, key: str, old: PodView | None, new: PodView | None) -> Iterable[str]:
        for pod in filter(None, (old, new)):
            if pod.owner_kind == kinds.DAEMON_SET.name:
                yield f"{pod.namespace}/{pod.owner_name}"
            elif not pod.owner_uid:
                for wanted in self._sets.by_index("namespace", pod.namespace):
                    if owning.selector_of(wanted).matches(pod.labels):
                        yield objects.key(wanted)

    def _keys_of_revision(self, key: str, old: Object | None, new: Object | None) -> Iterable[str]:
        for revision in filter(None, (old, new)):
            yield from filter(None, (owning.controller_key(revision, kinds.DAEMON_SET),))

    # --- acting -------------------------------------------------------------------------------------------------------------------------

    async def _carry_out(self, wanted: Object, scene: Scene, plan: Plan) -> Failure | None:
        for pod in plan.failed:
            message = f"Found failed daemon pod {pod.key} on node {pod.node}, will try to kill it"
            self._events.warning(kinds.DAEMON_SET, wanted, "FailedDaemonPod", message)
        doomed = plan.delete[: podmaking.BURST]
        failures = await podmaking.together([functools.partial(self._delete, wanted, pod) for pod in doomed])
        nodes = plan.create[: podmaking.BURST]

        async def create(number: int) -> None:
            made = await self._cluster.create(self._pods, _pod(wanted, nodes[number], scene.hash))
            self._events.normal(kinds.DAEMON_SET, wanted, "SuccessfulCreate", f"Created pod: {objects.name(made)}")

        _, failure = await podmaking.slow_start(len(nodes), create)
        if podmaking.is_terminating_namespace(failure):
            return None
        if failure is not None:
            self._events.warning(kinds.DAEMON_SET, wanted, "FailedCreate", f"Error creating: {failure}")
        return failure or next((each for each in failures if each is not None), None)

    async def _delete(self, wanted: Object, pod: PodView) -> None:
        if await self._cluster.delete(self._pods, pod.key, pod.uid):
            self._events.normal(kinds.DAEMON_SET, wanted, "SuccessfulDelete", f"Deleted pod: {pod.name}")
        await self._pods.until(lambda: is_leaving(self._pods.get(pod.key), pod.uid))


def _pod(wanted: Object, node: str, value: str) -> Object:
    labels = {history.HASH: value}
    generation = objects.annotations(wanted).get(GENERATION)
    if generation:
        labels[GENERATION_LABEL] = generation
    made = podmaking.from_template(wanted["spec"]["template"], wanted, kinds.DAEMON_SET, labels=labels)
    spec: dict[str, Any] = made["spec"]
    affinity = spec.setdefault("affinity", {}).setdefault("nodeAffinity", {})
    here = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": [here]}
    spec["tolerations"] = daemonset_plan.tolerations(spec)
    return made
