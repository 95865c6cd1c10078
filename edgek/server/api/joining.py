"""Where nodes come in: the authority's certificate for everybody, certificates for nodes that have a token, new ones for those that have old ones.

A name belongs to the machine that took it first: it made a secret of its own, of which the cluster keeps a hash (``NAME.node-password.edgek`` in
``kube-system``). The same machine may join again; for another one the name has to be forgotten first. By that secret it also gets new certificates
when its own have ended, as those of a board that lay on a shelf for years: it is worth as much as the key that lies beside it on that board.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import math
import secrets
from collections.abc import Awaitable, Callable, Iterable

import trio

from edgek.client.client import Client
from edgek.client.joining import (
    AUTHORITY_PATH,
    FOLLOWED,
    FORGOTTEN,
    JOIN_PATH,
    PASSWORD_SUFFIX,
    RENEW_PATH,
    SECRETS_NAMESPACE,
    Application,
    Cluster,
    Welcome,
)
from edgek.client.transport import Request, Response
from edgek.host import log, pki
from edgek.model import errors, kinds, objects
from edgek.model.objects import Object
from edgek.server.api import responses
from edgek.server.api.authn import Authenticator
from edgek.server.api.http import Handler, Peer
from edgek.server.api.join_tokens import JoinTokens, value
from edgek.server.api.node_access import node_name
from edgek.server.api.responses import Answer
from edgek.server.pki import Keys, node, node_server
from edgek.server.resources.validation.names import dns_subdomain

REFUSALS_SAID = 100  # the newest are remembered, for
SAID_FOR_S = 600.0  # who asks again and again and is refused for the same reason is not worth a line each time

Page = Callable[[Request, Peer], Awaitable[Answer]]


class Entrance:
    """``names`` are the server's own, which no node may bear. ``keys``, ``cluster``, ``names`` are asked for each time: they change while we run."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        tokens: JoinTokens,
        client: Client,
        keys: Callable[[], Keys],
        cluster: Callable[[], Cluster],
        names: Callable[[], Iterable[str]],
    ) -> None:
        self._authenticator = authenticator
        self._tokens = tokens
        self._client = client
        self._keys = keys
        self._cluster = cluster
        self._names = names
        self._said: dict[str, float] = {}  # refusals, and when; the oldest first
        self._pages: dict[str, Page] = {AUTHORITY_PATH: self._authority, JOIN_PATH: self._join, RENEW_PATH: self._renew}

    def add(self, path: str, page: Page) -> None:
        self._pages[path] = page

    def before(self, handler: Handler) -> Handler:
        """Answers what is asked of us here; the rest is the handler's."""

        async def handle(request: Request, peer: Peer) -> Answer:
            page = self._pages.get(request.path)
            if page is None:
                return await handler(request, peer)
            try:
                return await page(request, peer)
            except errors.ApiError as exc:
                say = log.debug if self._was_said(f"{request.path} {peer.address} {exc}") else log.info
                say("a node was refused", path=request.path, peer=peer.address, why=exc)
                return responses.error(exc)

        return handle

    def _was_said(self, refusal: str) -> bool:
        """A little while ago. From now on it was."""
        now = trio.current_time()
        if now - self._said.get(refusal, -math.inf) < SAID_FOR_S:
            return True
        self._said.pop(refusal, None)
        self._said[refusal] = now
        if len(self._said) > REFUSALS_SAID:
            del self._said[next(iter(self._said))]
        return False

    def node_of(self, request: Request, peer: Peer) -> str:
        """The node that asks, by its certificate. Raises Unauthorized, Forbidden."""
        user = self._authenticator.authenticate(request.headers, peer.certificate)
        if user is None:
            raise errors.Unauthorized("a node proves itself by its certificate; join first")
        name = node_name(user)
        if not name:
            raise errors.Forbidden(f"{user.name!r} is no node")
        return name

    async def _authority(self, request: Request, peer: Peer) -> Answer:
        return responses.text(200, self._keys().server_authorities.decode())

    async def _join(self, request: Request, peer: Peer) -> Answer:
        await self._tokens.check(request.headers.get("authorization", "").removeprefix("Bearer ").strip())
        asked = Application.decode(request.body)
        self._check_name(asked.node)
        record = await self._claim(asked.node, asked.password)
        log.info("a node joins", node=asked.node, peer=peer.address)
        return await self._welcome(asked, record)

    async def _renew(self, request: Request, peer: Peer) -> Answer:
        asked = Application.decode(request.body)
        if peer.certificate is not None and self.node_of(request, peer) != asked.node:
            raise errors.Forbidden("a node gets certificates for itself only")
        if await self._record(asked.node) is None:
            raise errors.Unauthorized(f"node {asked.node!r} {FORGOTTEN}: start the agent with --token to join again")
        record = await self._claim(asked.node, asked.password)
        if peer.certificate is None:
            log.info("a node whose certificate is of no use any more proves itself by its own secret", node=asked.node, peer=peer.address)
        return await self._welcome(asked, record)

    async def _welcome(self, asked: Application, record: Object) -> Response:
        keys = self._keys()
        addresses = [address for address in asked.addresses if _is_address(address) and address not in self._names()]
        try:
            client = pki.sign_request(keys.client_ca, asked.client_request.encode(), node(asked.node, objects.uid(record)))
            serving = pki.sign_request(keys.server_ca, asked.serving_request.encode(), node_server(asked.node, addresses))
        except ValueError as exc:
            raise errors.BadRequest(f"no certificate can be made from this: {exc}") from None
        await self._note(record, keys.digest)
        authorities = {"client_authority": keys.node_authorities.decode(), "server_authority": keys.server_authorities.decode()}
        welcome = Welcome(client.decode(), serving.decode(), cluster=self._cluster(), **authorities)
        return Response(200, {"content-type": responses.JSON}, welcome.encode())

    async def _note(self, record: Object, digest: str) -> None:
        """Which authorities it follows, so that no former one is given up while a node depends on it."""
        if objects.annotations(record).get(FOLLOWED) != digest:
            patch = {"metadata": {"annotations": {FOLLOWED: digest}}}
            await self._client.patch(kinds.SECRET, objects.name(record), patch, SECRETS_NAMESPACE)

    def _check_name(self, name: str) -> None:
        problems = dns_subdomain(name)
        if problems:
            raise errors.BadRequest(f"{name!r} cannot be a node's name: {problems[0]}; choose another with --node-name")
        if name in self._names():
            raise errors.Conflict(f"node {name!r} is the server itself, or a name of its; join with another --node-name")

    async def _record(self, name: str) -> Object | None:
        return await self._client.find(kinds.SECRET, name + PASSWORD_SUFFIX, SECRETS_NAMESPACE)

    async def _claim(self, name: str, password: str) -> Object:
        """The record of this machine. Raises Conflict when the name is another machine's."""
        if len(password) < 16:
            raise errors.BadRequest("a node needs a secret of its own")
        found = await self._record(name)
        if found is None:
            salt = secrets.token_hex(8)
            data = {"hash": base64.b64encode(f"{salt}:{_hashed(salt, password)}".encode()).decode()}
            secret = {"metadata": {"name": name + PASSWORD_SUFFIX}, "type": "edgek.io/node-password", "immutable": True, "data": data}
            try:
                return await self._client.create(kinds.SECRET, secret, SECRETS_NAMESPACE)
            except errors.AlreadyExists:
                return await self._claim(name, password)
        salt, _, kept = value(found, "hash").partition(":")
        if not hmac.compare_digest(kept, _hashed(salt, password)):
            raise errors.Conflict(
                f"node {name!r} is another machine's, or this one's from before it was set up anew: "
                f"`edgek node forget {name}` on the server lets it join as that, or join with another --node-name"
            )
        return found


def _hashed(salt: str, password: str) -> str:
    """A plain hash is enough: a node's secret is 128 random bits, not a word that could be guessed."""
    return hashlib.sha256(f"{salt}{password}".encode()).hexdigest()


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
