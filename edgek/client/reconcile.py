"""The Controller protocol and its one loop.

A controller says which keys a change concerns (``watches``) and makes the world right for one key (``reconcile``). Making it right twice is
harmless; an object that is gone is success; what failed is tried again after a growing pause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Protocol

import attrs
import trio

from edgek.client.client import MERGE_PATCH, Client
from edgek.client.events import Recorder
from edgek.client.informer import Informer, Informers
from edgek.client.transport import Disconnected
from edgek.client.workqueue import WorkQueue
from edgek.host import log
from edgek.model import errors, objects
from edgek.model.objects import Object

AGAIN_LEAST_S = 0.01  # a controller that wants to look again at once must not keep the processor busy
MISSING_QUIET_S = 0.05  # a NotFound is worth a line only when it comes again and again


@attrs.frozen
class Settings:
    """What the operator chose, as far as controllers must know it. Times have upstream's defaults, but for ``node_grace_s``.

    Upstream looks every 5 s whether a node's 50 s are over. Here that is looked at when the time has come: a dead node is known as such within 45 s.
    """

    root_ca: str = ""  # PEM: what pods trust the API server by
    pod_cidr: str = "10.42.0.0/16"
    node_pod_bits: int = 24  # prefix length of one node's share of pod_cidr
    node_grace_s: float = 45.0  # without a sign of life a node's conditions become Unknown
    not_ready_s: float = 300.0  # that pods stay on a node which is not ready, unless they say otherwise
    unreachable_s: float = 300.0  # and on one that is silent
    finished_pods_most: int = 12500  # finished pods beyond this are deleted, the oldest first


@attrs.frozen
class Cluster:
    """What a controller is given: the API, shared caches, where to record Events, and settings.

    The writing methods return once the cache of ``informer`` shows what was written. So the next look at a cache is never older than what
    this process did, and no controller needs to remember what it expects to see.
    """

    client: Client
    informers: Informers
    recorder: Recorder
    settings: Settings = Settings()

    async def create(self, informer: Informer[Any], obj: Object) -> Object:
        made = await self.client.create(informer.kind, obj)
        await informer.until_at(objects.revision(made))
        return made

    async def update(self, informer: Informer[Any], obj: Object, subresource: str = "") -> Object:
        made = await self.client.update(informer.kind, obj, subresource)
        await informer.until_at(objects.revision(made))
        return made

    async def patch(self, informer: Informer[Any], key: str, patch: Any, *, subresource: str = "", content_type: str = MERGE_PATCH) -> Object:
        namespace, name = objects.split_key(key)
        made = await self.client.patch(informer.kind, name, patch, namespace, subresource=subresource, content_type=content_type)
        await informer.until_at(objects.revision(made))
        return made

    async def delete(
        self, informer: Informer[Any], key: str, uid: str, *, revision: str = "", grace_s: int | None = None, propagation: str = ""
    ) -> bool:
        """False when it was gone already. Conflict when its name belongs to another object now, or somebody wrote it at the same time: try again.

        Waits for the cache as far as the answer says for what: an object that went at once may show a moment longer.
        """
        namespace, name = objects.split_key(key)
        try:
            answer = await self.client.delete(informer.kind, name, namespace, uid=uid, revision=revision, grace_s=grace_s, propagation=propagation)
        except errors.NotFound:
            return False
        await informer.until_at(objects.revision(answer))
        return True


class Synced(Protocol):
    async def wait(self) -> None: ...


class Source(Protocol):
    """Where changes come from: an Informer, or what joins several."""

    @property
    def synced(self) -> Synced: ...

    def add_handler(self, handler: Callable[[str, Any, Any], None]) -> None: ...


@attrs.frozen
class Watch:
    """Changes seen by ``informer`` put the keys that ``keys(key, old, new)`` names into the controller's queue."""

    informer: Source
    keys: Callable[[str, Any, Any], Iterable[str]]


def own_key(key: str, old: Any, new: Any) -> Iterable[str]:
    """For the kind that a controller is about."""
    return (key,)


class Controller(Protocol):
    """Built as ``SomeController(cluster)``; ``watches`` is asked once, before the caches are filled. ``account`` is the service account in
    ``kube-system`` as which it acts.

    ``interval_s``, where a controller has one, is the least time between two looks at the same key: the first change is answered at once, a
    burst of them together.
    """

    name: ClassVar[str]
    account: ClassVar[str]
    workers: ClassVar[int]

    def __init__(self, cluster: Cluster) -> None: ...

    def watches(self) -> Sequence[Watch]: ...

    async def reconcile(self, key: str) -> float | None:
        """Make the world right for this key. Seconds after which to look again without a change, or None."""
        ...


async def run(controller: Controller, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Work for ever. The informers of its watches must be run by somebody else."""
    queue = WorkQueue(getattr(controller, "interval_s", 0.0))
    watches = controller.watches()
    for watch in watches:
        watch.informer.add_handler(_enqueue(queue, watch))
    for watch in watches:
        await watch.informer.synced.wait()
    async with trio.open_nursery() as nursery:
        for _ in range(controller.workers):
            nursery.start_soon(_work, controller, queue)
        task_status.started()


def _enqueue(queue: WorkQueue, watch: Watch) -> Callable[[str, Any, Any], None]:
    def handler(key: str, old: Any, new: Any) -> None:
        try:
            for wanted in watch.keys(key, old, new):
                queue.add(wanted)
        except Exception as exc:  # the same border: one strange object must not end every controller
            log.error("a change was not understood", key=key, error=repr(exc))

    return handler


async def _work(controller: Controller, queue: WorkQueue) -> None:
    while True:
        key = await queue.get()
        try:
            again_s = await controller.reconcile(key)
        except (errors.Conflict, Disconnected):
            queue.retry(key)  # somebody was faster, or nobody was there: not worth a line
        except Exception as exc:  # the border of the reconcile loop: one key's trouble is not another's
            pause_s = queue.retry(key)
            if isinstance(exc, errors.NotFound) and pause_s < MISSING_QUIET_S:
                continue  # deleted while it was worked on; the cache is about to say so
            log.warning("reconcile failed", controller=controller.name, key=key, error=repr(exc), retry_s=round(pause_s, 2))
        else:
            queue.done(key)
            if again_s is not None:
                queue.add_after(key, max(again_s, AGAIN_LEAST_S))
