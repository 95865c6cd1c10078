"""A server that nodes can join, on a loopback port: real keys, real TLS, the real API over a store in memory."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from edgek import config as settings
from edgek.agent.membership import Membership
from edgek.client.client import Client
from edgek.client.https import HttpsTransport
from edgek.client.joining import SERVER_NAME, Cluster
from edgek.client.transport import Request, Response
from edgek.config import Config
from edgek.host import tls
from edgek.model import kinds
from edgek.server import certificates, pki
from edgek.server.api import assembly
from edgek.server.api.app import Api
from edgek.server.api.assembly import assemble
from edgek.server.api.authn import Authenticator
from edgek.server.api.authz import Authorizer
from edgek.server.api.http import Handler, Peer
from edgek.server.api.identity import AUTHENTICATED_GROUP, MASTERS_GROUP, User
from edgek.server.api.join_tokens import JoinTokens
from edgek.server.api.joining import Entrance
from edgek.server.api.local import LocalTransport
from edgek.server.api.node_records import NodeRecords
from edgek.server.api.responses import Answer
from edgek.server.api.tokens import ServiceAccountTokens
from edgek.server.pki import Keys
from edgek.server.store.memory import MemoryBackend

ADMIN = User("admin", groups=(MASTERS_GROUP, AUTHENTICATED_GROUP))
CLUSTER = Cluster(("https://192.0.2.7:6443",), "10.52.0.0/16", "10.53.0.0/16", "10.53.0.10", "example.internal", "host-gw")


@attrs.define
class Joinable:
    """``heard`` are all requests that came, with their headers and bodies."""

    folder: Path
    port: int
    token: str
    keys: Keys
    client: Client
    entrance: Entrance
    heard: list[Request]
    api: Api
    authenticator: Authenticator
    shown: tls.Serving
    cluster: Cluster = CLUSTER

    def renew(self) -> None:
        """What lies on the disk by now is what it serves with."""
        self.keys = keys = pki.open_keys(self.folder / "tls", certificates.served_names(self.folder / "tls"))
        self.token = str(pki.open_token(self.folder / "token", keys))
        self.shown.renew(keys.serving_file, keys.client_authorities.decode())
        self.authenticator.trust(keys.node_authorities, keys.front_proxy_authorities)

    def config(self, name: str = "far", **more: str) -> Config:
        """Of an agent that asks to join."""
        data, run = self.folder / name, self.folder / f"{name}-run"
        run.mkdir(exist_ok=True)
        given = {"join": f"https://127.0.0.1:{self.port}", "token": self.token, "node_name": name, "data_dir": str(data), "run_dir": str(run), **more}
        none = self.folder / "none.yaml"
        none.write_text("")
        return settings.load(given, {}, none, "host")


@asynccontextmanager
async def joinable(folder: Path, names: tuple[str, ...] = (SERVER_NAME, "box")) -> AsyncIterator[Joinable]:
    """``names`` are those that the server's certificate bears, and no node may."""
    keys = pki.open_keys(folder / "tls", names)
    token = pki.open_token(folder / "token", keys)
    backend = MemoryBackend(1000)
    tokens = ServiceAccountTokens(backend, keys.service_account_key, issuer="https://issuer.example")
    authenticator = Authenticator(tokens=tokens, client_ca=keys.client_ca.certificate, records=NodeRecords(backend))
    api = assemble(backend, authenticator=authenticator, authorizer=Authorizer(backend), tokens=tokens)
    client = Client(LocalTransport(api, ADMIN))
    await client.create(kinds.NAMESPACE, {"metadata": {"name": "kube-system"}})
    entrance = Entrance(
        authenticator=authenticator,
        tokens=JoinTokens([folder / "token", folder / "agent-token"], client),
        client=client,
        keys=lambda: found.keys,
        cluster=lambda: found.cluster,
        names=lambda: names,
    )
    heard: list[Request] = []

    def listening(handler: Handler) -> Handler:
        inner = entrance.before(handler)

        async def handle(request: Request, peer: Peer) -> Answer:
            heard.append(request)
            return await inner(request, peer)

        return handle

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        shown = tls.Serving(keys.serving_file, keys.client_authorities.decode())
        found = Joinable(folder, listener.getsockname()[1], str(token), keys, client, entrance, heard, api, authenticator, shown)
        async with trio.open_nursery() as nursery:

            async def serve(*, task_status: trio.TaskStatus[None]) -> None:
                await assembly.serve(api, [listener], shown, before=listening, task_status=task_status)

            await nursery.start(serve)
            yield found
            nursery.cancel_scope.cancel()


async def asked(membership: Membership) -> Response:
    """What the server says to a node that asks for itself."""
    transport = HttpsTransport(membership.choice)
    try:
        return await transport.request(Request("GET", "/api/v1/nodes/far"))
    finally:
        transport.close()
