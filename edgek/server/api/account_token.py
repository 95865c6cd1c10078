"""The token subresource of service accounts: decoded and admitted here, made in ``token_request.py``."""

from __future__ import annotations

from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server.api import decode, options, token_request
from edgek.server.api.admit import Gate
from edgek.server.api.call import Call
from edgek.server.api.storage import Objects, copied
from edgek.server.api.tokens import ServiceAccountTokens

TOKEN_REQUEST = Kind("authentication.k8s.io", "v1", "TokenRequest", "")


async def create_token(call: Call, store: Objects, gate: Gate, tokens: ServiceAccountTokens) -> Object:
    chosen = options.write_options(call.request, "Create")
    sent = decode.body(call, TOKEN_REQUEST, chosen)

    def admit(request: Object) -> None:
        review = gate.review(call, "CREATE", request, None, dry_run=chosen.dry_run)
        gate.admit(review)
        gate.validate(review)

    return token_request.create(tokens, store.backend, call.namespace, call.name, copied(sent), admit)
