"""RBAC as values: what a rule allows, whether some rules cover others, and how rules are told to people.

Pure. ``grants.py`` keeps the roles and bindings of the cluster; ``authz.py`` asks both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import attrs

from edgek.model.objects import Object
from edgek.server.api.identity import Attributes
from edgek.server.api.quoting import quoted_list

ALL = "*"


@attrs.frozen
class Rule:
    verbs: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()

    @classmethod
    def of(cls, rule: Object) -> Rule:
        """From a member of ``rules`` of a Role or ClusterRole."""
        members = ("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs")
        return cls(*(tuple(rule.get(member) or ()) for member in members))

    def as_object(self) -> Object:
        """As the rules reviews show it: verbs always, the rest where it is set."""
        shown: dict[str, Any] = {"verbs": list(self.verbs)}
        for member, values in (("apiGroups", self.groups), ("resources", self.resources), ("resourceNames", self.names)):
            if values:
                shown[member] = list(values)
        if self.urls:
            shown["nonResourceURLs"] = list(self.urls)
        return shown

    def fits(self, asked: Attributes) -> bool:
        """Whether it is about what is asked, whatever the object's name."""
        if asked.verb not in self.verbs and ALL not in self.verbs:
            return False
        if not asked.is_resource:
            return any(_url_fits(url, asked.path) for url in self.urls)
        return (asked.group in self.groups or ALL in self.groups) and _resource_fits(self.resources, asked.resource, asked.subresource)

    def allows(self, asked: Attributes) -> bool:
        return self.fits(asked) and (not self.names or not asked.is_resource or asked.name in self.names)


def rules_of(role: Object) -> tuple[Rule, ...]:
    return tuple(Rule.of(rule) for rule in role.get("rules") or ())


def uncovered(held: Sequence[Rule], wanted: Iterable[Rule]) -> list[Rule]:
    """The smallest parts of ``wanted`` that none of ``held`` covers."""
    return [part for rule in wanted for part in _parts(rule) if not any(_covers(own, part) for own in held)]


def described(rules: Iterable[Rule]) -> list[str]:
    """Rules as upstream prints them, sorted, those that differ only in their verbs together."""
    joined: dict[Rule, list[str]] = {}
    for rule in rules:
        verbs = joined.setdefault(attrs.evolve(rule, verbs=()), [])
        verbs.extend(verb for verb in rule.verbs if verb not in verbs)
    return sorted(_described(attrs.evolve(rule, verbs=tuple(verbs))) for rule, verbs in joined.items())


def missing(held: Sequence[Rule], wanted: Iterable[Rule]) -> list[str]:
    """What ``held`` lacks to grant ``wanted``, a line each; empty when nothing."""
    return described(uncovered(held, wanted))


def _described(rule: Rule) -> str:
    members = (
        ("APIGroups", rule.groups),
        ("Resources", rule.resources),
        ("NonResourceURLs", rule.urls),
        ("ResourceNames", rule.names),
        ("Verbs", rule.verbs),
    )
    return "{" + ", ".join(f"{name}:{quoted_list(values)}" for name, values in members if values) + "}"


def _resource_fits(resources: tuple[str, ...], resource: str, subresource: str) -> bool:
    if ALL in resources:
        return True
    if not subresource:
        return resource in resources
    return f"{resource}/{subresource}" in resources or f"*/{subresource}" in resources


def _url_fits(pattern: str, path: str) -> bool:
    return pattern in (ALL, path) or (pattern.endswith(ALL) and path.startswith(pattern[:-1]))


def _parts(rule: Rule) -> Iterator[Rule]:
    """One verb, one group, one resource, one name each."""
    for verb in rule.verbs:
        for group in rule.groups:
            for resource in rule.resources:
                if rule.names:
                    yield from (Rule((verb,), (group,), (resource,), (name,)) for name in rule.names)
                else:
                    yield Rule((verb,), (group,), (resource,))
        yield from (Rule((verb,), urls=(url,)) for url in rule.urls)


def _covers(own: Rule, part: Rule) -> bool:
    """``part`` is of ``_parts``: whatever it has, it has once."""
    if ALL not in own.verbs and part.verbs[0] not in own.verbs:
        return False
    if part.urls:
        return any(_url_fits(url, part.urls[0]) for url in own.urls)
    if ALL not in own.groups and part.groups[0] not in own.groups:
        return False
    resource, _, subresource = part.resources[0].partition("/")
    if not _resource_fits(own.resources, resource, subresource):
        return False
    return not own.names or (bool(part.names) and part.names[0] in own.names)
