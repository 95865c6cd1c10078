"""Which rules a user holds: the roles and bindings of the cluster, kept current by watching the store.

A binding is found by its subjects, so asking costs the user's own bindings and not the cluster's. ``generation`` counts the changes: whoever
remembers an answer forgets it when the count has moved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import attrs
import orjson

from edgek.model import kinds, selectors
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.model.selectors import LabelSelector
from edgek.server.api.identity import User
from edgek.server.api.rbac import Rule, rules_of
from edgek.server.store.backend import Backend, Event, Key, Record

RBAC_KINDS = (kinds.ROLE, kinds.CLUSTER_ROLE, kinds.ROLE_BINDING, kinds.CLUSTER_ROLE_BINDING)
SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"

Subject = tuple[str, str]  # (kind, name), a service account by its user name


@attrs.frozen
class Binding:
    """``role`` is the key of what it refers to. ``subjects`` are shown in reasons as they were written."""

    key: Key
    role: Key
    subjects: Mapping[Subject, str]

    @property
    def kind(self) -> Kind:
        return kinds.ROLE_BINDING if self.key.namespace else kinds.CLUSTER_ROLE_BINDING


@attrs.frozen
class Role:
    """A role as it is written. With ``collects`` (even an empty one) its rules are those of the ClusterRoles whose labels match, not its own."""

    rules: tuple[Rule, ...]
    labels: Mapping[str, str]
    collects: tuple[LabelSelector, ...] | None = None


@attrs.frozen
class Grant:
    """Some rules that a user holds, and by whose word. ``rules`` is None where the role is missing."""

    binding: Binding
    subject: str
    rules: tuple[Rule, ...] | None

    @property
    def reason(self) -> str:
        """``RBAC: allowed by RoleBinding "b/ns" of Role "r" to User "u"``."""
        bound = f"{self.binding.key.name}/{self.binding.key.namespace}" if self.binding.key.namespace else self.binding.key.name
        return f'RBAC: allowed by {self.binding.kind.name} "{bound}" of {_role_kind(self.binding).name} "{self.binding.role.name}" to {self.subject}'

    @property
    def problem(self) -> str:
        """What is wrong with it; empty when nothing."""
        return "" if self.rules is not None else f'{_role_kind(self.binding).singular}.{kinds.ROLE.group} "{self.binding.role.name}" not found'


class Grants:
    """Filled and kept current from the moment it is made, without waiting; ``close`` ends that."""

    def __init__(self, backend: Backend) -> None:
        self.generation = 0
        self._roles: dict[Key, Role] = {}
        self._bindings: dict[Key, Binding] = {}
        self._by_subject: dict[Subject, dict[Key, Binding]] = {}
        self._collected: dict[Key, tuple[Rule, ...]] = {}  # forgotten with every change of a role
        self._subscriptions = []
        for kind in RBAC_KINDS:
            page = backend.list(kind.storage)
            for record in page.records:
                self._put(record)
            self._subscriptions.append(backend.watch(kind.storage, "", page.revision, self._hear))

    def close(self) -> None:
        for subscription in self._subscriptions:
            subscription.close()

    def of(self, user: User, namespace: str) -> Iterator[Grant]:
        """Cluster-wide grants first, then those of the namespace."""
        local: list[Grant] = []
        for subject in _subjects_of(user):
            for binding in self._by_subject.get(subject, {}).values():
                if binding.key.namespace in ("", namespace):
                    grant = Grant(binding, binding.subjects[subject], self.role(binding.role))
                    if binding.key.namespace:
                        local.append(grant)
                    else:
                        yield grant
        yield from local

    def rules_of(self, user: User, namespace: str) -> tuple[list[Rule], list[str]]:
        """Everything that a user may do in a namespace, and what is wrong with his bindings."""
        rules: list[Rule] = []
        problems: list[str] = []
        for grant in self.of(user, namespace):
            rules.extend(grant.rules or ())
            if grant.problem:
                problems.append(grant.problem)
        return rules, problems

    def role(self, key: Key) -> tuple[Rule, ...] | None:
        """What a role allows, what it collects from others included; None where there is none."""
        role = self._roles.get(key)
        if role is None or role.collects is None:
            return role.rules if role else None
        found = self._collected.get(key)
        if found is None:
            found = self._collected[key] = tuple(dict.fromkeys(self._collect(role, {key})))
        return found

    def _collect(self, role: Role, seen: set[Key]) -> Iterator[Rule]:
        """Roles that are collected may collect themselves (``admin`` has ``edit``, which has ``view``)."""
        for key, other in self._roles.items():
            if key in seen or key.namespace or not any(selector.matches(other.labels) for selector in role.collects or ()):
                continue
            seen.add(key)
            if other.collects is None:
                yield from other.rules
            else:
                yield from self._collect(other, seen)

    def _hear(self, events: Sequence[Event]) -> None:
        self.generation += 1
        for event in events:
            if event.type == "DELETED":
                self._drop(event.record.key)
            else:
                self._put(event.record)

    def _put(self, record: Record) -> None:
        obj: Object = orjson.loads(record.body)
        if record.key.resource in (kinds.ROLE.storage, kinds.CLUSTER_ROLE.storage):
            self._collected.clear()
            self._roles[record.key] = _role(obj, record.labels)
            return
        self._drop(record.key)
        binding = _binding(record.key, obj)
        self._bindings[record.key] = binding
        for subject in binding.subjects:
            self._by_subject.setdefault(subject, {})[record.key] = binding

    def _drop(self, key: Key) -> None:
        self._collected.clear()
        self._roles.pop(key, None)
        binding = self._bindings.pop(key, None)
        for subject in binding.subjects if binding else ():
            held = self._by_subject[subject]
            held.pop(key, None)
            if not held:
                del self._by_subject[subject]


def role_key(role_ref: Object, namespace: str) -> Key:
    """Where the role of a binding in ``namespace`` (empty: cluster-wide) lives."""
    cluster_wide = role_ref.get("kind") == kinds.CLUSTER_ROLE.name
    kind = kinds.CLUSTER_ROLE if cluster_wide else kinds.ROLE
    return Key(kind.storage, "" if cluster_wide else namespace, role_ref.get("name", ""))


def _role(obj: Object, labels: Mapping[str, str]) -> Role:
    aggregation = obj.get("aggregationRule")
    if not aggregation:
        return Role(rules_of(obj), labels)
    return Role((), labels, tuple(selectors.of_dict(selector) for selector in aggregation.get("clusterRoleSelectors") or ()))


def _role_kind(binding: Binding) -> Kind:
    return kinds.ROLE if binding.role.namespace else kinds.CLUSTER_ROLE


def _binding(key: Key, obj: Object) -> Binding:
    return Binding(key, role_key(obj.get("roleRef") or {}, key.namespace), dict(_subject(each, key.namespace) for each in obj.get("subjects") or ()))


def _subject(subject: Object, namespace: str) -> tuple[Subject, str]:
    kind, name = subject.get("kind", ""), subject.get("name", "")
    if kind != "ServiceAccount":
        return (kind, name), f'{kind} "{name}"'
    home = subject.get("namespace") or namespace
    return ("User", f"{SERVICE_ACCOUNT_PREFIX}{home}:{name}"), f'{kind} "{name}/{home}"'


def _subjects_of(user: User) -> Iterator[Subject]:
    yield "User", user.name
    for group in user.groups:
        yield "Group", group
