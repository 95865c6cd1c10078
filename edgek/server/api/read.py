"""GET and LIST: stored bytes, spliced; decoded only where a Table or metadata alone is asked for."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence

import attrs
import orjson
import trio

from edgek.client.transport import Response
from edgek.model import errors, schema
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.model.selectors import SelectorError
from edgek.server import resources
from edgek.server.api import options, responses, tables
from edgek.server.api.call import Call
from edgek.server.api.negotiation import dressed
from edgek.server.api.options import ListOptions
from edgek.server.api.responses import JSON_HEADERS, Parts
from edgek.server.api.storage import Objects, partial, prefix
from edgek.server.store.backend import Key, Page, Record

FUTURE_WAIT_S = 3.0  # how long a read waits for a revision that is not there yet
PIECE = 32  # objects that are joined into one piece of a list
SCAN = 500  # records looked at per step while a selector fills a page
LIST_END = b"]}\n"
YIELD_EVERY = 200  # objects decoded before others get their turn
TOKEN_VERSION = "meta.k8s.io/v1"
CONTINUE_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, "
    "or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an "
    "inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in "
    "the list."
)


def include_object(call: Call) -> str:
    """How much of the object a row of a Table carries. Raises BadRequest."""
    asked = call.request.arg("includeObject")
    if asked not in ("", "Metadata", "Object", "None"):
        why = f"includeObject: Invalid value: \"{asked}\": must be 'Metadata', 'Object', 'None', or empty"
        raise errors.BadRequest(f"Unable to convert to Table as requested: {why}")
    return asked or "Metadata"


class Reader:
    def __init__(self, store: Objects) -> None:
        self._store = store

    async def get(self, call: Call) -> Response | Parts:
        if call.request.query:
            await self.wait_until(call.request.arg("resourceVersion"))
        record = self._store.record(call.kind, call.namespace, call.name)
        if record is None:
            raise responses.not_found(call.kind, call.name)
        return self.shown(call, record)

    def shown(self, call: Call, found: Record | Object, status: int = 200) -> Response | Parts:
        """An object in the shape that was asked for; a Status stays what it is."""
        if isinstance(found, dict):
            return self._shaped_object(call, found, status)
        if call.want.plain:
            answer: Response | Parts = Response(status, JSON_HEADERS, self._store.body(call.kind, found))
            return answer if _undressed(call) else dressed(answer, call.request, call.want)
        return self._shaped_object(call, self._store.load(call.kind, found), status)

    def _shaped_object(self, call: Call, obj: Object, status: int) -> Response | Parts:
        if obj.get("kind") == "Status" or not call.want.shape:
            found = obj
        elif call.want.shape == "Table":
            meta = {"resourceVersion": (obj.get("metadata") or {}).get("resourceVersion", "")}
            found = tables.table(call.kind, [obj], include_object=include_object(call), with_columns=True, list_meta=meta)
        else:
            found = partial(obj)
        return dressed(responses.json(status, found), call.request, call.want)

    async def list(self, call: Call) -> Response | Parts:
        asked = options.list_options(call.request, watching=False)
        check_fields(call.kind, asked)
        if call.want.shape == "Table":
            include_object(call)
        try:
            page, scope = await self._page(call, asked)
        except _ContinueExpired as expired:
            return expired.answer
        meta: dict[str, object] = {"resourceVersion": str(page.revision)}
        if page.more:
            last = page.records[-1].key if page.records else scope.start
            meta["continue"] = _token(page.revision, last.namespace, last.name, call.namespace)
            if page.remaining and asked.selects_all:
                meta["remainingItemCount"] = page.remaining
        if call.want.shape:
            return await self._shaped(call, page.records, meta)
        return dressed(self._spliced(call.kind, page.records, meta), call.request, call.want)

    async def wait_until(self, text: str) -> int:
        """Wait a moment for the revision a read must not be older than. Raises Timeout, ServerError."""
        revision = options.revision_of(text)
        backend = self._store.backend
        if revision <= backend.revision:
            return revision
        with trio.move_on_after(FUTURE_WAIT_S):
            await backend.wait_for(revision)
        if revision > backend.revision:
            raise errors.Timeout(
                f"Timeout: Too large resource version: {revision}, current: {backend.revision}",
                causes=[errors.Cause("ResourceVersionTooLarge", "Too large resource version")],
                retry_after_s=1,
            )
        return revision

    async def _page(self, call: Call, asked: ListOptions) -> tuple[Page, _Scope]:
        """The records of the answer, filtered."""
        scope = _Scope(call.kind.storage, call.namespace, call.kind.namespaced)
        if asked.continue_token:
            scope = self._continued(scope, asked)
        else:
            revision = await self.wait_until(asked.revision)
            if asked.match == "Exact" or (asked.limit and revision and not asked.match):
                scope = attrs.evolve(scope, revision=revision)
        if asked.selects_all:
            return self._store.backend.list(scope.resource, scope.namespace, start=scope.place, limit=asked.limit, revision=scope.revision), scope
        return self._selected(scope, asked), scope

    def _continued(self, scope: _Scope, asked: ListOptions) -> _Scope:
        revision, start = _read_token(asked.continue_token, scope.namespace)
        if revision > 0 and revision < self._store.backend.oldest:
            fresh = _token(-1, start.namespace, start.name, scope.namespace)
            status = responses.status_of(errors.Expired(CONTINUE_EXPIRED))
            status["metadata"] = {"continue": fresh}
            raise _ContinueExpired(responses.json(410, status))
        return attrs.evolve(scope, revision=max(0, revision), start=start)

    def _selected(self, scope: _Scope, asked: ListOptions) -> Page:
        """One page of what the selectors match; a selector for one name is a read."""
        backend = self._store.backend
        name = asked.fields.exact("metadata.name")
        namespace = scope.namespace or asked.fields.exact("metadata.namespace") or ""
        if name is not None and not scope.revision and (namespace or not scope.namespaced):
            record = backend.get(Key(scope.resource, namespace, name))
            return Page([record] if record is not None and matches(record, asked) else [], backend.revision)
        found: list[Record] = []
        place, revision = scope.place, scope.revision
        while True:
            page = backend.list(scope.resource, namespace, start=place, limit=SCAN if asked.limit else 0, revision=revision)
            revision = page.revision
            for at, record in enumerate(page.records):
                if not matches(record, asked):
                    continue
                found.append(record)
                if asked.limit and len(found) == asked.limit:
                    more = page.more or at + 1 < len(page.records)
                    return Page(found, revision, more and self._any_left(scope, asked, record, revision))
            if not page.more:
                return Page(found, revision)
            last = page.records[-1].key
            place = (last.namespace, last.name)

    def _any_left(self, scope: _Scope, asked: ListOptions, last: Record, revision: int) -> bool:
        """Whether another match follows: a page must not promise a next one that is empty."""
        rest = self._store.backend.list(scope.resource, scope.namespace, start=(last.key.namespace, last.key.name), revision=revision)
        return any(matches(record, asked) for record in rest.records)

    def _spliced(self, kind: Kind, records: Sequence[Record], meta: Mapping[str, object]) -> Parts:
        """The list as stored bytes: 40 MB of Pods are neither decoded nor held twice."""
        head = b'{"kind":"%bList","apiVersion":"%b","metadata":%b,"items":[' % (kind.name.encode(), kind.api_version.encode(), orjson.dumps(meta))
        start = prefix(kind)
        if schema.is_open(schema.root(kind)):  # items of custom resources say what they are
            bodies, cut = [record.body for record in records], 1
        elif kind.stored_as or not all(record.body.startswith(start) for record in records):
            bodies, cut = [self._store.item(kind, record) for record in records], 1
        else:
            bodies, cut = [record.body for record in records], len(start)
        size = len(head) + sum(map(len, bodies)) - len(bodies) * (cut - 1) + max(0, len(bodies) - 1) + len(LIST_END)
        return Parts(200, JSON_HEADERS, size, _pieces(head, bodies, cut))

    async def _shaped(self, call: Call, records: Sequence[Record], meta: Mapping[str, object]) -> Response | Parts:
        found = []
        for count, record in enumerate(records):
            if count % YIELD_EVERY == YIELD_EVERY - 1:
                await trio.lowlevel.checkpoint()
            found.append(self._store.load(call.kind, record))
        if call.want.shape == "Table":
            answer = tables.table(call.kind, found, include_object=include_object(call), with_columns=True, list_meta=meta)
        else:
            items = [partial(obj) for obj in found]
            answer = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": meta, "items": items}
        return dressed(responses.json(200, answer), call.request, call.want)


@attrs.frozen
class _Place:
    namespace: str = ""
    name: str = ""


@attrs.frozen
class _Scope:
    """What a list goes over: from where, and as of when."""

    resource: str
    namespace: str
    namespaced: bool
    start: _Place = _Place()
    revision: int = 0

    @property
    def place(self) -> tuple[str, str]:
        return self.start.namespace, self.start.name


class _ContinueExpired(Exception):
    def __init__(self, answer: Response) -> None:
        super().__init__()
        self.answer = answer


def _pieces(head: bytes, bodies: Sequence[bytes], cut: int) -> Iterator[bytes]:
    """The list in pieces of some objects each, their first ``cut`` bytes being no more than an opening brace there."""
    yield head
    for start in range(0, len(bodies), PIECE):
        joined = b",{".join([body[cut:] for body in bodies[start : start + PIECE]])
        yield b",{" + joined if start else b"{" + joined
    yield LIST_END


def _undressed(call: Call) -> bool:
    """Nothing has to be done to the stored bytes: quick to see for almost every read."""
    headers = call.request.headers
    return not call.request.query and "accept-encoding" not in headers and not headers.get("user-agent", "").startswith(("curl", "Wget", "Moz"))


def check_fields(kind: Kind, asked: ListOptions) -> None:
    """Raises BadRequest for a field that cannot be selected by."""
    if asked.fields.is_empty:
        return
    try:
        asked.fields.check(kind.name, resources.of(kind).fields({}))
    except SelectorError as exc:
        raise errors.BadRequest(exc.message) from None


def matches(record: Record, asked: ListOptions) -> bool:
    """Asked twice for every change of a Pod by every node's watch."""
    for each in asked.fields.requirements:
        if (_field(record, each.field) == each.value) is not each.equal:
            return False
    return asked.labels.is_empty or asked.labels.matches(record.labels)


def _field(record: Record, field: str) -> str:
    found = record.fields.get(field)
    if found is not None:
        return found
    return {"metadata.name": record.key.name, "metadata.namespace": record.key.namespace}.get(field, "")


def _token(revision: int, namespace: str, name: str, within: str) -> str:
    start = f"{name}\0" if within or not namespace else f"{namespace}/{name}\0"
    raw = orjson.dumps({"v": TOKEN_VERSION, "rv": revision, "start": start})
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _read_token(token: str, within: str) -> tuple[int, _Place]:
    """``(revision, start)``. Raises BadRequest."""
    try:
        found = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        version, revision, start = found["v"], int(found["rv"]), found["start"]
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise errors.BadRequest("continue key is not valid: incorrect encoded start key (version meta.k8s.io/v1)") from None
    if version != TOKEN_VERSION:
        raise errors.BadRequest(f'continue key is not valid: server does not recognize this encoded version "{version}"')
    start = str(start).rstrip("\0")
    namespace, _, name = start.rpartition("/")
    return revision, _Place(within or namespace, name)
