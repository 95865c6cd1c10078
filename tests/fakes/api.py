"""A small API server in memory, as a Transport: CRUD, status, finalizers, graceful deletion of Pods, owner-reference patches, watch.

It knows no schema, no defaults, no validation and no access rules; what it does do, it does as the real one: every change takes a revision,
a PUT with an old revision is a Conflict, a write that changes nothing moves nothing, and a watch hears each change once.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import trio

from edgek.client.transport import Request, Response
from edgek.host import wallclock
from edgek.model import errors, objects
from edgek.model.kinds import KINDS, NAMESPACE, POD, Kind
from edgek.model.objects import Object

BY_ROUTE = {(kind.group, kind.version, kind.plural): kind for kind in KINDS}
Interceptor = Callable[[str, Kind, Object], None]


class FakeApi:
    """``writes`` lists what was changed, as ``(verb, resource, name)``. ``before_write`` may raise an ApiError to refuse a request."""

    def __init__(self) -> None:
        self.revision = 100
        self.writes: list[tuple[str, str, str]] = []
        self.before_write: Interceptor | None = None
        self.extra_kinds: dict[tuple[str, str, str], Kind] = {}
        self._stored: dict[str, dict[tuple[str, str], Object]] = {}
        self._history: list[tuple[int, str, str, Object]] = []
        self._changed = trio.lowlevel.ParkingLot()
        self._serial = itertools.count(1)

    # --- what tests look at -------------------------------------------------------------------------------------------------------------

    def all(self, kind: Kind, namespace: str = "") -> list[Object]:
        found = self._stored.get(kind.storage, {})
        return [obj for (ns, _), obj in sorted(found.items()) if namespace in ("", ns)]

    def one(self, kind: Kind, name: str, namespace: str = "default") -> Object | None:
        return self._stored.get(kind.storage, {}).get((namespace if kind.namespaced else "", name))

    # --- the Transport ------------------------------------------------------------------------------------------------------------------

    async def request(self, request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        try:
            return Response(200, {}, orjson.dumps(self._answer(request)))
        except errors.ApiError as exc:
            status = {"kind": "Status", "reason": exc.reason, "message": exc.message, "code": exc.code, "details": exc.details()}
            return Response(exc.code, {}, orjson.dumps(status))

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[_Watch]:
        kind, namespace, _, _ = self._route(request.path)
        yield _Watch(self, kind, namespace, int(request.arg("resourceVersion", "0")))

    # --- routing ------------------------------------------------------------------------------------------------------------------------

    def _route(self, path: str) -> tuple[Kind, str, str, str]:
        parts = path.strip("/").split("/")
        group, parts = ("", parts[1:]) if parts[0] == "api" else (parts[1], parts[2:])
        version, parts = parts[0], parts[1:]
        namespace = ""
        if parts[0] == "namespaces" and len(parts) > 2 and parts[2] not in ("finalize", "status"):
            namespace, parts = parts[1], parts[2:]
        kind = BY_ROUTE.get((group, version, parts[0])) or self.extra_kinds.get((group, version, parts[0]))
        if kind is None:
            raise errors.NotFound("the server could not find the requested resource")
        parts += ["", ""]
        return kind, namespace, parts[1], parts[2]

    def _answer(self, request: Request) -> Any:
        kind, namespace, name, subresource = self._route(request.path)
        body = orjson.loads(request.body) if request.body else {}
        if request.method == "GET":
            return self._get(kind, namespace, name) if name else self._list(kind, namespace, request)
        if request.method == "POST" and subresource == "binding":
            return self._bind(namespace, name, body)
        if request.method == "POST":
            return self._create(kind, namespace, body)
        if request.method == "PUT":
            return self._update(kind, namespace, name, subresource, body)
        if request.method == "PATCH":
            return self._patch(kind, namespace, name, subresource, body, "strategic" in request.headers["content-type"])
        if name:
            return self._delete(kind, namespace, name, body)
        for obj in [obj for obj in self.all(kind, namespace) if _selected(obj, request)]:
            self._delete(kind, objects.namespace(obj), objects.name(obj), {})
        return {"kind": "Status", "status": "Success"}

    def _refuse(self, verb: str, kind: Kind, obj: Object) -> None:
        if self.before_write:
            self.before_write(verb, kind, obj)

    # --- verbs --------------------------------------------------------------------------------------------------------------------------

    def _get(self, kind: Kind, namespace: str, name: str) -> Object:
        found = self._stored.get(kind.storage, {}).get((namespace, name))
        if found is None:
            raise errors.NotFound(f'{kind.resource} "{name}" not found', name=name, kind=kind.plural, group=kind.group)
        return found

    def _list(self, kind: Kind, namespace: str, request: Request) -> Object:
        items = [obj for obj in self.all(kind, namespace) if _selected(obj, request)]
        return {"kind": f"{kind.name}List", "metadata": {"resourceVersion": str(self.revision)}, "items": items}

    def _create(self, kind: Kind, namespace: str, body: Object) -> Object:
        obj = copy.deepcopy(body)
        meta = objects.metadata(obj)
        obj["apiVersion"], obj["kind"] = kind.api_version, kind.name
        if kind.namespaced:
            meta["namespace"] = namespace or meta.get("namespace") or "default"
        serial = next(self._serial)
        if not meta.get("name"):
            meta["name"] = f"{meta['generateName']}{serial:05x}"
        key = (meta.get("namespace", ""), meta["name"])
        self._refuse("create", kind, obj)
        home = self.one(NAMESPACE, key[0])
        if home and objects.is_deleting(home):
            cause = errors.Cause("NamespaceTerminating", f"namespace {key[0]} is being terminated", "metadata.namespace")
            raise errors.Forbidden(f'{kind.resource} "{key[1]}" is forbidden: unable to create new content', causes=[cause])
        if key in self._stored.setdefault(kind.storage, {}):
            raise errors.AlreadyExists(f'{kind.resource} "{key[1]}" already exists', name=key[1], kind=kind.plural, group=kind.group)
        meta["uid"] = f"uid-{serial}"
        meta["creationTimestamp"] = wallclock.now_rfc3339()
        meta["generation"] = 1
        if kind.subresource("status"):
            obj.pop("status", None)
        if kind is POD:
            obj["status"] = {"phase": "Pending"}
        if kind is NAMESPACE:
            obj["spec"] = {"finalizers": ["kubernetes"]}
            obj["status"] = {"phase": "Active"}
        self._store("ADDED", kind, obj)
        self.writes.append(("create", kind.resource, key[1]))
        return obj

    def _update(self, kind: Kind, namespace: str, name: str, subresource: str, body: Object) -> Object:
        old = self._get(kind, namespace, name)
        sent = objects.revision(body)
        if (sent and sent != objects.revision(old)) or (objects.uid(body) and objects.uid(body) != objects.uid(old)):
            raise errors.Conflict(f'Operation cannot be fulfilled on {kind.resource} "{name}": the object has been modified')
        return self._replace(kind, old, body, subresource)

    def _patch(self, kind: Kind, namespace: str, name: str, subresource: str, patch: Object, strategic: bool) -> Object:
        old = self._get(kind, namespace, name)
        new = copy.deepcopy(old)
        _merge(new, copy.deepcopy(patch), strategic)
        if objects.uid(new) != objects.uid(old) or objects.revision(new) != objects.revision(old):
            raise errors.Conflict(f'Operation cannot be fulfilled on {kind.resource} "{name}": the object has been modified')
        return self._replace(kind, old, new, subresource)

    def _replace(self, kind: Kind, old: Object, body: Object, subresource: str) -> Object:
        obj = copy.deepcopy(body)
        self._refuse("update", kind, obj)
        if subresource == "status":
            obj = {**copy.deepcopy(old), "metadata": obj["metadata"], "status": obj.get("status") or {}}
        elif kind.subresource("status") and "status" in old:
            obj["status"] = old["status"]
        meta, was = objects.metadata(obj), old["metadata"]
        for field in ("uid", "creationTimestamp", "resourceVersion", "generation", "namespace", "deletionTimestamp"):
            meta.pop(field, None)
            if field in was:
                meta[field] = was[field]
        if obj == old:
            return old
        if obj.get("spec") != old.get("spec"):
            meta["generation"] = was.get("generation", 1) + 1
        self.writes.append(("update", kind.resource + (f"/{subresource}" if subresource else ""), objects.name(old)))
        return self._settle(kind, obj)

    def _settle(self, kind: Kind, obj: Object) -> Object:
        meta = obj["metadata"]
        held = meta.get("finalizers") or (kind is NAMESPACE and (obj.get("spec") or {}).get("finalizers")) or meta.get("deletionGracePeriodSeconds")
        gone = meta.get("deletionTimestamp") and not held
        self._store("DELETED" if gone else "MODIFIED", kind, obj)
        return obj

    def _delete(self, kind: Kind, namespace: str, name: str, options: Object) -> Object:
        obj = copy.deepcopy(self._get(kind, namespace, name))
        self._refuse("delete", kind, obj)
        meta, asked = obj["metadata"], (options.get("preconditions") or {})
        if asked.get("uid", meta["uid"]) != meta["uid"]:
            raise errors.Conflict(f'Operation cannot be fulfilled on {kind.resource} "{name}": Precondition failed: UID')
        finalizers = [each for each in meta.get("finalizers") or [] if each not in ("orphan", "foregroundDeletion")]
        policy = options.get("propagationPolicy")
        added = {"Orphan": ["orphan"], "Foreground": ["foregroundDeletion"], "Background": []}.get(policy)
        if added is not None:
            meta["finalizers"] = finalizers + added
        grace_s = 0
        if kind is POD and obj["spec"].get("nodeName") and obj["status"].get("phase") not in ("Succeeded", "Failed"):
            grace_s = options.get("gracePeriodSeconds", obj["spec"].get("terminationGracePeriodSeconds", 30))
        held = meta.get("finalizers") or grace_s or kind is NAMESPACE
        if not meta.get("deletionTimestamp") or meta.get("deletionGracePeriodSeconds", 0) > grace_s:
            meta["deletionTimestamp"] = wallclock.rfc3339(wallclock.now() + grace_s)
            meta["deletionGracePeriodSeconds"] = grace_s
        elif held:
            return obj
        if kind is NAMESPACE:
            obj["status"] = {**obj.get("status", {}), "phase": "Terminating"}
        self._store("MODIFIED" if held else "DELETED", kind, obj)
        self.writes.append(("delete", kind.resource, name))
        return obj

    def _bind(self, namespace: str, name: str, body: Object) -> Object:
        pod = copy.deepcopy(self._get(POD, namespace, name))
        pod["spec"]["nodeName"] = body["target"]["name"]
        self._store("MODIFIED", POD, pod)
        return {"kind": "Status", "status": "Success"}

    def _store(self, change: str, kind: Kind, obj: Object) -> None:
        self.revision += 1
        obj["metadata"]["resourceVersion"] = str(self.revision)
        stored = self._stored.setdefault(kind.storage, {})
        key = (objects.namespace(obj), objects.name(obj))
        if change == "DELETED":
            stored.pop(key, None)
        else:
            stored[key] = obj
        self._history.append((self.revision, change, kind.storage, obj))
        self._changed.unpark_all()

    async def wait_for_change(self) -> None:
        await self._changed.park()

    def history_after(self, revision: int) -> list[tuple[int, str, str, Object]]:
        start = len(self._history)
        while start and self._history[start - 1][0] > revision:
            start -= 1
        return self._history[start:]


class _Watch:
    status = 200
    headers: dict[str, str] = {}

    def __init__(self, api: FakeApi, kind: Kind, namespace: str, after: int) -> None:
        self._api, self._kind, self._namespace, self._after = api, kind, namespace, after

    async def read(self) -> bytes:
        return b""

    def chunks(self) -> AsyncIterator[bytes]:
        return self.lines()

    async def lines(self) -> AsyncIterator[bytes]:
        while True:
            for revision, change, storage, obj in self._api.history_after(self._after):
                self._after = revision
                if storage == self._kind.storage and self._namespace in ("", objects.namespace(obj)):
                    yield orjson.dumps({"type": change, "object": obj})
            await self._api.wait_for_change()


def _selected(obj: Object, request: Request) -> bool:
    labels = objects.labels(obj)
    for term in filter(None, request.arg("labelSelector").split(",")):
        key, _, value = term.replace("==", "=").partition("=")
        if labels.get(key) != value:
            return False
    for term in filter(None, request.arg("fieldSelector").split(",")):
        path, _, value = term.partition("=")
        found: Any = obj
        for part in path.split("."):
            found = (found or {}).get(part)
        if (found or "") != value:
            return False
    return True


def _merge(into: Any, patch: Any, strategic: bool) -> None:
    """A JSON merge patch, and of the strategic one: owner references by uid, conditions by type, finalizers to delete."""
    for key, value in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            member = key.split("/", 1)[1]
            into[member] = [each for each in into.get(member) or [] if each not in value]
        elif value is None:
            into.pop(key, None)
        elif strategic and key == "ownerReferences":
            kept = {ref["uid"]: ref for ref in into.get(key) or []}
            for ref in value:
                if ref.get("$patch") == "delete":
                    kept.pop(ref["uid"], None)
                else:
                    kept[ref["uid"]] = {**kept.get(ref["uid"], {}), **ref}
            into[key] = list(kept.values())
        elif strategic and key == "conditions":
            kept = {condition["type"]: condition for condition in into.get(key) or []}
            into[key] = list((kept | {condition["type"]: {**kept.get(condition["type"], {}), **condition} for condition in value}).values())
        elif isinstance(value, dict):
            if not isinstance(into.get(key), dict):
                into[key] = {}
            _merge(into[key], value, strategic)
        else:
            into[key] = value
