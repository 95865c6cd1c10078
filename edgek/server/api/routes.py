"""What a path means: which kind, where, which object, which verb. Knows nothing of permissions or methods' effects.

Kinds come from a ``Registry`` that can grow while the server runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from edgek.model.kinds import KINDS, Kind

_COLLECTION_VERBS: Mapping[str, str] = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}
_OBJECT_VERBS: Mapping[str, str] = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_VERBS: Mapping[str, str] = {**_OBJECT_VERBS, "POST": "create"}


class Registry:
    """The kinds that are served now."""

    def __init__(self, kinds: Iterable[Kind] = KINDS) -> None:
        self._by_path: dict[tuple[str, str, str], Kind] = {}
        self._by_name: dict[tuple[str, str], Kind] = {}
        self._stored: dict[str, Kind] = {}
        for kind in kinds:
            self.add(kind)

    def add(self, kind: Kind) -> None:
        self._by_path[kind.group, kind.version, kind.plural] = kind
        self._by_name[kind.api_version, kind.name] = kind
        if not kind.stored_as:
            self._stored[kind.storage] = kind

    def remove(self, kind: Kind) -> None:
        self._by_path.pop((kind.group, kind.version, kind.plural), None)
        self._by_name.pop((kind.api_version, kind.name), None)
        self._stored.pop(kind.storage, None)

    def at(self, group: str, version: str, plural: str) -> Kind | None:
        return self._by_path.get((group, version, plural))

    def named(self, api_version: str, name: str) -> Kind | None:
        return self._by_name.get((api_version, name))

    def stored(self, kind: Kind) -> Kind:
        """The kind as which its objects are kept: another one only where two groups show the same objects."""
        return self._stored.get(kind.storage, kind)

    def all(self) -> list[Kind]:
        return list(self._by_path.values())

    def has_group(self, group: str) -> bool:
        return any(kind.group == group for kind in self._by_path.values())


@attrs.frozen
class Route:
    """A path below ``/api/v1`` or ``/apis/GROUP/VERSION`` that names a resource, whether there is one or not.

    ``rest`` is what follows a subresource (``proxy/a/b``). ``watching`` says that the old ``/watch/`` prefix was there.
    """

    group: str
    version: str
    plural: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""
    watching: bool = False

    def at(self, namespace: str, name: str) -> Route:
        """The same resource's path, for one object."""
        return attrs.evolve(self, namespace=namespace, name=name)


def parse(path: str) -> Route | None:
    """None for what is not a resource's path: discovery, health, anything else."""
    parts = path.split("/")
    if len(parts) >= 4 and parts[1] == "api":
        group, version, rest = "", parts[2], parts[3:]
    elif len(parts) >= 5 and parts[1] == "apis":
        group, version, rest = parts[2], parts[3], parts[4:]
    else:
        return None
    watching = rest[0] == "watch" and len(rest) > 1
    if watching:
        rest = rest[1:]
    if not rest[0]:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        # /namespaces/NAME and its own subresources name the namespace itself, anything else lies in it.
        if len(rest) == 2 or (len(rest) == 3 and rest[2] in ("status", "finalize")):
            return Route(group, version, "namespaces", namespace, namespace, "/".join(rest[2:]), watching=watching)
        rest = rest[2:]
    plural, name, subresource, *more = [*rest, "", ""][: max(3, len(rest))]
    return Route(group, version, plural, namespace, name, subresource, "/".join(more), watching)


def verb(method: str, route: Route, watching: bool) -> str:
    """The verb of RBAC. An unknown method has an empty one."""
    if route.subresource or route.name:
        found = _OBJECT_VERBS if not route.subresource else _VERBS
        if method == "POST":
            return "create"
        known = found.get("GET" if method == "HEAD" else method, "")
    else:
        known = _COLLECTION_VERBS.get("GET" if method == "HEAD" else method, "")
        if method in ("PUT", "PATCH"):
            known = _OBJECT_VERBS[method]
    if (watching and known == "list") or (route.watching and known in ("get", "list")):
        return "watch"
    return known
