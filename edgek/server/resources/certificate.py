"""CertificateSigningRequest: what was asked stays as it was asked; who approves and who signs each write their own part of the status.

https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

from edgek.host import wallclock
from edgek.model import kinds
from edgek.model.objects import Object
from edgek.server.resources.base import Resource, keep_member
from edgek.server.resources.validation.fields import Errors, FieldError, Path, items

LEAST_S = 600
VERDICTS = ("Approved", "Denied")
LASTING = (*VERDICTS, "Failed")  # conditions that nobody may take back
USAGES = (
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
)


class CertificateSigningRequest(Resource):
    def __init__(self) -> None:
        super().__init__(kinds.CERTIFICATE_SIGNING_REQUEST)

    def prepare_update(self, obj: Object, old: Object, subresource: str) -> None:
        keep_member(obj, old, "spec")
        if not subresource:
            keep_member(obj, old, "status")
            return
        asked, before = obj.get("status") or {}, old.get("status") or {}
        status = obj["status"] = dict(before if subresource == "approval" else asked)
        status["conditions"] = _stamped(_conditions(asked, before, approving=subresource == "approval"), before)
        if not status["conditions"]:
            del status["conditions"]

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors, spec, at = Errors(), obj.get("spec") or {}, Path("spec")
        if "CERTIFICATE REQUEST" not in _pem(spec.get("request")):
            errors.invalid(at / "request", spec.get("request") or "", "PEM block type must be CERTIFICATE REQUEST")
        if not spec.get("usages"):
            errors.required(at / "usages", "usages is required")
        for place, usage in items(spec, "usages", at):
            if usage not in USAGES:
                errors.unsupported(place, usage, USAGES)
        if not spec.get("signerName"):
            errors.required(at / "signerName")
        lifetime_s = spec.get("expirationSeconds")
        if lifetime_s is not None and lifetime_s < LEAST_S:
            errors.invalid(at / "expirationSeconds", lifetime_s, f"may not specify a duration less than {LEAST_S} seconds (10 minutes)")
        return errors.found

    def validate_update(self, obj: Object, old: Object, subresource: str) -> Sequence[FieldError]:
        errors, at = Errors(), Path("status")
        status, before = obj.get("status") or {}, old.get("status") or {}
        kept = _types(status)
        for type_ in LASTING:
            if type_ in _types(before) and type_ not in kept:
                errors.forbidden(at / "conditions", f'updates may not remove a condition of type "{type_}"')
        if set(VERDICTS) <= kept and not set(VERDICTS) <= _types(before) and not errors.found:
            errors.invalid(at / "conditions", "Denied", "Approved and Denied conditions are mutually exclusive")
        certificate = status.get("certificate")
        if certificate and certificate != before.get("certificate") and "-----BEGIN CERTIFICATE-----" not in _pem(certificate):
            errors.invalid(at / "certificate", "<certificate data>", "must contain at least one CERTIFICATE PEM block")
        return errors.found

    def fields(self, obj: Object) -> Mapping[str, str]:
        return {"spec.signerName": (obj.get("spec") or {}).get("signerName") or ""}


def _conditions(asked: Object, before: Object, *, approving: bool) -> list[Object]:
    """An approver writes them all, a signer those that are no verdict."""
    new, old = list(asked.get("conditions") or ()), before.get("conditions") or ()
    if approving:
        return new
    return [*(each for each in old if each.get("type") in VERDICTS), *(each for each in new if each.get("type") not in VERDICTS)]


def _stamped(conditions: list[Object], before: Object) -> list[Object]:
    now = wallclock.now_rfc3339()
    former: dict[Any, Object] = {each.get("type"): each for each in before.get("conditions") or ()}
    found = []
    for condition in conditions:
        was = former.get(condition.get("type"), {})
        since = was.get("lastTransitionTime") if was.get("status") == condition.get("status") else None
        times = {
            "lastUpdateTime": condition.get("lastUpdateTime") or now,
            "lastTransitionTime": condition.get("lastTransitionTime") or since or now,
        }
        found.append({**condition, **times})
    return found


def _types(status: Object) -> set[str]:
    return {each.get("type", "") for each in status.get("conditions") or ()}


def _pem(encoded: str | None) -> str:
    try:
        return base64.b64decode(encoded or "").decode(errors="replace")
    except binascii.Error:
        return ""
