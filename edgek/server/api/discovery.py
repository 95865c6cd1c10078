"""Which groups, versions and resources there are: ``/api``, ``/apis`` and below.

Two dialects. The old one is a document per group and version; the aggregated one (``apidiscovery.k8s.io/v2``) says everything in two, and is chosen
by the Accept header. Documents are made when asked for: that takes a millisecond, and keeps nothing in memory.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from edgek.client.transport import Response
from edgek.model import structs
from edgek.model.kinds import GROUPS, Kind, Subresource
from edgek.server.api import negotiation
from edgek.server.api.routes import Registry

AGGREGATED = {"g": "apidiscovery.k8s.io", "v": "v2", "as": "APIGroupDiscoveryList"}
AGGREGATED_TYPE = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

_PRIORITY = {group: at for at, (group, _) in enumerate(GROUPS)}
_BUILT_IN_VERSIONS = dict(GROUPS)
_VERSION = re.compile(r"v([1-9][0-9]*)(?:(alpha|beta)([1-9][0-9]*))?")
_STABILITY = {None: 2, "beta": 1, "alpha": 0}


class Discovery:
    """``address`` is where clients reach the server (``10.0.0.1:6443``); only ancient ones look at it."""

    def __init__(self, registry: Registry, address: str = "") -> None:
        self._registry = registry
        self._address = address

    def respond(self, path: str, accept: str, if_none_match: str = "") -> Response | None:
        """The answer to a GET, or None where nothing is to be discovered. Raises NotAcceptable."""
        parts = path.strip("/").split("/")
        if parts[0] not in ("api", "apis") or len(parts) > 3:
            return None
        if len(parts) == 1 and _wants_aggregated(accept):
            body = negotiation.encode(self._aggregated(core=parts == ["api"]), "application/json")
            return _answer(body, AGGREGATED_TYPE, if_none_match)
        document = self._document(parts)
        if document is None:
            return None
        media = negotiation.wanted(accept, False).media
        media = media if media == "application/yaml" else "application/json"
        return _answer(negotiation.encode(document, media), media, if_none_match)

    def _document(self, parts: Sequence[str]) -> dict[str, Any] | None:
        match parts:
            case ["api"]:
                cidrs = [{"clientCIDR": "0.0.0.0/0", "serverAddress": self._address}]
                return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": cidrs}
            case ["api", version]:
                return self._resource_list("", version)
            case ["apis"]:
                groups = [_group(group, versions) for group, versions in self._groups()]
                return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
            case ["apis", name]:
                found = next((versions for group, versions in self._groups() if group == name), None)
                return None if found is None else {"kind": "APIGroup", "apiVersion": "v1", **_group(name, found)}
            case ["apis", name, version]:
                return self._resource_list(name, version)
        return None

    def _groups(self) -> list[tuple[str, list[str]]]:
        """Every group but the core one, with its versions, the preferred one first. Ours first, others by name."""
        found: dict[str, set[str]] = {}
        for kind in self._registry.all():
            if kind.group:
                found.setdefault(kind.group, set()).add(kind.version)
        names = sorted(found, key=lambda group: (_PRIORITY.get(group, len(_PRIORITY)), group))
        return [(group, sorted_versions(group, found[group])) for group in names]

    def _kinds(self, group: str, version: str) -> list[Kind]:
        kinds = [kind for kind in self._registry.all() if (kind.group, kind.version) == (group, version)]
        return sorted(kinds, key=lambda kind: kind.plural)

    def _resource_list(self, group: str, version: str) -> dict[str, Any] | None:
        kinds = self._kinds(group, version)
        if not kinds:
            return None
        head = {"kind": "APIResourceList", "groupVersion": kinds[0].api_version}
        if group:
            head["apiVersion"] = "v1"
        return {**head, "resources": [entry for kind in kinds for entry in _resources(kind)]}

    def _aggregated(self, core: bool) -> dict[str, Any]:
        groups = [("", ["v1"])] if core else self._groups()
        items = [
            {
                "metadata": {"name": group} if group else {},
                "versions": [
                    {"version": version, "resources": [_aggregated_resource(kind) for kind in self._kinds(group, version)], "freshness": "Current"}
                    for version in versions
                ],
            }
            for group, versions in groups
        ]
        return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def sorted_versions(group: str, versions: set[str]) -> list[str]:
    """The preferred version first: for our groups by the table, for others v2 before v1 before v1beta1, and what is no version last."""
    known = _BUILT_IN_VERSIONS.get(group, ())
    return [version for version in known if version in versions] + sorted(versions - set(known), key=_version_rank)


def _version_rank(version: str) -> tuple[int, int, int, int, str]:
    found = _VERSION.fullmatch(version)
    if found is None:
        return 1, 0, 0, 0, version
    return 0, -_STABILITY[found[2]], -int(found[1]), -int(found[3] or 0), version


def _wants_aggregated(accept: str) -> bool:
    """Whether the first clause that we could answer asks for the aggregated form."""
    for media, parameters in negotiation.clauses(accept):
        if media == "application/json" and parameters.items() >= AGGREGATED.items():
            return True
        if "as" not in parameters and media in ("application/json", "application/yaml", "*/*", "application/*"):
            return False
    return False


def _answer(body: bytes, content_type: str, if_none_match: str) -> Response:
    etag = f'"{hashlib.sha256(body).hexdigest().upper()}"'
    headers = {"content-type": content_type, "etag": etag, "vary": "Accept", "cache-control": "public"}
    if etag in (tag.strip() for tag in if_none_match.split(",")):
        return Response(304, {name: value for name, value in headers.items() if name != "content-type"})
    return Response(200, headers, body)


def _group(name: str, versions: Sequence[str]) -> dict[str, Any]:
    shown = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": shown, "preferredVersion": shown[0]}


def _resources(kind: Kind) -> list[dict[str, Any]]:
    """A resource and its subresources, as the old dialect lists them."""
    entry: dict[str, Any] = {"name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.name}
    entry["verbs"] = list(kind.verbs)
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    return [entry, *(_subresource(kind, sub) for sub in sorted(kind.subresources, key=lambda sub: sub.name))]


def _subresource(kind: Kind, sub: Subresource) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": f"{kind.plural}/{sub.name}", "singularName": "", "namespaced": kind.namespaced, "kind": sub.kind}
    if sub.version:
        entry |= {"group": sub.group, "version": sub.version}
    return {**entry, "verbs": list(sub.verbs)}


def _aggregated_resource(kind: Kind) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "resource": kind.plural,
        "responseKind": _response_kind(kind, kind.name),
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    if kind.subresources:
        entry["subresources"] = [
            {"subresource": sub.name, "responseKind": _response_kind(kind, sub.kind, sub), "verbs": list(sub.verbs)}
            for sub in sorted(kind.subresources, key=lambda sub: sub.name)
        ]
    return entry


def _response_kind(kind: Kind, name: str, sub: Subresource | None = None) -> dict[str, str]:
    """Upstream leaves group and version empty where they are those of the list around; for custom resources it names them."""
    if sub is not None and sub.version:
        return {"group": sub.group, "version": sub.version, "kind": name}
    if structs.of_kind(kind) is None:
        return {"group": kind.group, "version": kind.version, "kind": name}
    return {"group": "", "version": "", "kind": name}
