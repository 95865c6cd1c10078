"""A whole API on a store in memory, for tests: no socket, no clock, the real steps."""

from __future__ import annotations

import attrs

from edgek.client.client import Client
from edgek.model import kinds
from edgek.server.api.app import Api
from edgek.server.api.assembly import assemble
from edgek.server.api.authn import Authenticator
from edgek.server.api.authz import Authorizer
from edgek.server.api.identity import AUTHENTICATED_GROUP, MASTERS_GROUP, User
from edgek.server.api.local import LocalTransport
from edgek.server.api.tokens import ServiceAccountTokens
from edgek.server.store.memory import MemoryBackend

ADMIN = User("admin", groups=(MASTERS_GROUP, AUTHENTICATED_GROUP))
NOBODY = User("nobody", groups=(AUTHENTICATED_GROUP,))
TOKEN = "secret-of-admin"


@attrs.frozen
class Running:
    """``client`` acts as an administrator."""

    backend: MemoryBackend
    api: Api
    client: Client

    def transport(self, user: User = ADMIN) -> LocalTransport:
        return LocalTransport(self.api, user)

    def as_user(self, user: User) -> Client:
        return Client(self.transport(user))


async def running() -> Running:
    """With the namespace ``default`` and its account."""
    backend = MemoryBackend(1000)
    tokens = ServiceAccountTokens(backend, b"", issuer="https://issuer.example")
    authenticator = Authenticator(tokens=tokens, static_tokens={TOKEN: ADMIN})
    api = assemble(backend, authenticator=authenticator, authorizer=Authorizer(backend), tokens=tokens)
    client = Client(LocalTransport(api, ADMIN))
    await client.create(kinds.NAMESPACE, {"metadata": {"name": "default"}})
    await client.create(kinds.SERVICE_ACCOUNT, {"metadata": {"name": "default", "namespace": "default"}})
    return Running(backend, api, client)


def config_map(name: str = "x", **more: object) -> dict[str, object]:
    return {"metadata": {"name": name, "namespace": "default", **more}, "data": {"a": "1"}}
