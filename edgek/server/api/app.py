"""The way of a request: who asks, as whom, for what, may he, in which shape; then the verb.

The border of requests is here: an ``ApiError`` becomes its Status, anything else a 500 and one line in the log.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import attrs
import trio

from edgek.client.transport import Request, Response
from edgek.host import log
from edgek.host.worker import Worker
from edgek.model import errors, kinds
from edgek.model.kinds import Kind
from edgek.server import resources
from edgek.server.api import decode, options, responses, reviews, routes
from edgek.server.api.account_token import create_token
from edgek.server.api.admission.base import AdmissionStep
from edgek.server.api.admit import Gate
from edgek.server.api.authn import Authenticator
from edgek.server.api.authz import Authorizer, forbidden
from edgek.server.api.binding import Binder
from edgek.server.api.call import Call
from edgek.server.api.delete import Deleter
from edgek.server.api.eviction import Evictor
from edgek.server.api.http import Peer
from edgek.server.api.identity import Attributes, User
from edgek.server.api.impersonation import impersonate
from edgek.server.api.negotiation import compressed, wanted, wants_gzip
from edgek.server.api.pages import Pages
from edgek.server.api.read import Reader
from edgek.server.api.responses import Answer, Cut, Parts, Streaming, Upgrade
from edgek.server.api.routes import Registry, Route
from edgek.server.api.scale import Scales
from edgek.server.api.storage import Objects
from edgek.server.api.tokens import ServiceAccountTokens
from edgek.server.api.watch import Watches
from edgek.server.api.write import Outcome, Writer
from edgek.server.resources.allocators import Allocators
from edgek.server.resources.unserved import Notices, no_notices
from edgek.server.store.backend import Backend

WARNING_BYTES = 4096  # all warnings of an answer together; beyond it each is cut short
WARNING_SHORT = 256

T = TypeVar("T")

# The other end is gone: no defect, and whoever owns the connection has to know.
LOST = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, Cut)

OBJECT_VERBS = frozenset({"get", "update", "patch", "delete"})  # their paths name an object, those of the others none
TAKEOVERS = frozenset({"exec", "attach", "portforward"})

# What logs, exec, port-forward and proxies do, by subresource: given by who can reach nodes.
Connector = Callable[[Call], Awaitable[Answer]]

_route = functools.lru_cache(maxsize=512)(routes.parse)


class Api:
    """Answers requests, however they come. ``handle`` and ``handle_as`` never raise."""

    def __init__(
        self,
        backend: Backend,
        *,
        authenticator: Authenticator,
        authorizer: Authorizer,
        tokens: ServiceAccountTokens,
        admission: Sequence[AdmissionStep],
        allocators: Allocators,
        pages: Pages,
        registry: Registry | None = None,
        connectors: Mapping[str, Connector] | None = None,
        notices: Notices = no_notices,
    ) -> None:
        self.registry = registry or Registry()
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._tokens = tokens
        self._pages = pages
        self._connectors = connectors or {}
        self._store = Objects(backend, self.registry)
        self._gate = Gate(self._store, admission)
        self._reader = Reader(self._store)
        self._watches = Watches(self._store, self._reader)
        self._writer = Writer(self._store, self._gate, allocators, notices)
        self._deleter = Deleter(self._store, self._gate, self._writer)
        self._scales = Scales(self._store, self._writer)
        self._binder = Binder(self._store, self._gate)
        self._evictor = Evictor(self._store, self._gate, self._deleter)
        self._squeezing = Worker(1)
        self._ids = _audit_ids()

    async def handle(self, request: Request, peer: Peer) -> Answer:
        """A request from outside."""
        return await self._bordered(request, lambda: self._authenticated(request, peer))

    async def handle_as(self, request: Request, user: User) -> Answer:
        """A request of a part of this process: nobody has to prove who it is, all else is the same."""
        return await self._bordered(request, lambda: user)

    async def _bordered(self, request: Request, who: Callable[[], User]) -> Answer:
        try:
            answer = await self._answer(request, who())
        except errors.ApiError as exc:
            answer = responses.error(exc)
        except Exception as exc:
            answer = _broken(request, exc)
        if not isinstance(answer, (Streaming, Upgrade)) and wants_gzip(request, answer):
            answer = await self._squeezing.run(compressed, answer)
        return self._finished(request, answer)

    def _authenticated(self, request: Request, peer: Peer) -> User:
        try:
            user = self._authenticator.authenticate(request.headers, peer.certificate)
        except errors.Unauthorized:
            user = None
        if user is None:
            raise errors.Unauthorized("Unauthorized")
        # Almost no request asks for it, and this is the quickest way to see that.
        return impersonate(user, request.headers, self._authorizer) if "impersonate-" in ",".join(request.headers) else user

    async def _answer(self, request: Request, user: User) -> Answer:
        route = _route(request.path)
        if route is None:
            self._authorize(Attributes(user, request.method.lower(), request.path))
            return self._pages.respond(request)
        watching = options.boolean(request.arg("watch")) if request.query else False
        verb = routes.verb(request.method, route, watching)
        kind = self.registry.at(route.group, route.version, route.plural)
        self._authorize(_attributes(request, user, route, verb, kind))
        if kind is None:
            return self._no_such(route)
        _check_place(kind, route, verb)
        call = Call(request, user, route, kind, verb, wanted(request.headers.get("accept", ""), "get" in kind.verbs))
        try:
            answer = await self._act(call)
        except errors.ApiError as exc:  # what was wrong besides is told with a refusal, too
            answer = responses.error(exc)
        return _warned(answer, [*resources.of(kind).deprecated, *call.warnings])

    def _authorize(self, asked: Attributes) -> None:
        decision = self._authorizer.authorize(asked)
        if not decision.allowed:
            raise forbidden(asked, decision.reason)

    def _no_such(self, route: Route) -> Response:
        if route.group and not self.registry.has_group(route.group):
            return responses.text(404, "404 page not found\n")
        raise errors.NotFound(responses.NOT_FOUND)

    async def _act(self, call: Call) -> Answer:
        if call.subresource:
            return await self._act_below(call)
        if call.verb not in call.kind.verbs or call.request.method == "HEAD" or bool(call.name) != (call.verb in OBJECT_VERBS):
            raise errors.MethodNotAllowed(responses.METHOD_NOT_ALLOWED)
        match call.verb:
            case "get":
                return await self._reader.get(call)
            case "list":
                return await self._reader.list(call)
            case "watch":
                return await self._watches.watch(call)
            case "create":
                return self._reader.shown(call, await self._create(call), 201)
            case "update":
                obj, new = await self._writer.update(call)
                return self._reader.shown(call, obj, 201 if new else 200)
            case "patch":
                return self._reader.shown(call, await self._writer.patch(call))
            case "delete":
                return self._reader.shown(call, await self._deleter.delete(call))
            case _:
                return self._reader.shown(call, await self._deleter.collection(call))

    async def _create(self, call: Call) -> Outcome:
        answer = reviews.VIRTUAL.get(call.kind.resource)
        if answer is not None:
            obj = decode.body(call, call.kind, options.write_options(call.request, "Create"))
            return answer(reviews.Question(call.user, call.namespace, obj, self._authenticator, self._authorizer))
        if call.kind is kinds.BINDING:
            return await self._binder.bind(call)
        return await self._writer.create(call)

    async def _act_below(self, call: Call) -> Answer:
        """A subresource: the object itself seen from one side, or something of its own."""
        below = call.kind.subresource(call.subresource)
        if below is None:
            raise errors.NotFound(responses.NOT_FOUND)
        if call.verb not in below.verbs and not (call.subresource == "proxy" and call.request.method == "OPTIONS"):
            raise errors.MethodNotAllowed(responses.METHOD_NOT_ALLOWED)
        if call.verb == "get" and call.subresource in TAKEOVERS:  # a WebSocket opens with GET, and does what POST does
            asked = _attributes(call.request, call.user, call.route, "create", call.kind)
            self._authorize(asked)
        connect = self._connectors.get(call.subresource)
        if connect is not None:
            return await connect(call)
        match call.subresource, call.verb:
            case "scale", "get":
                return self._reader.shown(call, await self._scales.get(call))
            case "scale", _:
                return self._reader.shown(call, await self._scales.change(call))
            case "binding", _:
                return self._reader.shown(call, await self._binder.bind(call), 201)
            case "eviction", _:
                return self._reader.shown(call, await self._evictor.evict(call), 201)
            case "token", _:
                return self._reader.shown(call, await create_token(call, self._store, self._gate, self._tokens), 201)
            case "log" | "exec" | "attach" | "portforward" | "proxy", _:
                raise errors.ServiceUnavailable("this server has no way to its nodes")
            case _, "get":
                return await self._reader.get(call)
            case _, "patch":
                return self._reader.shown(call, await self._writer.patch(call))
            case _:
                obj, _ = await self._writer.update(call)
                return self._reader.shown(call, obj)

    def _finished(self, request: Request, answer: Answer) -> Answer:
        """What every answer carries."""
        if isinstance(answer, Upgrade):
            return Upgrade(_guarded(request, answer.run))
        self._pages.metrics.count(request.method, answer.status)
        headers = {"audit-id": next(self._ids), "cache-control": "no-cache, private", **answer.headers}
        if isinstance(answer, Response):
            return Response(answer.status, headers, answer.body)
        if isinstance(answer, Parts):
            return Parts(answer.status, headers, answer.size, answer.parts)
        return Streaming(answer.status, headers, _guarded(request, answer.run))


def _attributes(request: Request, user: User, route: Route, verb: str, kind: Kind | None) -> Attributes:
    name = route.name
    labels = fields = ""
    if request.query and not name:
        labels, fields = request.arg("labelSelector"), request.arg("fieldSelector")
        if fields and verb in ("list", "watch", "deletecollection"):  # to select one name is to name it
            name = options.list_options(Request("GET", "", (("fieldSelector", fields),)), False).fields.exact("metadata.name") or ""
    return Attributes(
        user,
        verb or request.method.lower(),
        request.path,
        route.group,
        route.version,
        route.plural,
        route.subresource,
        route.namespace,
        name,
        labels,
        fields,
        kind,
    )


def _check_place(kind: Kind, route: Route, verb: str) -> None:
    """Raises NotFound, MethodNotAllowed for a resource that is not at this path."""
    if not kind.namespaced and route.namespace and kind is not kinds.NAMESPACE:
        raise errors.NotFound(responses.NOT_FOUND)
    if kind.namespaced and not route.namespace:
        if route.name:
            raise errors.NotFound(responses.NOT_FOUND)
        if verb not in ("list", "watch"):
            raise errors.MethodNotAllowed(responses.METHOD_NOT_ALLOWED)


def _warned(answer: Answer, warnings: Sequence[str]) -> Answer:
    if not warnings or isinstance(answer, (Streaming, Upgrade)):
        return answer
    texts = list(dict.fromkeys(warnings))
    if sum(map(len, texts)) > WARNING_BYTES:
        texts = [text[:WARNING_SHORT] for text in texts]
    escaped = [text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") for text in texts]
    return attrs.evolve(answer, headers={**answer.headers, "warning": "\n".join(f'299 - "{text}"' for text in escaped)})


def _guarded(request: Request, run: Callable[[T], Awaitable[None]]) -> Callable[[T], Awaitable[None]]:
    """The border of requests reaches to the end of a stream: only what became of the connection passes it."""

    async def guarded(to: T) -> None:
        try:
            await run(to)
        except errors.ApiError as exc:
            log.debug("stream ended", path=request.path, error=exc)
        except LOST:
            raise
        except Exception as exc:
            _broken(request, exc)
            raise Cut from None  # a reader must not take what it has for the whole

    return guarded


def _broken(request: Request, exc: Exception) -> Response:
    """A defect of ours, or of the machine. The operator is told where; the client that it is not his fault."""
    frame = exc.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    where = f"{os.path.basename(frame.tb_frame.f_code.co_filename)}:{frame.tb_lineno}" if frame else ""
    log.error("request failed", method=request.method, path=request.path, error=repr(exc), at=where)
    return responses.error(errors.InternalError(f"Internal error occurred: {exc}"))


def _audit_ids() -> Iterator[str]:
    """Unique without asking the kernel each time: a random beginning and a count, in the shape of a UUID."""
    start = os.urandom(10).hex()
    return (f"{start[:8]}-{start[8:12]}-4{start[12:15]}-8{start[15:18]}-{count:012x}" for count in itertools.count(1))
