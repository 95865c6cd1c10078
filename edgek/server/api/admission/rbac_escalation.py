"""Nobody can grant what he does not hold. Not a plugin upstream but part of its RBAC storage; it needs the same moment.

Whoever holds the verb ``escalate`` on a role may write anything into it; whoever holds ``bind`` may give it to anybody.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgek.model import kinds
from edgek.model.errors import NotFound
from edgek.model.objects import Object
from edgek.server.api.admission.base import Review, Step, refused
from edgek.server.api.grants import role_key
from edgek.server.api.identity import MASTERS_GROUP, Attributes
from edgek.server.api.quoting import quoted, quoted_list
from edgek.server.api.rbac import Rule, missing, rules_of

ROLES = (kinds.ROLE, kinds.CLUSTER_ROLE)
BINDINGS = (kinds.ROLE_BINDING, kinds.CLUSTER_ROLE_BINDING)


class RbacEscalation(Step):
    name = "RbacEscalation"
    about = (*ROLES, *BINDINGS)
    operations = ("CREATE", "UPDATE")

    def admit(self, review: Review) -> None:
        if MASTERS_GROUP in review.user.groups:
            return
        if review.kind in ROLES:
            self._check_role(review)
        else:
            self._check_binding(review)

    def _check_role(self, review: Review) -> None:
        role, old = review.obj or {}, review.old
        if old is not None and all(role.get(member) == old.get(member) for member in ("rules", "aggregationRule")):
            return
        if self._may(review, "escalate", review.kind.plural, review.name):
            return
        if role.get("aggregationRule") and (old is None or role["aggregationRule"] != old.get("aggregationRule")):
            # Whatever will be collected there is unknown yet: only who holds everything can say that it is all right.
            self._must_hold(review, [Rule(("*",), ("*",), ("*",)), Rule(("*",), urls=("*",))])
        self._must_hold(review, rules_of(role))

    def _check_binding(self, review: Review) -> None:
        binding, old = review.obj or {}, review.old
        if old is not None and all(binding.get(member) == old.get(member) for member in ("subjects", "roleRef")):
            return
        reference: Object = binding.get("roleRef") or {}
        role = role_key(reference, review.namespace)
        if self._may(review, "bind", role.resource.partition(".")[0], role.name):
            return
        rules = self.authorizer.role(role)
        if rules is None:
            # Upstream names the role but calls it by the binding's resource.
            raise NotFound(f"{review.kind.resource} {quoted(role.name)} not found", name=role.name, group=review.kind.group, kind=review.kind.plural)
        self._must_hold(review, rules)

    def _may(self, review: Review, verb: str, resource: str, name: str) -> bool:
        group = review.kind.group
        asked = Attributes(review.user, verb, group=group, version="v1", resource=resource, namespace=review.namespace, name=name)
        return self.authorizer.authorize(asked).allowed

    def _must_hold(self, review: Review, wanted: Sequence[Rule]) -> None:
        held, problems = self.authorizer.rules_of(review.user, review.namespace)
        lacking = missing(held, wanted)
        if not lacking:
            return
        who = f"user {quoted(review.user.name)} (groups={quoted_list(review.user.groups)})"
        why = f"{who} is attempting to grant RBAC permissions not currently held:\n" + "\n".join(lacking)
        raise refused(review, why + (f"; resolution errors: [{', '.join(problems)}]" if problems else ""))
