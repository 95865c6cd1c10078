"""One request on its way, once it is known who asks for what."""

from __future__ import annotations

import attrs

from edgek.client.transport import Request
from edgek.model.kinds import Kind
from edgek.server.api.identity import User
from edgek.server.api.negotiation import Wanted
from edgek.server.api.routes import Route


@attrs.define
class Call:
    """``namespace`` is empty for what lies in none. ``warnings`` become headers of the answer."""

    request: Request
    user: User
    route: Route
    kind: Kind
    verb: str
    want: Wanted
    warnings: list[str] = attrs.field(factory=list)

    @property
    def namespace(self) -> str:
        return self.route.namespace if self.kind.namespaced else ""

    @property
    def name(self) -> str:
        return self.route.name

    @property
    def subresource(self) -> str:
        return self.route.subresource
