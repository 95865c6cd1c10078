"""OpenAPI documents: ``/openapi/v3`` with one per group and version, ``/openapi/v2`` with all in one.

Made from the packed schemas and the kinds that are served, when somebody asks, and forgotten soon after. kubectl reads them for ``explain``,
``apply``, ``diff`` and to see whether it may leave validation to the server; nothing in edgek depends on them.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from edgek.client.transport import Response
from edgek.model import packed, structs
from edgek.model.kinds import Kind
from edgek.server.api import negotiation, openapi_v2proto
from edgek.server.api.openapi_paths import Operation, operations
from edgek.server.api.routes import Registry

KEPT_DOCUMENTS = 4  # compressed, 10 to 100 KB each: what one run of kubectl asks for several times
# Clients ask with an "@", which no media type may have; the answer has a dot instead, as upstream's has.
V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
V2_PROTOBUF_ASKED = (V2_PROTOBUF, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")
_JSON = "application/json"

_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_PREFIX = "#/components/schemas/"
_REVISION = "1"  # count up when documents come out otherwise for the same kinds: clients cache them by their hash
_GVK = "x-kubernetes-group-version-kind"
_OPEN_SCHEMA = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_WRITE_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation")
_LIST_PARAMETERS = ("allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit", "resourceVersion", "timeoutSeconds", "watch")
_TYPES = {"allowWatchBookmarks": "boolean", "force": "boolean", "watch": "boolean", "limit": "integer", "timeoutSeconds": "integer"}
_PATCH_TYPES = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)

Schema = dict[str, Any]
CustomSchema = Callable[[Kind], Schema | None]


class OpenApi:
    """``custom_schema`` gives the schema of a custom resource's version (with its defaults, without metadata), where there is one."""

    def __init__(self, registry: Registry, custom_schema: CustomSchema | None = None) -> None:
        self._registry = registry
        self._custom_schema = custom_schema or (lambda kind: None)
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    def respond(self, path: str, headers: Mapping[str, str]) -> Response | None:
        """The answer to any method on a path below ``/openapi/``."""
        path = path.rstrip("/")
        if path == "/openapi/v3":
            return _answer(orjson.dumps(self._index()), _JSON, headers)
        if path == "/openapi/v2":
            return self._v2(headers)
        if not path.startswith("/openapi/v3/"):
            return None
        kinds = self._versions().get(path.removeprefix("/openapi/v3/"))
        if kinds is None:
            return Response(404, {"content-type": "text/plain; charset=utf-8"})
        hash_ = self._hash(kinds)
        return self._served(hash_, _JSON, headers, lambda: orjson.dumps(_v3_document(kinds, self._schemas(kinds))))

    def _index(self) -> dict[str, Any]:
        versions = self._versions()
        return {"paths": {name: {"serverRelativeURL": f"/openapi/v3/{name}?hash={self._hash(versions[name])}"} for name in sorted(versions)}}

    def _versions(self) -> dict[str, list[Kind]]:
        """``apis/apps/v1`` -> its kinds."""
        found: dict[str, list[Kind]] = {}
        for kind in sorted(self._registry.all(), key=lambda kind: kind.plural):
            found.setdefault(f"apis/{kind.group}/{kind.version}" if kind.group else f"api/{kind.version}", []).append(kind)
        return found

    def _hash(self, kinds: Sequence[Kind]) -> str:
        """Changes whenever the document does; made from what the document is made of, so that the index needs no documents."""
        custom = [orjson.dumps(self._custom_schema(kind), option=orjson.OPT_SORT_KEYS) for kind in kinds if structs.of_kind(kind) is None]
        return hashlib.sha256(repr((_REVISION, packed.has_descriptions(), kinds, custom)).encode()).hexdigest().upper()

    def _v2(self, headers: Mapping[str, str]) -> Response:
        accept = headers.get("accept", "")
        wants_protobuf = any(media in V2_PROTOBUF_ASKED for media, _ in negotiation.clauses(accept))
        kinds = sorted(self._registry.all(), key=lambda kind: (kind.group, kind.version, kind.plural))
        hash_ = self._hash(kinds)
        if wants_protobuf:
            return self._served(f"{hash_}-PROTOBUF", V2_PROTOBUF, headers, lambda: openapi_v2proto.encode(_v2_document(kinds, self._schemas(kinds))))
        return self._served(hash_, _JSON, headers, lambda: orjson.dumps(_v2_document(kinds, self._schemas(kinds))))

    def _served(self, hash_: str, content_type: str, headers: Mapping[str, str], make: Callable[[], bytes]) -> Response:
        """From the few that are kept, compressed; made if it is not there."""
        if f'"{hash_}"' in headers.get("if-none-match", ""):
            return Response(304, {"etag": f'"{hash_}"', "vary": "Accept-Encoding"})
        body = self._kept.pop(hash_, None)
        if body is None:
            body = gzip.compress(make(), compresslevel=1, mtime=0)
        self._kept[hash_] = body
        while len(self._kept) > KEPT_DOCUMENTS:
            self._kept.popitem(last=False)
        return _answer(body, content_type, headers, hash_, compressed=True)

    def _schemas(self, kinds: Iterable[Kind]) -> dict[str, Schema]:
        """Every schema there is, custom ones included, by its name."""
        schemas: dict[str, Schema] = packed.load("openapi")
        for kind in kinds:
            if structs.of_kind(kind) is None:
                schemas |= _custom_schemas(kind, self._custom_schema(kind))
        return schemas


def _answer(body: bytes, content_type: str, headers: Mapping[str, str], hash_: str = "", *, compressed: bool = False) -> Response:
    hash_ = hash_ or hashlib.sha256(body).hexdigest().upper()
    if f'"{hash_}"' in headers.get("if-none-match", ""):
        return Response(304, {"etag": f'"{hash_}"', "vary": "Accept-Encoding"})
    found = {"content-type": content_type, "etag": f'"{hash_}"', "vary": "Accept-Encoding, Accept", "cache-control": "no-cache, private"}
    if compressed and "gzip" in headers.get("accept-encoding", ""):
        return Response(200, {**found, "content-encoding": "gzip"}, body)
    return Response(200, found, gzip.decompress(body) if compressed else body)


def _custom_schemas(kind: Kind, schema: Schema | None) -> dict[str, Schema]:
    """A custom resource and its list. Upstream names them by the group, backwards."""
    name = ".".join([*reversed(kind.group.split(".")), kind.version, kind.name])
    strings = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}}
    one = dict(schema or _OPEN_SCHEMA)
    one["properties"] = {**one.get("properties", {}), **strings, "metadata": {"allOf": [{"$ref": f"{_PREFIX}{_META}.ObjectMeta"}]}}
    one[_GVK] = [{"group": kind.group, "version": kind.version, "kind": kind.name}]
    many = {
        "type": "object",
        "required": ["items"],
        "properties": {
            **strings,
            "metadata": {"allOf": [{"$ref": f"{_PREFIX}{_META}.ListMeta"}]},
            "items": {"type": "array", "items": {"allOf": [{"$ref": _PREFIX + name}]}},
        },
        _GVK: [{"group": kind.group, "version": kind.version, "kind": f"{kind.name}List"}],
    }
    return {name: one, f"{name}List": many}


def _names(schemas: Mapping[str, Schema]) -> dict[tuple[str, str, str], str]:
    """Schema names by group, version and kind."""
    return {(gvk["group"], gvk["version"], gvk["kind"]): name for name, schema in schemas.items() for gvk in schema.get(_GVK, ())}


def _reachable(schemas: Mapping[str, Schema], roots: Iterable[str]) -> dict[str, Schema]:
    found: dict[str, Schema] = {}
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in found and name in schemas:
            found[name] = schemas[name]
            waiting.extend(_references(schemas[name]))
    return dict(sorted(found.items()))


def _described(schemas: Mapping[str, Schema]) -> dict[str, Schema]:
    """With the texts for ``kubectl explain``, where edgek was built with them."""
    known = packed.descriptions()
    return {name: _with_texts(schema, known.get(_struct_name(name))) for name, schema in schemas.items()}


def _struct_name(schema: str) -> str:
    """``io.k8s.api.core.v1.Pod`` -> ``core/v1.Pod``."""
    *_, group, version, kind = ["", *schema.split(".")]
    return f"{group}/{version}.{kind}"


def _with_texts(schema: Schema, known: bytes | None) -> Schema:
    if known is None:
        return schema
    texts: dict[str, str] = orjson.loads(known)
    properties = {
        name: {"description": texts[name.strip("$_")], **member} if name.strip("$_") in texts else member
        for name, member in (schema.get("properties") or {}).items()
    }
    described = {**schema, "properties": properties} if properties else dict(schema)
    return {"description": texts[""], **described} if "" in texts else described


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, member in value.items():
            if name == "$ref" and isinstance(member, str):
                yield member.removeprefix(_PREFIX)
            else:
                yield from _references(member)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def _input_and_output(operation: Operation, names: Mapping[tuple[str, str, str], str]) -> tuple[str, str]:
    """The schemas of the body and of the answer; empty where there is none."""
    one = names.get((operation.group, operation.version, operation.kind), "")
    body = one if operation.takes_object else ""
    if operation.method == "patch" and operation.action == "patch":
        body = f"{_META}.Patch"
    if operation.answer == "status":
        body = f"{_META}.DeleteOptions"
    answers = {
        "object": one,
        "list": names.get((operation.group, operation.version, f"{operation.kind}List"), ""),
        "status": f"{_META}.Status",
        "watch": f"{_META}.WatchEvent",
        "resources": f"{_META}.APIResourceList",
    }
    return body, answers.get(operation.answer, "")


def _query_parameters(operation: Operation) -> tuple[str, ...]:
    if operation.action in ("list", "deletecollection"):
        return _LIST_PARAMETERS
    if not operation.writes:
        return ()
    return (*_WRITE_PARAMETERS, "force") if operation.method == "patch" else _WRITE_PARAMETERS


def _path_parameters(path: str) -> list[str]:
    return re.findall(r"\{(\w+)\}", path)


def _identity(operation: Operation) -> dict[str, Any]:
    """What kubectl looks for in an operation."""
    words = re.sub(r"[{}]", "", operation.path).replace("/", " ").replace(".", " ").replace("-", " ").split()
    gvk = {"group": operation.group, "version": operation.version, "kind": operation.kind}
    about = {"x-kubernetes-action": operation.action, _GVK: gvk} if operation.kind else {}
    return {"operationId": operation.method + "".join(word[:1].upper() + word[1:] for word in words), **about}


def _all_operations(kinds: Iterable[Kind]) -> Iterator[Operation]:
    bases = set()
    for kind in kinds:
        base = f"/apis/{kind.group}/{kind.version}/" if kind.group else f"/api/{kind.version}/"
        if base not in bases:
            bases.add(base)
            yield Operation(base, "get", "", "", "", "", "resources")
        yield from operations(kind)


def _v3_document(kinds: Sequence[Kind], schemas: dict[str, Schema]) -> dict[str, Any]:
    names = _names(schemas)
    paths: dict[str, Any] = {}
    roots: set[str] = set()
    for operation in _all_operations(kinds):
        body, answer = _input_and_output(operation, names)
        roots |= {body, answer}
        path = paths.setdefault(operation.path, {})
        if operation.action and "parameters" not in path and (inside := _path_parameters(operation.path)):
            path["parameters"] = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in inside]
        path[operation.method] = _v3_operation(operation, body, answer)
    found = _described(_reachable(schemas, roots))
    for kind in ("DeleteOptions", "WatchEvent"):
        _narrow(found, f"{_META}.{kind}", kinds[0], kind)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": found},
    }


def _narrow(found: dict[str, Schema], name: str, kind: Kind, gvk_kind: str) -> None:
    """Options and watch events belong to every group; a document names its own."""
    if name in found:
        groups = {("", "v1"), (kind.group, kind.version)}
        gvks = [{"group": group, "version": version, "kind": gvk_kind} for group, version in sorted(groups)]
        found[name] = {**found[name], _GVK: gvks}


def _v3_operation(operation: Operation, body: str, answer: str) -> dict[str, Any]:
    shown = _identity(operation)
    if parameters := _query_parameters(operation):
        shown["parameters"] = [{"name": name, "in": "query", "schema": {"type": _TYPES.get(name, "string")}} for name in parameters]
    if body:
        media = _PATCH_TYPES if operation.method == "patch" else ("*/*",)
        shown["requestBody"] = {"content": {name: {"schema": {"$ref": _PREFIX + body}} for name in media}}
    schema = {"$ref": _PREFIX + answer} if answer else {"type": "string"}
    shown["responses"] = {"200": {"description": "OK", "content": {_JSON: {"schema": schema}}}}
    return shown


def _v2_document(kinds: Sequence[Kind], schemas: dict[str, Schema]) -> dict[str, Any]:
    names = _names(schemas)
    paths: dict[str, Any] = {}
    roots: set[str] = set()
    for operation in _all_operations(kinds):
        if operation.answer == "watch":
            continue  # old paths that no reader of version 2 looks for; they would be a third of it
        body, answer = _input_and_output(operation, names)
        roots |= {body, answer}
        path = paths.setdefault(operation.path, {})
        if operation.action and "parameters" not in path and (inside := _path_parameters(operation.path)):
            path["parameters"] = [{"name": name, "in": "path", "required": True, "type": "string", "uniqueItems": True} for name in inside]
        path[operation.method] = _v2_operation(operation, body, answer)
    found = {name: _v2_schema(name, schema) for name, schema in _described(_reachable(schemas, roots)).items()}
    info = {"title": "Kubernetes", "version": "unversioned"}
    return {"swagger": "2.0", "info": info, "paths": dict(sorted(paths.items())), "definitions": found}


def _v2_operation(operation: Operation, body: str, answer: str) -> dict[str, Any]:
    shown = _identity(operation)
    parameters: list[dict[str, Any]] = []
    if body:
        parameters.append({"name": "body", "in": "body", "required": True, "schema": {"$ref": f"#/definitions/{body}"}})
    if operation.writes:
        parameters += [
            {"name": name, "in": "query", "type": _TYPES.get(name, "string"), "uniqueItems": True} for name in _query_parameters(operation)
        ]
    if parameters:
        shown["parameters"] = parameters
    if operation.method == "patch" and body:
        shown["consumes"] = list(_PATCH_TYPES)
    schema = {"$ref": f"#/definitions/{answer}"} if answer else {"type": "string"}
    shown["responses"] = {"200": {"description": "OK", "schema": schema}}
    return shown


def _v2_schema(name: str, schema: Schema) -> Schema:
    """Version 2 has no oneOf, and a reference stands alone."""
    if name.endswith(".IntOrString"):
        return {"type": "string", "format": "int-or-string"}
    if name.endswith(".Quantity"):
        return {"type": "string"}
    converted: Schema = _v2_value(schema)
    return converted


def _v2_value(value: Any) -> Any:
    if isinstance(value, list):
        return [_v2_value(item) for item in value]
    if not isinstance(value, dict):
        return value
    wrapped = value.get("allOf")
    if isinstance(wrapped, list) and len(wrapped) == 1 and isinstance(wrapped[0], dict) and "$ref" in wrapped[0]:
        rest = {name: _v2_value(member) for name, member in value.items() if name not in ("allOf", "default")}
        return {**rest, "$ref": "#/definitions/" + wrapped[0]["$ref"].removeprefix(_PREFIX)}
    converted = {name: _v2_value(member) for name, member in value.items() if name not in ("default", "nullable", "oneOf", "anyOf", "not")}
    if isinstance(converted.get("$ref"), str):
        converted["$ref"] = "#/definitions/" + converted["$ref"].removeprefix(_PREFIX)
    return converted
