"""Certificate requests and who may write what of them."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from edgek.server.resources.certificate import CertificateSigningRequest

REQUEST = base64.b64encode(b"-----BEGIN CERTIFICATE REQUEST-----\n").decode()
CERTIFICATE = base64.b64encode(b"-----BEGIN CERTIFICATE-----\n").decode()
SPEC = {"request": REQUEST, "signerName": "example.com/s", "usages": ["client auth"]}


def csr(*conditions: str, spec: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    made = [{"type": type_, "status": "True"} for type_ in conditions]
    return {"metadata": {"name": "c"}, "spec": {**SPEC, **(spec or {})}, "status": {**({"conditions": made} if made else {}), **status}}


def updated(obj: dict[str, Any], old: dict[str, Any], subresource: str) -> tuple[list[str], dict[str, Any], list[str]]:
    """The conditions' types, the status and the problems after an update."""
    resource = CertificateSigningRequest()
    resource.prepare_update(obj, old, subresource)
    status = obj.get("status") or {}
    problems = [str(problem) for problem in resource.validate_update(obj, old, subresource)]
    return [each["type"] for each in status.get("conditions") or ()], status, problems


def test_what_was_asked_cannot_be_changed_later() -> None:
    obj = csr(spec={"signerName": "example.com/other"})
    CertificateSigningRequest().prepare_update(obj, csr(), "")
    assert obj["spec"] == SPEC


def test_an_approver_writes_conditions_and_nothing_else() -> None:
    types, status, problems = updated(csr("Approved", "Seen", certificate="x"), csr("Failed"), "approval")
    assert types == ["Approved", "Seen"]
    assert problems == ['status.conditions: Forbidden: updates may not remove a condition of type "Failed"']
    assert "certificate" not in status
    assert {"lastUpdateTime", "lastTransitionTime"} <= status["conditions"][0].keys()


def test_a_signer_writes_everything_but_the_verdict() -> None:
    types, status, problems = updated(csr("Denied", certificate=CERTIFICATE), csr("Approved"), "status")
    assert (types, problems) == (["Approved"], [])
    assert status["certificate"] == CERTIFICATE


@pytest.mark.parametrize(
    ("obj", "old", "subresource", "problem"),
    [
        (csr("Denied"), csr("Approved"), "approval", 'status.conditions: Forbidden: updates may not remove a condition of type "Approved"'),
        (csr("Approved", "Denied"), csr("Approved"), "approval", 'status.conditions: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive'),
        (csr(certificate="AAAA"), csr(), "status", 'status.certificate: Invalid value: "<certificate data>": must contain at least one CERTIFICATE PEM block'),
    ],
)  # fmt: skip
def test_a_verdict_stands_and_a_certificate_is_one(obj: dict[str, Any], old: dict[str, Any], subresource: str, problem: str) -> None:
    assert updated(obj, old, subresource)[2] == [problem]


@pytest.mark.parametrize(
    ("spec", "field"),
    [({"signerName": ""}, "spec.signerName"), ({"usages": ["nope"]}, "spec.usages[0]"), ({"expirationSeconds": 10}, "spec.expirationSeconds"), ({"request": "AAAA"}, "spec.request")],
)  # fmt: skip
def test_a_request_must_be_whole(spec: dict[str, Any], field: str) -> None:
    assert [problem.field for problem in CertificateSigningRequest().validate(csr(spec=spec))] == [field]


def test_requests_are_found_by_their_signer() -> None:
    assert CertificateSigningRequest().fields(csr()) == {"spec.signerName": "example.com/s"}
    assert CertificateSigningRequest().fields({}) == {"spec.signerName": ""}
