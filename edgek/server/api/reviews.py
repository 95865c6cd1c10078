"""Kinds that are questions: who am I, who is this token, may I do that. They are answered at once and never stored.

``VIRTUAL`` finds the handler of such a kind by ``Kind.resource``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import orjson

from edgek.host import wallclock
from edgek.model import kinds, objects
from edgek.model.errors import BadRequest, Cause, Unauthorized
from edgek.model.objects import Object
from edgek.server.api import responses
from edgek.server.api.authn import Authenticator
from edgek.server.api.authz import Authorizer
from edgek.server.api.identity import Attributes, User
from edgek.server.api.node_access import node_name

GROUP = "authorization.k8s.io"


@attrs.frozen
class Question:
    """``obj`` is the review as it was sent; its answer may be made from it in place. ``namespace`` is the URL's."""

    user: User
    namespace: str
    obj: Object
    authenticator: Authenticator
    authorizer: Authorizer


def token_review(question: Question) -> Object:
    spec = question.obj.get("spec") or {}
    if not spec.get("token"):
        raise BadRequest("token is required for TokenReview in authentication")
    try:
        found = question.authenticator.authenticate_token(spec["token"], spec.get("audiences") or ())
    except Unauthorized as error:
        return _answered(question.obj, {"user": {}, "error": error.message})
    return _answered(question.obj, {"authenticated": True, "user": user_info(found.user), "audiences": list(found.audiences)})


def self_subject_review(question: Question) -> Object:
    answer = _answered(question.obj, {"userInfo": user_info(question.user)})
    objects.metadata(answer)["creationTimestamp"] = wallclock.now_rfc3339()
    return answer


def subject_access_review(question: Question) -> Object:
    return _access_review(question, _subject(question.obj))


def local_subject_access_review(question: Question) -> Object:
    meta = objects.metadata(question.obj)
    meta.setdefault("namespace", question.namespace)
    attributes = (question.obj.get("spec") or {}).get("resourceAttributes")
    if attributes is not None and attributes.get("namespace", "") != meta["namespace"]:
        cause = Cause("FieldValueInvalid", f'Invalid value: "{attributes.get("namespace", "")}": must match metadata.namespace', _NAMESPACE_FIELD)
        raise responses.invalid(GROUP, "", "", [cause])
    return _access_review(question, _subject(question.obj))


def self_subject_access_review(question: Question) -> Object:
    return _access_review(question, question.user)


def self_subject_rules_review(question: Question) -> Object:
    namespace = (question.obj.get("spec") or {}).get("namespace", "")
    if not namespace:
        raise BadRequest("no namespace on request")
    rules, problems = question.authorizer.rules_of(question.user, namespace)
    if node_name(question.user):
        problems.insert(0, "node authorizer does not support user rule resolution")
    shown = [rule.as_object() for rule in rules]
    status: dict[str, Any] = {
        "resourceRules": [{k: v for k, v in rule.items() if k != "nonResourceURLs"} for rule in shown if "apiGroups" in rule],
        "nonResourceRules": [{k: rule[k] for k in ("verbs", "nonResourceURLs")} for rule in shown if "nonResourceURLs" in rule],
        "incomplete": bool(problems),
    }
    if problems:
        status["evaluationError"] = ", ".join(problems)
    question.obj["spec"] = {}  # upstream does not repeat the question
    return _answered(question.obj, status)


def user_info(user: User) -> Object:
    """A user as reviews and admission webhooks show it."""
    found: Object = {"username": user.name, "uid": user.uid, "groups": list(user.groups)}
    if user.extra:
        found["extra"] = {key: list(texts) for key, texts in user.extra.items()}
    return {member: value for member, value in found.items() if value}


def _access_review(question: Question, user: User) -> Object:
    spec = question.obj.setdefault("spec", {})
    _check(spec, self_review=user is question.user)
    decision = question.authorizer.authorize(_attributes(user, spec))
    status: dict[str, Any] = {"allowed": decision.allowed}
    if decision.reason:
        status["reason"] = decision.reason
    return _answered(question.obj, status)


def _check(spec: Object, *, self_review: bool) -> None:
    causes: list[Cause] = []
    resource, url = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and url is not None:
        shown = orjson.dumps(url).decode()
        said = f"Invalid value: {shown}: cannot be specified in combination with resourceAttributes"
        causes.append(Cause("FieldValueInvalid", said, "spec.nonResourceAttributes"))
    if resource is None and url is None:
        said = "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified"
        causes.append(Cause("FieldValueInvalid", said, "spec.resourceAttributes"))
    if not self_review and not spec.get("user") and not spec.get("groups"):
        said = 'Invalid value: "": at least one of user or group must be specified'
        causes.append(Cause("FieldValueInvalid", said, "spec.user"))
    if causes:
        raise responses.invalid(GROUP, "", "", causes)


def _subject(obj: Object) -> User:
    spec = obj.get("spec") or {}
    extra = {key: tuple(texts or ()) for key, texts in (spec.get("extra") or {}).items()}
    return User(spec.get("user", ""), spec.get("uid", ""), tuple(spec.get("groups") or ()), extra)


def _attributes(user: User, spec: Object) -> Attributes:
    url = spec.get("nonResourceAttributes")
    if url is not None:
        return Attributes(user, url.get("verb", ""), url.get("path", ""))
    asked = spec.get("resourceAttributes") or {}
    return Attributes(
        user,
        asked.get("verb", ""),
        group=asked.get("group", ""),
        version=asked.get("version", ""),
        resource=asked.get("resource", ""),
        subresource=asked.get("subresource", ""),
        namespace=asked.get("namespace", ""),
        name=asked.get("name", ""),
        field_selector=_field_selector(asked),
    )


def _field_selector(asked: Object) -> str:
    """As a request would carry it; only equality matters to us (which node's pods)."""
    selector = asked.get("fieldSelector") or {}
    parts = [
        f"{each.get('key', '')}={each['values'][0]}"
        for each in selector.get("requirements") or ()
        if each.get("operator") == "In" and len(each.get("values") or ()) == 1
    ]
    return str(selector.get("rawSelector") or ",".join(parts))


def _answered(obj: Object, status: Object) -> Object:
    objects.metadata(obj).pop("managedFields", None)
    obj["status"] = status
    return obj


_NAMESPACE_FIELD = "spec.resourceAttributes.namespace"

VIRTUAL: Mapping[str, Callable[[Question], Object]] = {
    kinds.TOKEN_REVIEW.resource: token_review,
    kinds.SELF_SUBJECT_REVIEW.resource: self_subject_review,
    kinds.SUBJECT_ACCESS_REVIEW.resource: subject_access_review,
    kinds.LOCAL_SUBJECT_ACCESS_REVIEW.resource: local_subject_access_review,
    kinds.SELF_SUBJECT_ACCESS_REVIEW.resource: self_subject_access_review,
    kinds.SELF_SUBJECT_RULES_REVIEW.resource: self_subject_rules_review,
}
