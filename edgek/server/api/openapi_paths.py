"""Which paths and methods a kind has, in neither version of OpenAPI: ``openapi.py`` writes them down in both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import attrs

from edgek.model.kinds import Kind, Subresource

Method = Literal["get", "put", "post", "delete", "options", "head", "patch"]
Answer = Literal["object", "list", "status", "watch", "text", "resources"]

_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_PROXY_METHODS: tuple[Method, ...] = ("get", "put", "post", "delete", "options", "head", "patch")
_METHOD_OF: Mapping[str, tuple[Method, str]] = {
    "get": ("get", "get"),
    "update": ("put", "put"),
    "patch": ("patch", "patch"),
    "delete": ("delete", "delete"),
    "create": ("post", "post"),
}


@attrs.frozen
class Operation:
    """``group``, ``version`` and ``kind`` are what it is about; ``answer`` says which shape comes back."""

    path: str
    method: Method
    action: str
    group: str
    version: str
    kind: str
    answer: Answer

    @property
    def takes_object(self) -> bool:
        return self.method in ("put", "post") and self.action != "connect"

    @property
    def writes(self) -> bool:
        return self.method in ("put", "post", "patch") and self.action != "connect"


def operations(kind: Kind) -> Iterator[Operation]:
    """Everything that can be done with a kind and its subresources."""
    base = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    collection = f"{base}/namespaces/{{namespace}}/{kind.plural}" if kind.namespaced else f"{base}/{kind.plural}"
    yield from _collection(kind, collection)
    if kind.namespaced and "list" in kind.verbs:
        yield _about(kind, f"{base}/{kind.plural}", "get", "list", "list")
    one = f"{collection}/{{name}}"
    for verb in ("get", "update", "patch", "delete"):
        if verb in kind.verbs:
            method, action = _METHOD_OF[verb]
            yield _about(kind, one, method, action, "status" if verb == "delete" else "object")
    if "watch" in kind.verbs:
        yield from _watches(kind, base)
    for sub in kind.subresources:
        yield from _subresource(kind, sub, f"{one}/{sub.name}")


def _collection(kind: Kind, path: str) -> Iterator[Operation]:
    if "list" in kind.verbs:
        yield _about(kind, path, "get", "list", "list")
    if "create" in kind.verbs:
        yield _about(kind, path, "post", "post", "object")
    if "deletecollection" in kind.verbs:
        yield _about(kind, path, "delete", "deletecollection", "status")


def _watches(kind: Kind, base: str) -> Iterator[Operation]:
    paths = [f"{base}/watch/{kind.plural}"]
    if kind.namespaced:
        paths.append(f"{base}/watch/namespaces/{{namespace}}/{kind.plural}")
    for path in (*paths, f"{paths[-1]}/{{name}}"):
        yield _about(kind, path, "get", "watch" if path.endswith("{name}") else "watchlist", "watch")


def _subresource(kind: Kind, sub: Subresource, path: str) -> Iterator[Operation]:
    about = (sub.group, sub.version) if sub.version else (kind.group, kind.version)
    if sub.name == "proxy":
        for where in (path, f"{path}/{{path}}"):
            for method in _PROXY_METHODS:
                yield Operation(where, method, "connect", *about, sub.kind, "text")
        return
    connects = sub.kind.endswith("Options")
    for verb in sub.verbs:
        method, action = _METHOD_OF[verb]
        answer: Answer = "text" if connects or sub.name == "log" else "object"
        yield Operation(path, method, "connect" if connects else action, *about, sub.kind, answer)


def _about(kind: Kind, path: str, method: Method, action: str, answer: Answer) -> Operation:
    return Operation(path, method, action, kind.group, kind.version, kind.name, answer)
