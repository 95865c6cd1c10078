"""May this user do that? Asked on every request, so answers are remembered until a role or binding changes.

The order is upstream's: ``system:masters`` may do all; a node is judged by what runs on it (``node_access.py``); RBAC decides the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from edgek.model import errors
from edgek.server.api.grants import Grants
from edgek.server.api.identity import MASTERS_GROUP, Attributes, Decision, User
from edgek.server.api.node_access import NodeAccess
from edgek.server.api.quoting import quoted
from edgek.server.api.rbac import Rule
from edgek.server.store.backend import Backend, Key

REMEMBERED = 4096  # answers. Beyond that all are forgotten: a client that asks for ever new things must not fill the memory

ALLOWED = Decision(True)


@attrs.frozen
class _Verdict:
    """RBAC's answer to one question, for all names of objects at once: ``by_name`` holds those that rules allow by name."""

    decision: Decision
    by_name: Mapping[str, Decision]


class Authorizer:
    def __init__(self, backend: Backend) -> None:
        self._grants = Grants(backend)
        self._nodes = NodeAccess(backend)
        self._verdicts: dict[tuple[object, ...], _Verdict] = {}
        self._generation = -1

    def close(self) -> None:
        self._grants.close()
        self._nodes.close()

    def authorize(self, asked: Attributes) -> Decision:
        """Never waits."""
        if MASTERS_GROUP in asked.user.groups:
            return ALLOWED
        node = self._nodes.decide(asked)
        if node is not None and node.allowed:
            return node
        verdict = self._verdict(asked)
        decision = verdict.decision if verdict.decision.allowed else verdict.by_name.get(asked.name, verdict.decision)
        if node is None or decision.allowed:
            return decision
        return Decision(False, "\n".join(filter(None, (node.reason, decision.reason))))

    def rules_of(self, user: User, namespace: str) -> tuple[list[Rule], list[str]]:
        """What RBAC lets a user do in a namespace (empty: cluster-wide), and what is wrong with his bindings."""
        return self._grants.rules_of(user, namespace)

    def role(self, key: Key) -> Sequence[Rule] | None:
        """The rules of a Role or ClusterRole, None where there is none."""
        return self._grants.role(key)

    def _verdict(self, asked: Attributes) -> _Verdict:
        if self._generation != self._grants.generation or len(self._verdicts) >= REMEMBERED:
            self._verdicts.clear()
            self._generation = self._grants.generation
        user = asked.user
        if asked.is_resource:  # whose path names the object, which must not matter here
            what: tuple[str, ...] = (asked.group, asked.resource, asked.subresource, asked.namespace)
        else:
            what = (asked.path,)
        question = (user.name, user.groups, asked.verb, what)
        found = self._verdicts.get(question)
        if found is None:
            found = self._verdicts[question] = self._judge(asked)
        return found

    def _judge(self, asked: Attributes) -> _Verdict:
        by_name: dict[str, Decision] = {}
        problems: list[str] = []
        for grant in self._grants.of(asked.user, asked.namespace):
            if grant.problem:
                problems.append(grant.problem)
            for rule in grant.rules or ():
                if not rule.fits(asked):
                    continue
                if not rule.names or not asked.is_resource:
                    return _Verdict(Decision(True, grant.reason), {})
                for name in rule.names:
                    by_name.setdefault(name, Decision(True, grant.reason))
        return _Verdict(Decision(False, f"RBAC: {_joined(problems)}" if problems else ""), by_name)


def forbidden(asked: Attributes, reason: str = "") -> errors.Forbidden:
    """The 403 for a decision against it."""
    if not asked.is_resource:
        said = f"User {quoted(asked.user.name)} cannot {asked.verb} path {quoted(asked.path)}"
        return errors.Forbidden(": ".join(filter(None, ("forbidden", said, reason))))
    resource = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    where = f"in the namespace {quoted(asked.namespace)}" if asked.namespace else "at the cluster scope"
    said = f"User {quoted(asked.user.name)} cannot {asked.verb} resource {quoted(resource)} in API group {quoted(asked.group)} {where}"
    qualified = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
    named = f"{qualified} {quoted(asked.name)}" if asked.name else qualified
    message = ": ".join(filter(None, (f"{named} is forbidden", said, reason)))
    return errors.Forbidden(message, name=asked.name, group=asked.group, kind=asked.resource)


def _joined(problems: Sequence[str]) -> str:
    """Several errors as upstream joins them, each once."""
    distinct = list(dict.fromkeys(problems))
    return distinct[0] if len(distinct) == 1 else f"[{', '.join(distinct)}]"
