"""The Controller protocol and its one loop.

A controller says which keys a change concerns (``watches``) and makes the world right for one key (``reconcile``). Making it right twice is
harmless; an object that is gone is success; what failed is tried again after a growing pause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Protocol

import attrs
import trio

from edgek.client.client import Client
from edgek.client.events import Recorder
from edgek.client.informer import Informer, Informers
from edgek.client.transport import Disconnected
from edgek.client.workqueue import WorkQueue
from edgek.host import log
from edgek.model import errors


@attrs.frozen
class Cluster:
    """What a controller is given: the API, shared caches, and where to record Events."""

    client: Client
    informers: Informers
    recorder: Recorder


@attrs.frozen
class Watch:
    """Changes seen by ``informer`` put the keys that ``keys(key, old, new)`` names into the controller's queue."""

    informer: Informer[Any]
    keys: Callable[[str, Any, Any], Iterable[str]]


def own_key(key: str, old: Any, new: Any) -> Iterable[str]:
    """For the kind that a controller is about."""
    return (key,)


class Controller(Protocol):
    """Built as ``SomeController(cluster)``; ``watches`` is asked once, before the caches are filled."""

    name: ClassVar[str]
    workers: ClassVar[int]

    def watches(self) -> Sequence[Watch]: ...

    async def reconcile(self, key: str) -> float | None:
        """Make the world right for this key. Seconds after which to look again without a change, or None."""
        ...


async def run(controller: Controller, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Work for ever. The informers of its watches must be run by somebody else."""
    queue = WorkQueue()
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
        for wanted in watch.keys(key, old, new):
            queue.add(wanted)

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
            log.warning("reconcile failed", controller=controller.name, key=key, error=repr(exc), retry_s=round(pause_s, 2))
        else:
            queue.done(key)
            if again_s is not None:
                queue.add_after(key, again_s)
