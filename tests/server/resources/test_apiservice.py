"""APIServices."""

from __future__ import annotations

from typing import Any

import pytest

from edgek.server.resources.apiservice import APIService


def said(name: str = "v1.example.com", **spec: Any) -> list[str]:
    whole = {"group": "example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10, **spec}
    return [str(problem) for problem in APIService().problems({"metadata": {"name": name}, "spec": whole})]


def test_the_core_group_has_a_name_that_ends_with_a_dot() -> None:
    assert said("v1.", group="") == []


def test_the_port_of_a_service_is_443_unless_it_is_said() -> None:
    obj: dict[str, Any] = {"spec": {"service": {"name": "s"}}}
    APIService().default(obj)
    assert obj["spec"]["service"]["port"] == 443


@pytest.mark.parametrize(
    ("name", "spec", "problem"),
    [
        ("nope", {}, 'metadata.name: Invalid value: "nope": must be `spec.version+"."+spec.group`: "v1.example.com"'),
        ("v1.example.com", {"groupPriorityMinimum": 0}, "spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000"),
        ("v1.example.com", {"insecureSkipTLSVerify": True}, "spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify"),
        ("v1.example.com", {"service": {}, "insecureSkipTLSVerify": True, "caBundle": "eA=="}, "spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_upstreams_words(name: str, spec: dict[str, Any], problem: str) -> None:
    assert said(name, **spec) == [problem]
