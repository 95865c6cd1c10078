"""Deployments: a ReplicaSet per template, and the way from one to the next.

How far to go in one step is decided in ``rollout.py``, what to report in ``deployment_status.py``, which ReplicaSet is which in
``deployment_revisions.py``; here it is carried out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from edgek.client.reconcile import Cluster, Watch, own_key
from edgek.model import errors, kinds, objects
from edgek.model.objects import Object
from edgek.server.controllers import deployment_revisions as revisions
from edgek.server.controllers import deployment_status as status
from edgek.server.controllers import owning, podmaking, rollout, statuses, views
from edgek.server.controllers.views import PodView


class DeploymentController:
    name: ClassVar[str] = "deployment"
    account: ClassVar[str] = "deployment-controller"
    workers: ClassVar[int] = 5
    interval_s: ClassVar[float] = 0.02

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._events = cluster.recorder.named("deployment-controller")
        self._deployments = cluster.informers.of(kinds.DEPLOYMENT, views.whole)
        self._sets = cluster.informers.of(kinds.REPLICA_SET, views.whole)
        self._pods = cluster.informers.of(kinds.POD, views.pod)

    def watches(self) -> Sequence[Watch]:
        self._deployments.add_index("namespace", owning.object_namespace_index)
        self._sets.add_index("controller", owning.controller_index)
        self._pods.add_index("owner", views.owner_index)
        return [Watch(self._deployments, own_key), Watch(self._sets, self._keys_of_set), Watch(self._pods, self._keys_of_pod)]

    async def reconcile(self, key: str) -> float | None:
        deployment = self._deployments.get(key)
        if deployment is None:
            return None
        selector = owning.selector_of(deployment)
        if selector.is_empty:
            message = "This deployment is selecting all pods. A non-empty selector is required."
            self._events.warning(kinds.DEPLOYMENT, deployment, "SelectingAll", message)
            seen = {**(deployment.get("status") or {}), "observedGeneration": objects.metadata(deployment).get("generation")}
            await statuses.write(self._cluster, self._deployments, deployment, seen)
            return None
        claim = owning.Claim(self._cluster, self._sets, kinds.DEPLOYMENT, deployment, selector)
        orphans = self._sets.by_index("controller", f"orphan/{objects.namespace(deployment)}")
        replica_sets = await claim.of([*self._sets.by_index("controller", objects.uid(deployment)), *orphans], owning.of_object)
        return await _Rollout(self._cluster, self, deployment, {objects.name(each): each for each in replica_sets}).run()

    def _keys_of_set(self, key: str, old: Object | None, new: Object | None) -> Iterable[str]:
        for replica_set in filter(None, (old, new)):
            if objects.controller_of(replica_set):
                yield from filter(None, (owning.controller_key(replica_set, kinds.DEPLOYMENT),))
                continue
            for deployment in self._deployments.by_index("namespace", objects.namespace(replica_set)):
                if owning.selector_of(deployment).matches(objects.labels(replica_set)):
                    yield objects.key(deployment)

    def _keys_of_pod(self, key: str, old: PodView | None, new: PodView | None) -> Iterable[str]:
        """Only Recreate waits for pods: for the last of them to be gone."""
        if old is None or (new is not None and new.phase == old.phase) or old.owner_kind != kinds.REPLICA_SET.name:
            return
        replica_set = self._sets.get(f"{old.namespace}/{old.owner_name}")
        owner = owning.controller_key(replica_set, kinds.DEPLOYMENT) if replica_set else ""
        deployment = self._deployments.get(owner)
        if deployment and not rollout.is_rolling(deployment):
            yield owner


class _Rollout:
    """One look at one Deployment. ``sets`` are its ReplicaSets by name, kept current while it writes."""

    def __init__(self, cluster: Cluster, controller: DeploymentController, deployment: Object, sets: dict[str, Object]) -> None:
        self._cluster = cluster
        self._events = controller._events
        self._deployments = controller._deployments
        self._set_cache = controller._sets
        self._pods = controller._pods
        self._deployment = deployment
        self._sets = sets

    async def run(self) -> float | None:
        if objects.is_deleting(self._deployment):
            await self._write(status.counted(self._deployment, list(self._sets.values()), self._newest()))
            return None
        await self._mark_pause()
        if self._deployment["spec"].get("paused") or self._is_being_scaled():
            return await self._scale()
        if rollout.is_rolling(self._deployment):
            await self._roll()
        else:
            await self._recreate()
        if status.is_complete(self._deployment, self._deployment.get("status") or {}):
            await self._forget_history()
        return await self._report()

    # --- the ways -----------------------------------------------------------------------------------------------------------------------

    async def _scale(self) -> float | None:
        """Paused, or its size was changed: sizes follow, but no new ReplicaSet is made."""
        newest = await self._ensure_newest(create=False)
        active = self._active()
        total = rollout.wanted_replicas(self._deployment)
        if len(active) <= 1:
            lone = active[0] if active else newest or next(reversed(rollout.by_age(self._sets.values())), None)
            if lone is not None:
                await self._resize(lone, total)
        elif rollout.is_saturated(self._deployment, newest):
            for each in self._old_active():
                await self._resize(each, 0)
        elif rollout.is_rolling(self._deployment):
            for name, size in rollout.proportional_sizes(self._deployment, active).items():
                await self._resize(self._sets[name], size)
        if self._deployment["spec"].get("paused"):
            await self._forget_history()
        await self._write(status.counted(self._deployment, list(self._sets.values()), self._newest()))
        return None

    async def _roll(self) -> None:
        newest = await self._ensure_newest(create=True)
        if newest is None:
            return
        size = rollout.new_size(self._deployment, list(self._sets.values()), rollout.wanted_replicas(newest))
        if await self._resize(newest, size):
            return
        old = self._old_active()
        for name, smaller in rollout.old_sizes(self._deployment, newest, old).items():
            if smaller != rollout.wanted_replicas(self._sets[name]):
                await self._resize(self._sets[name], smaller)

    async def _recreate(self) -> None:
        await self._ensure_newest(create=False)
        old = self._old_active()
        for each in old:
            await self._resize(each, 0)
        if old or self._old_pods_run():
            return
        newest = await self._ensure_newest(create=True)
        if newest is not None:
            await self._resize(newest, rollout.wanted_replicas(self._deployment))

    async def _report(self) -> float | None:
        made = status.rolled(self._deployment, list(self._sets.values()), self._newest())
        await self._write(made)
        return status.stuck_in(self._deployment, made)

    async def _forget_history(self) -> None:
        for each in revisions.expendable(self._deployment, self._old()):
            await self._cluster.delete(self._set_cache, objects.key(each), objects.uid(each))

    async def _mark_pause(self) -> None:
        """A paused rollout does not use up its deadline."""
        if not status.has_deadline(self._deployment):
            return
        before = self._deployment.get("status") or {}
        current = status.progressing(before) or {}
        was, now = current.get("reason") == "DeploymentPaused", bool(self._deployment["spec"].get("paused"))
        if current.get("reason") == "ProgressDeadlineExceeded" or was == now:
            return
        reason, message = ("DeploymentPaused", "Deployment is paused") if now else ("DeploymentResumed", "Deployment is resumed")
        await self._write(status.with_progress(before, "Unknown", reason, message))

    # --- the newest ReplicaSet ----------------------------------------------------------------------------------------------------------

    async def _ensure_newest(self, *, create: bool) -> Object | None:
        """The ReplicaSet of the present template, with its revision and annotations in order; None where there is none yet."""
        newest = self._newest()
        if newest is None and create:
            return await self._create()
        if newest is None:
            return None
        revision = revisions.next_number(self._old())
        annotations = revisions.annotated(self._deployment, objects.annotations(newest), revision, exists=True)
        ready_s = self._deployment["spec"].get("minReadySeconds") or 0
        if annotations != objects.annotations(newest) or ready_s != (newest["spec"].get("minReadySeconds") or 0):
            changed = {
                **newest,
                "metadata": {**newest["metadata"], "annotations": annotations},
                "spec": {**newest["spec"], "minReadySeconds": ready_s},
            }
            newest = await self._put_set(changed)
        await self._adopt_revision(newest, "FoundNewReplicaSet", f'Found new replica set "{objects.name(newest)}"')
        return newest

    async def _create(self) -> Object | None:
        spec, before = self._deployment["spec"], self._deployment.get("status") or {}
        value = podmaking.hash_of(spec["template"], before.get("collisionCount") or 0)
        made = self._replica_set(value)
        name = objects.name(made)
        try:
            newest = await self._cluster.create(self._set_cache, made)
        except errors.AlreadyExists:
            return await self._collide(name)
        except errors.ApiError as exc:
            if podmaking.is_terminating_namespace(exc):
                return None
            message = f'Failed to create new replica set "{name}": {exc}'
            if status.has_deadline(self._deployment):
                await self._write(status.with_progress(before, "False", "FailedCreate", message))
            self._events.warning(kinds.DEPLOYMENT, self._deployment, "ReplicaSetCreateError", message)
            raise
        self._sets[name] = newest
        if rollout.wanted_replicas(newest):
            message = f"Scaled up replica set {name} from 0 to {rollout.wanted_replicas(newest)}"
            self._events.normal(kinds.DEPLOYMENT, self._deployment, "ScalingReplicaSet", message)
        await self._adopt_revision(newest, "NewReplicaSetCreated", f'Created new replica set "{name}"', renew=True)
        return newest

    def _replica_set(self, value: str) -> Object:
        deployment, spec = self._deployment, self._deployment["spec"]
        template = spec["template"]
        labels = {**((template.get("metadata") or {}).get("labels") or {}), revisions.HASH: value}
        metadata = {
            "name": f"{objects.name(deployment)}-{value}",
            "namespace": objects.namespace(deployment),
            "labels": labels,
            "annotations": revisions.annotated(deployment, {}, revisions.next_number(self._old()), exists=False),
            "ownerReferences": [objects.controller_reference(deployment, kinds.DEPLOYMENT.api_version, kinds.DEPLOYMENT.name)],
        }
        made: dict[str, Any] = {
            "replicas": rollout.new_size(deployment, list(self._sets.values()), 0),
            "minReadySeconds": spec.get("minReadySeconds") or 0,
            "selector": revisions.with_hash(spec["selector"], value),
            "template": {**template, "metadata": {**(template.get("metadata") or {}), "labels": labels}},
        }
        if not made["minReadySeconds"]:
            del made["minReadySeconds"]
        return {"apiVersion": kinds.REPLICA_SET.api_version, "kind": kinds.REPLICA_SET.name, "metadata": metadata, "spec": made}

    async def _collide(self, name: str) -> Object | None:
        """The name is taken: by our own ReplicaSet, which the cache will show, or by another template with the same hash."""
        found = await self._cluster.client.find(kinds.REPLICA_SET, name, objects.namespace(self._deployment))
        owner = (objects.controller_of(found) or {}) if found else {}
        if found and owner.get("uid") == objects.uid(self._deployment) and revisions.newest_of(self._deployment, [found]):
            self._sets[name] = found
            return found
        before = self._deployment.get("status") or {}
        await self._write({**before, "collisionCount": (before.get("collisionCount") or 0) + 1})
        raise errors.Conflict(f"replica set {name!r} belongs to another template: trying another name")

    async def _adopt_revision(self, newest: Object, reason: str, message: str, *, renew: bool = False) -> None:
        """The Deployment carries its newest revision's number, and says that it knows its newest ReplicaSet."""
        deployment, before = self._deployment, self._deployment.get("status") or {}
        annotations = {**objects.annotations(deployment), revisions.REVISION: objects.annotations(newest).get(revisions.REVISION, "")}
        made = before
        if status.has_deadline(deployment) and (renew or status.progressing(before) is None):
            made = status.with_progress(before, "True", reason, message)
        if annotations != objects.annotations(deployment) or made != before:
            changed = {**deployment, "metadata": {**deployment["metadata"], "annotations": annotations}, "status": made}
            self._deployment = await self._cluster.update(self._deployments, changed, "status")

    # --- small steps --------------------------------------------------------------------------------------------------------------------

    async def _resize(self, replica_set: Object, size: int) -> bool:
        """Whether its size changed. The sizes in its annotations follow in any case."""
        before = rollout.wanted_replicas(replica_set)
        annotations = {**objects.annotations(replica_set), **revisions.sizes(self._deployment)}
        if size == before and annotations == objects.annotations(replica_set):
            return False
        metadata = {**replica_set["metadata"], "annotations": annotations}
        await self._put_set({**replica_set, "metadata": metadata, "spec": {**replica_set["spec"], "replicas": size}})
        if size == before:
            return False
        direction = "up" if size > before else "down"
        message = f"Scaled {direction} replica set {objects.name(replica_set)} from {before} to {size}"
        self._events.normal(kinds.DEPLOYMENT, self._deployment, "ScalingReplicaSet", message)
        return True

    async def _put_set(self, replica_set: Object) -> Object:
        made = await self._cluster.update(self._set_cache, replica_set)
        self._sets[objects.name(made)] = made
        return made

    async def _write(self, made: status.Status) -> None:
        self._deployment = await statuses.write(self._cluster, self._deployments, self._deployment, made)

    def _newest(self) -> Object | None:
        return revisions.newest_of(self._deployment, self._sets.values())

    def _old(self) -> list[Object]:
        newest = self._newest()
        return [each for each in self._sets.values() if newest is None or objects.uid(each) != objects.uid(newest)]

    def _active(self) -> list[Object]:
        return [each for each in self._sets.values() if rollout.wanted_replicas(each)]

    def _old_active(self) -> list[Object]:
        return [each for each in self._old() if rollout.wanted_replicas(each)]

    def _is_being_scaled(self) -> bool:
        wanted = str(rollout.wanted_replicas(self._deployment))
        return any(objects.annotations(each).get(rollout.DESIRED, wanted) != wanted for each in self._active())

    def _old_pods_run(self) -> bool:
        """Old pods that are being deleted still run: Recreate promises that none does."""
        old = self._old()
        pods = [pod for each in old for pod in self._pods.by_index("owner", objects.uid(each))]
        return bool(rollout.total_seen(old, "replicas")) or any(not pod.finished for pod in pods)
