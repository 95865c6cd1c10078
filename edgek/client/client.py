"""The verbs of the API for any Kind, over any Transport.

Objects are plain dicts. Errors are the classes of ``model.errors``, as the server raised them; ``Disconnected`` when nobody answered.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal

import attrs
import orjson

from edgek.client.transport import Request, Response, Transport
from edgek.model import errors, objects
from edgek.model.kinds import Kind
from edgek.model.objects import Object

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
# Of the header Prefer, RFC 7240.
MINIMAL = "return=minimal"  # only an agent's link heeds it
STRICT = "handling=strict"  # a watch from a revision that the server has yet to reach is refused, not held

EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]


@attrs.frozen
class ObjectList:
    items: Sequence[Object]
    revision: str
    continue_token: str = ""


@attrs.frozen
class WatchEvent:
    type: EventType
    object: Object


class Client:
    """Talks to the API as ``agent_name`` (the User-Agent, by which the server tells field managers apart).

    With ``minimal`` a write is answered without the object where the way is thin: the result means nothing then.
    """

    def __init__(self, transport: Transport, agent_name: str = "edgek") -> None:
        self._transport = transport
        self._headers = {"user-agent": agent_name, "accept": JSON}

    async def get(self, kind: Kind, name: str, namespace: str = "", subresource: str = "") -> Object:
        return await self._call("GET", kind.path(namespace, name, subresource))

    async def find(self, kind: Kind, name: str, namespace: str = "") -> Object | None:
        """``get``, with None for what is not there."""
        try:
            return await self.get(kind, name, namespace)
        except errors.NotFound:
            return None

    async def list(
        self,
        kind: Kind,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        limit: int = 0,
        continue_token: str = "",
        patient: bool = False,
    ) -> ObjectList:
        """One page; all of it without ``limit``. ``patient``: rather late than never, where there is no way to the API now."""
        query = {"labelSelector": labels, "fieldSelector": fields, "limit": str(limit or ""), "continue": continue_token}
        found = await self._call("GET", kind.path(namespace), query, patient=patient)
        meta = found.get("metadata") or {}
        return ObjectList(found.get("items") or [], meta.get("resourceVersion", ""), meta.get("continue", ""))

    async def create(self, kind: Kind, obj: Object, namespace: str = "", *, name: str = "", subresource: str = "", minimal: bool = False) -> Object:
        """``name`` and ``subresource`` for posts below an object: binding, eviction, token."""
        return await self._call("POST", kind.path(namespace or objects.namespace(obj), name, subresource), body=obj, minimal=minimal)

    async def update(self, kind: Kind, obj: Object, subresource: str = "") -> Object:
        return await self._call("PUT", kind.path(objects.namespace(obj), objects.name(obj), subresource), body=obj)

    async def patch(
        self,
        kind: Kind,
        name: str,
        patch: Any,
        namespace: str = "",
        *,
        subresource: str = "",
        content_type: str = MERGE_PATCH,
        minimal: bool = False,
    ) -> Object:
        return await self._call("PATCH", kind.path(namespace, name, subresource), body=patch, content_type=content_type, minimal=minimal)

    async def delete(
        self,
        kind: Kind,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        revision: str = "",
        grace_s: int | None = None,
        propagation: str = "",
        minimal: bool = False,
    ) -> Object:
        """``uid`` and ``revision`` are preconditions: Conflict when the object is another one."""
        options: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1"}
        preconditions = {key: value for key, value in (("uid", uid), ("resourceVersion", revision)) if value}
        if preconditions:
            options["preconditions"] = preconditions
        if grace_s is not None:
            options["gracePeriodSeconds"] = grace_s
        if propagation:
            options["propagationPolicy"] = propagation
        return await self._call("DELETE", kind.path(namespace, name), body=options, minimal=minimal)

    async def delete_all(self, kind: Kind, namespace: str = "", *, labels: str = "", fields: str = "") -> None:
        """Delete every object of a collection that the selectors match."""
        query = {"labelSelector": labels, "fieldSelector": fields}
        await self._call("DELETE", kind.path(namespace), query, {"kind": "DeleteOptions", "apiVersion": "v1"})

    def watch(
        self, kind: Kind, namespace: str = "", *, revision: str, labels: str = "", fields: str = ""
    ) -> AbstractAsyncContextManager[AsyncIterator[WatchEvent]]:
        """Changes after ``revision``, bookmarks included. Raises ``errors.Expired`` when that is too old, or of a
        history that the server has lost; ends when the server says so."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": revision,
            "labelSelector": labels,
            "fieldSelector": fields,
        }
        return self._watch(Request("GET", kind.path(namespace), _pairs(query), {**self._headers, "prefer": STRICT}, patient=True))

    @asynccontextmanager
    async def _watch(self, request: Request) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        async with self._transport.stream(request) as answer:
            if answer.status != 200:
                raise _error(answer.status, await answer.read())
            yield _events(answer.lines())

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        minimal: bool = False,
        patient: bool = False,
    ) -> Object:
        headers = self._headers if body is None else {**self._headers, "content-type": content_type}
        if minimal:
            headers = {**headers, "prefer": MINIMAL}
        raw = b"" if body is None else orjson.dumps(body)
        answer = await self._transport.request(Request(method, path, _pairs(query or {}), headers, raw, patient=patient))
        return decoded(answer)


def decoded(answer: Response) -> Object:
    """The object in an answer, empty where none was asked for; raises the error that it stands for."""
    if answer.status >= 400:
        raise _error(answer.status, answer.body)
    found: Object = orjson.loads(answer.body or b"{}")
    return found


def _pairs(query: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((key, value) for key, value in query.items() if value)


def _error(code: int, body: bytes) -> errors.ApiError:
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        status = {"message": body.decode(errors="replace")[:500]}
    return errors.from_status(status if isinstance(status, dict) else {}, code)


async def _events(lines: AsyncIterator[bytes]) -> AsyncIterator[WatchEvent]:
    async for line in lines:
        event = orjson.loads(line)
        if event["type"] == "ERROR":
            raise errors.from_status(event["object"], event["object"].get("code", 500))
        yield WatchEvent(event["type"], event["object"])
