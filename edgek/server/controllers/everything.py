"""Every object of every kind, as much of it as deletion and ownership need, custom resources included.

Joins one informer per kind into one source of changes. Whoever asks for the same view shares the caches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from edgek.client.informer import Informer
from edgek.client.reconcile import Cluster
from edgek.model import kinds, objects
from edgek.model.kinds import KINDS, Kind
from edgek.model.objects import Object
from edgek.server.controllers import views
from edgek.server.controllers.views import MetaView

Handler = Callable[[str, MetaView | None, MetaView | None], None]

# Events are many, own nothing and are owned by nobody.
LEFT_OUT = frozenset({kinds.EVENT.storage})


def listable_kinds() -> list[Kind]:
    """Built-in kinds whose objects are stored, each under one of its versions."""
    found: dict[str, Kind] = {}
    for kind in KINDS:
        if "watch" in kind.verbs and "delete" in kind.verbs:
            found.setdefault(kind.storage, kind)
    return list(found.values())


class Everything:
    """Keys are ``resource|namespace/name``. Changes of a kind that is defined later are told as those of the others."""

    def __init__(self, cluster: Cluster) -> None:
        self._informers = cluster.informers
        self._handlers: list[Handler] = []
        self._kinds: dict[str, Kind] = {}
        self._definitions = cluster.informers.of(kinds.CUSTOM_RESOURCE_DEFINITION, views.whole)

    @property
    def synced(self) -> Everything:
        return self

    async def wait(self) -> None:
        """Return once all caches are full."""
        await self._definitions.synced.wait()
        for kind in list(self._kinds.values()):
            await self._cache(kind).synced.wait()

    def add_handler(self, handler: Handler) -> None:
        """Called for every change from now on; the first call starts to follow."""
        self._handlers.append(handler)
        if self._kinds:
            for kind, informer in self._caches():
                for key, view in informer.items.items():
                    handler(f"{kind.storage}|{key}", None, view)
            return
        for kind in listable_kinds():
            if kind.storage not in LEFT_OUT:
                self._follow(kind)
        self._definitions.add_handler(self._definition_changed)

    def get(self, key: str) -> MetaView | None:
        resource, _, own = key.partition("|")
        kind = self._kinds.get(resource)
        return self._cache(kind).get(own) if kind else None

    def kind_of_key(self, key: str) -> Kind | None:
        return self._kinds.get(key.partition("|")[0])

    def kind_of(self, api_version: str, name: str) -> Kind | None:
        """The kind that an owner reference names, in whichever of its versions it is followed."""
        group = api_version.rpartition("/")[0]
        return next((kind for kind in self._kinds.values() if kind.group == group and kind.name == name), None)

    def namespaced_kinds(self) -> list[Kind]:
        return [kind for kind in self._kinds.values() if kind.namespaced]

    def _caches(self) -> Iterator[tuple[Kind, Informer[MetaView]]]:
        for kind in list(self._kinds.values()):
            yield kind, self._cache(kind)

    def _cache(self, kind: Kind) -> Informer[MetaView]:
        return self._informers.of(kind, views.meta)

    def _follow(self, kind: Kind) -> None:
        if kind.storage in self._kinds:
            return
        self._kinds[kind.storage] = kind

        def handler(key: str, old: MetaView | None, new: MetaView | None) -> None:
            for told in self._handlers:
                told(f"{kind.storage}|{key}", old, new)

        self._cache(kind).add_handler(handler)

    def _definition_changed(self, key: str, old: Object | None, new: Object | None) -> None:
        if new is not None and objects.condition_is(new, "Established"):
            kind = defined_kind(new)
            if kind:
                self._follow(kind)
        elif new is None and old is not None:
            self._drop(f"{old['spec']['names']['plural']}.{old['spec']['group']}")

    def _drop(self, resource: str) -> None:
        kind = self._kinds.pop(resource, None)
        if kind is None:
            return
        gone = dict(self._cache(kind).items)
        self._informers.forget(kind, views.meta)
        for own, view in gone.items():
            for told in self._handlers:
                told(f"{resource}|{own}", view, None)


def defined_kind(definition: Object) -> Kind | None:
    """The Kind of a custom resource, in its first served version."""
    spec = definition["spec"]
    version = next((each["name"] for each in spec.get("versions") or () if each.get("served")), None)
    if version is None:
        return None
    names = spec["names"]
    return Kind(spec["group"], version, names["kind"], names["plural"], namespaced=spec.get("scope") != "Cluster")
