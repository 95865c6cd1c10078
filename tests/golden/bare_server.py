"""The API alone, for the golden check: no controllers, static tokens, anonymous requests let in.

    python -m tests.golden.bare_server --port 16444 --dir /tmp/golden [--sqlite]

prints the options for golden/run.py once it answers. The folder holds the authorities and, with --sqlite, the store.
"""

from __future__ import annotations

import argparse
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from edgek.client.client import Client
from edgek.host import tls
from edgek.server import pki
from edgek.server.api.assembly import assemble, serve
from edgek.server.api.authn import Authenticator, read_token_file
from edgek.server.api.authz import Authorizer
from edgek.server.api.bootstrap import ensure_defaults
from edgek.server.api.default_objects import Settings
from edgek.server.api.identity import MASTERS_GROUP, User
from edgek.server.api.local import LocalTransport
from edgek.server.api.tokens import ServiceAccountTokens
from edgek.server.resources.allocators import DEFAULT_SERVICE_CIDR
from edgek.server.store.backend import Backend
from edgek.server.store.memory import MemoryBackend
from edgek.server.store.sqlite import SqliteBackend

TOKENS = """golden-admin-token,golden-admin,u-admin,"system:masters"
golden-alice-token,alice,u-alice,"golden-devs"
golden-bob-token,bob,u-bob,""
"""
SERVER = User("system:apiserver", groups=(MASTERS_GROUP,))
ADVERTISED = "192.0.2.1"  # no endpoint may be a loopback address


@asynccontextmanager
async def open_backend(folder: Path, sqlite: bool) -> AsyncIterator[Backend]:
    if not sqlite:
        yield MemoryBackend()
        return
    async with SqliteBackend.open(folder / "store.db") as backend:
        yield backend


async def run(port: int, folder: Path, sqlite: bool) -> None:
    keys = pki.open_keys(folder / "pki", ["127.0.0.1", "localhost"])
    async with open_backend(folder, sqlite) as backend:
        tokens = ServiceAccountTokens(backend, keys.service_account_key, issuer="https://kubernetes.default.svc.cluster.local")
        authenticator = Authenticator(
            tokens=tokens, static_tokens=read_token_file(folder / "tokens.csv"), client_ca=keys.client_ca.certificate, anonymous=True
        )
        api = assemble(backend, authenticator=authenticator, authorizer=Authorizer(backend), tokens=tokens)
        authorities = (keys.client_ca.certificate, keys.front_proxy_ca.certificate)
        settings = Settings(DEFAULT_SERVICE_CIDR, ADVERTISED, port, *authorities)
        await ensure_defaults(Client(LocalTransport(api, SERVER)), settings, agents=True)
        context = tls.server_context(keys.serving_file, keys.client_authorities.decode())
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            async with trio.open_nursery() as nursery:
                await nursery.start(serve, api, [listener], context)
                print(f"--server https://127.0.0.1:{port} --token golden-admin-token --ca {keys.folder / 'server-ca.crt'}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=16444)
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--sqlite", action="store_true")
    asked = parser.parse_args()
    asked.dir.mkdir(parents=True, exist_ok=True)
    (asked.dir / "tokens.csv").write_text(TOKENS)
    trio.run(run, asked.port, asked.dir, asked.sqlite)


if __name__ == "__main__":
    main()
