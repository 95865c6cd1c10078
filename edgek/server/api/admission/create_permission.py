"""A patch or an update that turns out to create needs the permission to create as well. Upstream asks at the same moment."""

from __future__ import annotations

from edgek.server.api.admission.base import Review, Step
from edgek.server.api.authz import forbidden
from edgek.server.api.identity import Attributes


class CreatePermission(Step):
    name = "CreatePermission"

    def handles(self, review: Review) -> bool:
        return review.operation == "CREATE" and review.verb in ("patch", "update") and not review.subresource

    def admit(self, review: Review) -> None:
        kind = review.kind
        asked = Attributes(
            review.user,
            "create",
            group=kind.group,
            version=kind.version,
            resource=kind.plural,
            namespace=review.namespace,
            name=review.name,
            kind=kind,
        )
        decision = self.authorizer.authorize(asked)
        if not decision.allowed:
            raise forbidden(asked, decision.reason)
