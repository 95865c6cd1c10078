"""Certificate requests: who asks is what the server saw and not what the request says; who approves and signs must be allowed to for that signer."""

from __future__ import annotations

import base64

from edgek.model import kinds
from edgek.model.objects import Object
from edgek.server.api.admission.base import Review, Step, refused
from edgek.server.api.identity import MASTERS_GROUP, Attributes
from edgek.server.api.quoting import quoted

CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"
# What a subresource is for, as the verb on ``signers`` that it needs.
SIGNER_VERBS = {"approval": "approve", "status": "sign"}


class CertificateRequests(Step):
    name = "CertificateRequests"
    about = (kinds.CERTIFICATE_SIGNING_REQUEST,)
    operations = ("CREATE", "UPDATE")
    subresources = ("", *SIGNER_VERBS)

    def admit(self, review: Review) -> None:
        if review.operation != "CREATE" or review.obj is None:
            return
        spec = review.obj.setdefault("spec", {})
        for member in ("username", "uid", "groups", "extra"):
            spec.pop(member, None)
        spec |= _asker(review)

    def validate(self, review: Review) -> None:
        verb = SIGNER_VERBS.get(review.subresource)
        if verb is None or (verb == "sign" and not _is_signed_now(review)):
            return
        signer = str(((review.old or {}).get("spec") or {}).get("signerName") or "")
        if not any(self._may(review, verb, name) for name in (signer, f"{signer.partition('/')[0]}/*")):
            raise refused(review, f"user not permitted to {verb} requests with signerName {quoted(signer)}")

    def _may(self, review: Review, verb: str, signer: str) -> bool:
        asked = Attributes(review.user, verb, group=review.kind.group, version="*", resource="signers", name=signer)
        return self.authorizer.authorize(asked).allowed


class CertificateSubjectRestriction(Step):
    """Nobody becomes an administrator by certificate: such a certificate could not be taken back."""

    name = "CertificateSubjectRestriction"
    about = (kinds.CERTIFICATE_SIGNING_REQUEST,)

    def validate(self, review: Review) -> None:
        spec = (review.obj or {}).get("spec") or {}
        if spec.get("signerName") != CLIENT_SIGNER:
            return
        from edgek.host import pki

        try:
            organizations = pki.requested_organizations(base64.b64decode(spec.get("request") or ""))
        except ValueError:
            return  # validation has said so
        if MASTERS_GROUP in organizations:
            raise refused(review, f"use of {CLIENT_SIGNER} signer with {MASTERS_GROUP} group is not allowed")


def _asker(review: Review) -> Object:
    user = review.user
    found: Object = {"username": user.name, "uid": user.uid, "groups": list(user.groups)}
    if user.extra:
        found["extra"] = {key: list(texts) for key, texts in user.extra.items()}
    return {member: value for member, value in found.items() if value}


def _is_signed_now(review: Review) -> bool:
    certificates = [((each or {}).get("status") or {}).get("certificate") for each in (review.obj, review.old)]
    return certificates[0] != certificates[1]
