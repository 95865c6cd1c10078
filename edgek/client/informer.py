"""A cache of one kind, kept current by list and watch.

It holds **views**: small frozen values made at the door (``Informer(client, kinds.POD, view=Endpoint.of)``), not API dicts, which cost 21 KB a
Pod against 0.8 KB. Handlers are called in the event loop with ``(key, old, new)`` and must not wait; they usually put a key into a work queue.
A change that the view does not show (``old == new``) is no change: nobody hears of it.

Revisions of one resource may be compared (upstream promises it since v1.35), so whoever wrote can wait until the cache shows it (``until_at``).
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar, cast

import trio

from edgek.client.client import Client, WatchEvent
from edgek.client.transport import Disconnected, Unlinked
from edgek.host import log
from edgek.model import errors, objects
from edgek.model.kinds import Kind
from edgek.model.objects import Object

V = TypeVar("V")
Handler = Callable[[str, V | None, V | None], None]

RETRY_FIRST_S = 0.1
RETRY_MOST_S = 10.0
STEADY_S = 1.0  # a watch that lasted so long was one: the next comes soon
PASSING = (Disconnected, errors.ServiceUnavailable, errors.TooManyRequests, errors.Timeout)  # what is wrong with the way, or with the moment
LIST_PAGE = 500  # objects: a page is decoded without holding the loop for long


class Informer(Generic[V]):
    """``view`` may return None to leave an object out. ``items`` maps ``namespace/name`` to the view."""

    def __init__(
        self,
        client: Client,
        kind: Kind,
        view: Callable[[Object], V | None],
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
    ) -> None:
        self._client = client
        self.kind = kind
        self._view = view
        self._scope = {"namespace": namespace, "labels": labels, "fields": fields}
        self._items: dict[str, V] = {}
        self._handlers: list[Handler[V]] = []
        self._indexers: dict[str, Callable[[V], Iterable[str]]] = {}
        self._indexes: dict[str, dict[str, dict[str, V]]] = {}
        self._moved = trio.lowlevel.ParkingLot()  # those who wait for the cache to show something
        self._awaited: list[tuple[int, int, trio.Event]] = []  # heap of revisions that somebody waits for
        self._waits = itertools.count()
        self.synced = trio.Event()
        self.answered = False  # by the API: until then the cache is empty, or what it was seeded with
        self.revision = ""

    @property
    def items(self) -> Mapping[str, V]:
        return self._items

    def get(self, key: str) -> V | None:
        return self._items.get(key)

    def add_handler(self, handler: Handler[V]) -> None:
        """Called for every change from now on, and at once for everything already there."""
        self._handlers.append(handler)
        for key, view in list(self._items.items()):
            handler(key, None, view)

    def add_index(self, name: str, values: Callable[[V], Iterable[str]]) -> None:
        """Keep views findable by the strings that ``values`` gives for them. A name that is already there keeps its function."""
        if name in self._indexers:
            return
        self._indexers[name] = values
        self._indexes[name] = {}
        for key, view in self._items.items():
            self._index(name, key, None, view)

    def by_index(self, name: str, value: str) -> list[V]:
        return list(self._indexes[name].get(value, {}).values())

    def count(self, name: str, value: str) -> int:
        """How many ``by_index`` would give."""
        return len(self._indexes[name].get(value, ()))

    async def until(self, shown: Callable[[], bool]) -> None:
        """Return once the cache is such that ``shown()`` is true."""
        while not shown():
            await self._moved.park()

    async def until_at(self, revision: str) -> None:
        """Return once the cache is at least as new as ``revision``. Only for an informer without selectors, which hears of every change."""
        wanted = _number(revision)
        if _number(self.revision) >= wanted:
            return
        event = trio.Event()
        heapq.heappush(self._awaited, (wanted, next(self._waits), event))
        await event.wait()

    def seed(self, items: Mapping[str, V]) -> None:
        """Go by these until the API answers: what it said at another time. Once it has answered they are not looked at."""
        if self.synced.is_set():
            return
        for key, view in items.items():
            self._set(key, view)
        self.synced.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the cache current for ever; started once the first list is in.

        A watch that broke goes on where it was: everything is listed again only when the API has no history from there any more (410 Gone; after a
        restart that jumped, say), or refuses to go on.
        """
        wait_s, complete = RETRY_FIRST_S, False
        while True:
            began = trio.current_time()
            try:
                if not complete:
                    await self._list()
                    complete = True
                    self.synced.set()
                    if not self.answered:
                        self.answered = True
                        task_status.started()
                await self._follow()
            except errors.Expired:
                complete = False
                await trio.sleep(RETRY_FIRST_S)  # a server that keeps no history at all must not be listed without pause
            except (Disconnected, errors.ApiError) as exc:
                complete = complete and isinstance(exc, PASSING)
                wait_s = RETRY_FIRST_S if trio.current_time() - began > STEADY_S else wait_s
                say = log.debug if isinstance(exc, Unlinked) else log.warning
                say("cannot list or watch", kind=self.kind.resource, error=exc, retry_s=round(wait_s, 1))
                await trio.sleep(wait_s * random.uniform(0.5, 1.5))
                wait_s = min(wait_s * 2, RETRY_MOST_S)

    async def _list(self) -> None:
        found: dict[str, V] = {}
        token = ""
        while True:
            page = await self._client.list(self.kind, limit=LIST_PAGE, continue_token=token, patient=True, **self._scope)
            for obj in page.items:
                view = self._view(obj)
                if view is not None:
                    found[objects.key(obj)] = view
            token = page.continue_token
            if not token:
                break
        for key in [key for key in self._items if key not in found]:
            self._set(key, None)
        for key, view in found.items():
            self._set(key, view)
        self._move_to(page.revision)

    async def _follow(self) -> None:
        while True:
            async with self._client.watch(self.kind, revision=self.revision, **self._scope) as events:
                async for event in events:
                    self._apply(event)

    def _apply(self, event: WatchEvent) -> None:
        if event.type != "BOOKMARK":
            self._set(objects.key(event.object), None if event.type == "DELETED" else self._view(event.object))
        self._move_to(objects.revision(event.object))

    def _move_to(self, revision: str) -> None:
        self.revision = revision
        number = _number(revision)
        while self._awaited and self._awaited[0][0] <= number:
            heapq.heappop(self._awaited)[2].set()
        if self._moved:
            self._moved.unpark_all()

    def _set(self, key: str, new: V | None) -> None:
        old = self._items.get(key)
        if old == new:
            return
        for name in self._indexers:
            self._index(name, key, old, new)
        if new is None:
            del self._items[key]
        else:
            self._items[key] = new
        for handler in self._handlers:
            handler(key, old, new)

    def _index(self, name: str, key: str, old: V | None, new: V | None) -> None:
        values, index = self._indexers[name], self._indexes[name]
        if old is not None:
            for value in values(old):
                bucket = index.get(value, {})
                bucket.pop(key, None)
                if not bucket:
                    index.pop(value, None)
        if new is not None:
            for value in values(new):
                index.setdefault(value, {})[key] = new


def _number(revision: str) -> int:
    return int(revision or 0)


class Informers:
    """One informer per kind and view, shared by all who ask. ``run`` runs those asked for before it, and starts those asked for later."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._shared: dict[tuple[Kind, Callable[[Object], object]], Informer[object]] = {}
        self._scopes: dict[tuple[Kind, Callable[[Object], object]], trio.CancelScope] = {}
        self._nursery: trio.Nursery | None = None

    def of(self, kind: Kind, view: Callable[[Object], V | None]) -> Informer[V]:
        """The informer of this kind with this view (a named function: two lambdas are two caches)."""
        key = (kind, view)
        if key not in self._shared:
            self._shared[key] = cast(Informer[object], Informer(self._client, kind, view))
            self._start(key)
        return cast(Informer[V], self._shared[key])

    def forget(self, kind: Kind, view: Callable[[Object], object]) -> None:
        """Stop the informer of a kind that is no longer served. Its handlers hear nothing of it."""
        self._shared.pop((kind, view), None)
        scope = self._scopes.pop((kind, view), None)
        if scope:
            scope.cancel()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run them for ever; started once the caches of all that were asked for before are full."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            waited_for = list(self._shared.items())
            for key, _ in waited_for:
                self._start(key)
            for _, informer in waited_for:
                await informer.synced.wait()
            task_status.started()
            await trio.sleep_forever()

    def _start(self, key: tuple[Kind, Callable[[Object], object]]) -> None:
        if self._nursery is None:
            return
        self._scopes[key] = trio.CancelScope()
        self._nursery.start_soon(self._run_one, self._shared[key], self._scopes[key])

    async def _run_one(self, informer: Informer[object], scope: trio.CancelScope) -> None:
        with scope:
            await informer.run()
