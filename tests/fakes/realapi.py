"""The real API over a store in memory, with what tests want to see and prevent: every write is listed, and may be refused."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import orjson
import trio

from edgek.client.client import Client
from edgek.client.transport import Request, Response, StreamResponse
from edgek.host import pki
from edgek.model import errors, kinds
from edgek.model.kinds import KINDS, Kind
from edgek.model.objects import Object
from edgek.server.api import assembly
from edgek.server.api.assembly import assemble
from edgek.server.api.authn import Authenticator
from edgek.server.api.authz import Authorizer
from edgek.server.api.http import Handler, Peer
from edgek.server.api.identity import AUTHENTICATED_GROUP, MASTERS_GROUP, User
from edgek.server.api.local import LocalTransport
from edgek.server.api.responses import Answer
from edgek.server.api.tokens import ServiceAccountTokens
from edgek.server.store.backend import Draft, Key, Record
from edgek.server.store.memory import MemoryBackend

SIGNING_KEY = pki.make_signing_key()
ADMIN = User("admin", groups=(MASTERS_GROUP, AUTHENTICATED_GROUP))
_TOKEN = "admin-token"
VERBS = {"POST": "create", "PUT": "update", "PATCH": "update", "DELETE": "delete"}
BY_ROUTE = {(kind.group, kind.version, kind.plural): kind for kind in KINDS}


class _Listing(MemoryBackend):
    """Keeps a list of what was written, as ``(verb, resource, name)``."""

    def __init__(self) -> None:
        super().__init__(1000)
        self.writes: list[tuple[str, str, str]] = []

    async def create(self, key: Key, draft: Draft) -> Record:
        self.writes.append(("create", key.resource, key.name))
        return await super().create(key, draft)

    async def update(self, key: Key, draft: Draft, *, expected: int) -> Record:
        self.writes.append(("update", key.resource, key.name))
        return await super().update(key, draft, expected=expected)

    async def delete(self, key: Key, draft: Draft, *, expected: int) -> Record:
        self.writes.append(("delete", key.resource, key.name))
        return await super().delete(key, draft, expected=expected)


class RealApi:
    """``before_write(verb, kind, body)`` may raise an ApiError to refuse a request."""

    def __init__(self) -> None:
        self._backend = _Listing()
        tokens = ServiceAccountTokens(self._backend, SIGNING_KEY, issuer="https://issuer.example")
        authorizer = Authorizer(self._backend)
        authenticator = Authenticator(tokens=tokens, static_tokens={_TOKEN: ADMIN})
        api = assemble(self._backend, authenticator=authenticator, authorizer=authorizer, tokens=tokens)
        self._api = api
        self._registry = api.registry
        self._transport = LocalTransport(api, ADMIN)
        self.before_write: Callable[[str, Kind, Object], None] | None = None

    async def furnish(self, namespace: str, *, account: bool) -> None:
        """Make a namespace, and the account that its pods run as, where they are missing."""
        client = Client(self._transport)
        if self.one(kinds.NAMESPACE, namespace) is None:
            await client.create(kinds.NAMESPACE, {"metadata": {"name": namespace}})
        if account and self.one(kinds.SERVICE_ACCOUNT, "default", namespace) is None:
            await client.create(kinds.SERVICE_ACCOUNT, {"metadata": {"name": "default", "namespace": namespace}})

    def transport(self, user: User) -> LocalTransport:
        """For one who has the rights of ``user`` only."""
        return LocalTransport(self._api, user)

    async def listen(self, listener: socket.socket, *, task_status: trio.TaskStatus[None]) -> None:
        """Answer other programs there, by plain HTTP, each as an administrator: client-go sends no token without TLS."""

        def as_admin(handler: Handler) -> Handler:
            async def handle(request: Request, peer: Peer) -> Answer:
                return await handler(attrs.evolve(request, headers={**request.headers, "authorization": f"Bearer {_TOKEN}"}), peer)

            return handle

        await assembly.serve(self._api, [listener], None, before=as_admin, task_status=task_status)

    def serve(self, kind: Kind) -> None:
        """As if a definition of this kind had been established."""
        self._registry.add(kind)

    @property
    def writes(self) -> list[tuple[str, str, str]]:
        return self._backend.writes

    def all(self, kind: Kind, namespace: str = "") -> list[Object]:
        return [orjson.loads(record.body) for record in self._backend.list(kind.storage, namespace).records]

    def one(self, kind: Kind, name: str, namespace: str = "default") -> Object | None:
        record = self._backend.get(Key(kind.storage, namespace if kind.namespaced else "", name))
        return orjson.loads(record.body) if record else None

    async def request(self, request: Request) -> Response:
        if self.before_write and request.method in VERBS:
            try:
                self.before_write(VERBS[request.method], _kind(request.path), orjson.loads(request.body or b"{}"))
            except errors.ApiError as exc:
                status = {"kind": "Status", "reason": exc.reason, "message": exc.message, "code": exc.code, "details": exc.details()}
                return Response(exc.code, {}, orjson.dumps(status))
        return await self._transport.request(request)

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[StreamResponse]:
        async with self._transport.stream(request) as answer:
            yield answer


def _kind(path: str) -> Kind:
    """The kind that a path of the API is about."""
    parts = path.strip("/").split("/")
    group, parts = ("", parts[1:]) if parts[0] == "api" else (parts[1], parts[2:])
    version, parts = parts[0], parts[1:]
    if parts[0] == "namespaces" and len(parts) > 2 and parts[2] not in ("finalize", "status"):
        parts = parts[2:]
    return BY_ROUTE.get((group, version, parts[0])) or Kind(group, version, parts[0], parts[0])
