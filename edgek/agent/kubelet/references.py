"""The ConfigMaps, Secrets, claims and volumes that pods of this node refer to: one watch for each, as long as a pod needs it.

A change wakes the pods that use the object; nothing is polled. An object that does not exist is watched all the same, so that its pod starts the
moment it appears.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

from edgek.agent.kubelet.copies import Copies
from edgek.client.client import Client
from edgek.client.informer import Informer
from edgek.model.kinds import Kind
from edgek.model.objects import Object

OFFLINE_ANSWER_S = 0.5
FIRST_ANSWER_S = 10.0  # for the first look at an object; after that its pod waits for it without holding anything up


class Unreachable(Exception):
    """The API did not answer in time: nothing is known about the object."""


@attrs.define
class _Watched:
    """``unanswered`` are users that did not wait for the first answer, and must hear of it; to others it is no change."""

    informer: Informer[Object]
    users: set[str]
    unanswered: set[str] = attrs.field(factory=set)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)


class References:
    """``changed(uid)`` is called for every pod that uses an object, after the object changed."""

    def __init__(self, client: Client, changed: Callable[[str], None], copies: Copies) -> None:
        self._client = client
        self._changed = changed
        self.copies = copies
        self.offline = False  # the server cannot be reached and pods are run from copies
        self.silent: Callable[[], bool] = lambda: False  # it has not been heard of for a while
        self._watched: dict[tuple[Kind, str, str], _Watched] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    @property
    def alone(self) -> bool:
        """Whether this node has to do with what it has: registries are where the server is, behind the same uplink."""
        return self.offline or self.silent()

    async def get(self, kind: Kind, namespace: str, name: str, uid: str) -> Object | None:
        """The object as it is now, on behalf of the pod with this uid. Raises Unreachable."""
        key = (kind, namespace if kind.namespaced else "", name)
        watched = self._watched.get(key)
        if watched is None:
            watched = self._watch(key)
        watched.users.add(uid)
        with trio.move_on_after(OFFLINE_ANSWER_S if self.offline else FIRST_ANSWER_S):
            await watched.informer.synced.wait()
        if watched.informer.synced.is_set():
            return watched.informer.get(f"{key[1]}/{name}" if key[1] else name)
        watched.unanswered.add(uid)
        copy = self.copies.find_object(*key)
        if copy is None:
            raise Unreachable(f"the API does not answer for {kind.singular} {name!r}")
        return copy

    def release(self, uid: str) -> None:
        """The pod is gone; objects that nobody else uses are no longer watched."""
        for key, watched in list(self._watched.items()):
            watched.users.discard(uid)
            watched.unanswered.discard(uid)
            if not watched.users:
                watched.scope.cancel()
                del self._watched[key]
                self.copies.drop_object(*key)

    def _watch(self, key: tuple[Kind, str, str]) -> _Watched:
        kind, namespace, name = key
        informer = Informer(self._client, kind, _whole, namespace=namespace, fields=f"metadata.name={name}")
        watched = self._watched[key] = _Watched(informer, set())
        assert self._nursery is not None, "References.run comes first"
        self._nursery.start_soon(self._follow, key, watched)
        return watched

    async def _follow(self, wanted: tuple[Kind, str, str], watched: _Watched) -> None:
        def tell(key: str, old: Object | None, new: Object | None) -> None:
            if key != f"{wanted[1]}/{wanted[2]}".lstrip("/"):
                return
            if new is None:
                self.copies.drop_object(*wanted)
            else:
                self.copies.keep_object(wanted[0], new)
            for uid in list(watched.users if watched.informer.synced.is_set() else watched.unanswered):
                self._changed(uid)

        watched.informer.add_handler(tell)
        with watched.scope:
            await watched.informer.run()


def _whole(obj: Object) -> Object:
    (obj.get("metadata") or {}).pop("managedFields", None)
    return obj
