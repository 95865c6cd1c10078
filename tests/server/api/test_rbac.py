"""Rules as values."""

from __future__ import annotations

import pytest

from edgek.server.api.identity import Attributes, User
from edgek.server.api.rbac import Rule, missing

ALICE = User("alice")


def asked(verb: str, resource: str = "", *, group: str = "", sub: str = "", name: str = "", path: str = "") -> Attributes:
    return Attributes(ALICE, verb, path, group, "v1", resource, sub, "ns", name)


PODS = Rule(("get",), ("",), ("pods",))


@pytest.mark.parametrize(
    ("rule", "question", "allowed"),
    [
        (PODS, asked("get", "pods"), True),
        (PODS, asked("list", "pods"), False),
        (PODS, asked("get", "pods", group="apps"), False),
        (PODS, asked("get", "pods", sub="log"), False),
        (Rule(("*",), ("*",), ("*",)), asked("get", "pods", sub="log"), True),
        (Rule(("get",), ("",), ("pods/log",)), asked("get", "pods", sub="log"), True),
        (Rule(("get",), ("",), ("pods/log",)), asked("get", "pods"), False),
        (Rule(("update",), ("apps",), ("*/scale",)), asked("update", "deployments", group="apps", sub="scale"), True),
        (Rule(("get",), ("",), ("pods",), ("one",)), asked("get", "pods", name="one"), True),
        (Rule(("get",), ("",), ("pods",), ("one",)), asked("get", "pods", name="two"), False),
        (Rule(("get",), ("",), ("pods",), ("one",)), asked("get", "pods"), False),
        (Rule(("get",), urls=("/api/*",)), asked("get", path="/api/v1"), True),
        (Rule(("get",), urls=("/api/*",)), asked("get", path="/api"), False),
        (Rule(("get",), urls=("/healthz",)), asked("get", path="/healthz"), True),
        (Rule(("*",), ("*",), ("*",)), asked("get", path="/healthz"), False),
    ],
)
def test_a_rule_allows_what_it_names_and_nothing_else(rule: Rule, question: Attributes, allowed: bool) -> None:
    assert rule.allows(question) is allowed


@pytest.mark.parametrize(
    ("held", "wanted", "lacking"),
    [
        ([PODS], [PODS], []),
        ([PODS], [Rule(("get", "list"), ("",), ("pods", "secrets"))], ['{APIGroups:[""], Resources:["pods"], Verbs:["list"]}', '{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}']),
        ([Rule(("*",), ("*",), ("*",))], [Rule(("get",), ("x",), ("y/z",), ("n",))], []),
        ([Rule(("get",), ("",), ("pods",), ("a",))], [PODS], ['{APIGroups:[""], Resources:["pods"], Verbs:["get"]}']),
        ([Rule(("get",), ("",), ("pods",), ("a",))], [Rule(("get",), ("",), ("pods",), ("a", "b"))], ['{APIGroups:[""], Resources:["pods"], ResourceNames:["b"], Verbs:["get"]}']),
        ([], [Rule(("*",), urls=("*",))], ['{NonResourceURLs:["*"], Verbs:["*"]}']),
        ([Rule(("get",), urls=("/api/*",))], [Rule(("get",), urls=("/api/v1", "/api/*"))], []),
        ([Rule(("get",), ("",), ("*/scale",))], [Rule(("get",), ("",), ("pods/scale",))], []),
    ],
    ids=["the-same", "more", "all", "by-name-only", "another-name", "urls", "url-prefix", "subresource"],
)  # fmt: skip
def test_one_can_only_give_what_one_holds(held: list[Rule], wanted: list[Rule], lacking: list[str]) -> None:
    assert missing(held, wanted) == lacking
