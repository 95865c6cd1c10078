"""Every path that names no resource: discovery, OpenAPI, OpenID, health, version, metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import attrs

from edgek.client.transport import Request, Response
from edgek.model import errors
from edgek.server.api import health, negotiation, responses
from edgek.server.api.discovery import Discovery
from edgek.server.api.health import Health, Metrics
from edgek.server.api.openapi import OpenApi
from edgek.server.api.routes import Registry
from edgek.server.api.tokens import ServiceAccountTokens

JWKS = "/openid/v1/jwks"
JWKS_MEDIA = "application/jwk-set+json"


class Page(Protocol):
    def respond(self, request: Request) -> Response | None: ...


@attrs.frozen
class Pages:
    registry: Registry
    discovery: Discovery
    openapi: OpenApi
    health: Health
    tokens: ServiceAccountTokens
    metrics: Metrics = attrs.field(factory=Metrics)

    def respond(self, request: Request) -> Response:
        """Raises NotFound, MethodNotAllowed."""
        found = None if request.path.startswith("//") else self.health.respond(request) or self._page(request)
        if found is None:
            if request.path.startswith(("/api/", "/apis/")) and self._group_is_known(request.path):
                raise errors.NotFound(responses.NOT_FOUND)
            return responses.text(404, "404 page not found\n")
        return found

    def _page(self, request: Request) -> Response | None:
        path, accept = request.path, request.headers.get("accept", "")
        if path.startswith("/openapi/"):
            return self.openapi.respond(path, request.headers)
        found = self._fixed(path, accept) or self.discovery.respond(path, accept, request.headers.get("if-none-match", ""))
        if found is not None and request.method not in ("GET", "HEAD"):
            raise errors.MethodNotAllowed(responses.METHOD_NOT_ALLOWED)
        return found

    def _fixed(self, path: str, accept: str) -> Response | None:
        match path:
            case "/":
                return health.paths(self._groups())
            case "/version" | "/version/":
                return health.version()
            case "/metrics":
                return self.metrics.page()
            case "/.well-known/openid-configuration":
                return responses.json(200, self.tokens.configuration(self.tokens.issuer + JWKS))
            case "/openid/v1/jwks":
                return self._keys(accept)
        return None

    def _keys(self, accept: str) -> Response:
        """The public keys of service account tokens, in their own media type only. Raises NotAcceptable."""
        media = {media for media, _ in negotiation.clauses(accept)}
        if media and not media & {JWKS_MEDIA, "*/*", "application/*"}:
            raise errors.NotAcceptable(f"406: Not Acceptable\n\nAvailable representations: {JWKS_MEDIA}")
        return responses.json(200, self.tokens.jwks(), JWKS_MEDIA)

    def _groups(self) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for kind in self.registry.all():
            if kind.group and kind.version not in found.get(kind.group, ()):
                found[kind.group] = (*found.get(kind.group, ()), kind.version)
        return found

    def _group_is_known(self, path: str) -> bool:
        parts = path.split("/")
        return parts[1] == "api" or self.registry.has_group(parts[2])
