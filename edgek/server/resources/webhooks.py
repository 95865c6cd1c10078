"""Admission by others: webhook configurations, and the policies that decide without a server. Their CEL expressions are compiled elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from edgek.model import kinds
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server.resources.base import Resource
from edgek.server.resources.pod_defaults import fill_blanks, fill_members
from edgek.server.resources.validation import names
from edgek.server.resources.validation.fields import Errors, FieldError, Path, items
from edgek.server.resources.validation.selectors import check_label_selector

REVIEW_VERSIONS = ("v1", "v1beta1")
FAILURE_POLICIES = ("Fail", "Ignore")
MATCH_POLICIES = ("Equivalent", "Exact")
SIDE_EFFECTS = ("None", "NoneOnDryRun")
OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
SCOPES = ("*", "Cluster", "Namespaced")
REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge")
PATCH_TYPES = ("ApplyConfiguration", "JSONPatch")
ACTIONS = ("Audit", "Deny", "Warn")
LONGEST_S = 30
_SAID_TWICE = (
    "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)"
)
_URL_FORM = "desired format: https://host[/path]"

Spec = Mapping[str, Any]


class WebhookConfiguration(Resource):
    """Mutating or validating: the mutating ones may want to be asked again."""

    updates_unconditionally = False
    generation_of = ("webhooks",)

    def __init__(self, kind: Kind, *, mutating: bool) -> None:
        super().__init__(kind)
        self._mutating = mutating

    def default(self, obj: Object) -> None:
        for webhook in obj.get("webhooks") or ():
            fill_blanks(webhook, {"failurePolicy": "Fail", "matchPolicy": "Equivalent"})
            fill_members(webhook, {"timeoutSeconds": 10, "namespaceSelector": {}, "objectSelector": {}})
            if self._mutating:
                fill_blanks(webhook, {"reinvocationPolicy": "Never"})
            for rule in webhook.get("rules") or ():
                fill_blanks(rule, {"scope": "*"})
            service = (webhook.get("clientConfig") or {}).get("service")
            if service is not None:
                fill_members(service, {"port": 443})

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors = Errors()
        seen: set[str] = set()
        for place, webhook in items(obj, "webhooks", Path()):
            _check_webhook(errors, place, webhook)
            name = webhook.get("name") or ""
            if name and name in seen:
                errors.duplicate(place / "name", name)
            seen.add(name)
        return errors.found


def _check_webhook(errors: Errors, at: Path, webhook: Spec) -> None:
    errors.invalid_each(at / "name", webhook.get("name") or "", names.fully_qualified(webhook.get("name") or ""))
    for place, rule in items(webhook, "rules", at):
        _check_rule(errors, place, rule)
    errors.choice(at / "failurePolicy", webhook.get("failurePolicy") or "", FAILURE_POLICIES)
    errors.choice(at / "matchPolicy", webhook.get("matchPolicy") or "", MATCH_POLICIES)
    if webhook.get("sideEffects") is None:
        errors.required(at / "sideEffects", f"must specify one of {', '.join(SIDE_EFFECTS)}")
    else:
        errors.choice(at / "sideEffects", webhook["sideEffects"], SIDE_EFFECTS)
    seconds = webhook.get("timeoutSeconds")
    if seconds is not None and not 1 <= seconds <= LONGEST_S:
        errors.invalid(at / "timeoutSeconds", seconds, f"the timeout value must be between 1 and {LONGEST_S} seconds")
    for selector in ("namespaceSelector", "objectSelector"):
        check_label_selector(errors, at / selector, webhook.get(selector))
    _check_client(errors, at / "clientConfig", webhook.get("clientConfig") or {})
    versions = webhook.get("admissionReviewVersions") or []
    if not versions:
        errors.required(at / "admissionReviewVersions", f"must specify one of {', '.join(REVIEW_VERSIONS)}")
    elif not set(versions) & set(REVIEW_VERSIONS):
        errors.invalid(at / "admissionReviewVersions", versions, f"must include at least one of {', '.join(REVIEW_VERSIONS)}")
    for place, condition in items(webhook, "matchConditions", at):
        _check_condition(errors, place, condition)


def _check_rule(errors: Errors, at: Path, rule: Spec) -> None:
    for member in ("operations", "apiGroups", "apiVersions", "resources"):
        values = rule.get(member) or []
        if not values:
            errors.required(at / member)
        if member != "resources" and len(values) > 1 and "*" in values:
            errors.invalid(at / member, values, f"if '*' is present, must not specify other {_PLURALS[member]}")
    for place, operation in items(rule, "operations", at):
        errors.choice(place, operation, OPERATIONS)
    resources = rule.get("resources") or []
    if "*" in resources and any("/" not in each for each in resources if each != "*"):
        errors.invalid(at / "resources", resources, "if '*' is present, must not specify other resources without subresources")
    if rule.get("scope") is not None:
        errors.choice(at / "scope", rule["scope"], SCOPES)


_PLURALS = {"operations": "operations", "apiGroups": "API groups", "apiVersions": "API versions"}


def _check_client(errors: Errors, at: Path, client: Spec) -> None:
    url, service = client.get("url"), client.get("service")
    if (url is None) == (service is None):
        errors.required(at, "exactly one of url or service is required")
    elif url is not None:
        _check_url(errors, at / "url", url)
    else:
        for member in ("name", "namespace"):
            if not (service or {}).get(member):
                errors.required(at / "service" / member)
        port = (service or {}).get("port")
        if port is not None and names.port_number(port):
            errors.invalid(at / "service" / "port", port, f"port is not valid: {names.PORT_RANGE}")


def _check_url(errors: Errors, at: Path, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https":
        errors.invalid(at, parts.scheme, f"'https' is the only allowed URL scheme; {_URL_FORM}")
    if not parts.netloc:
        errors.invalid(at, parts.netloc, f"host must be specified; {_URL_FORM}")
    if "@" in parts.netloc:
        errors.invalid(at, parts.netloc.rpartition("@")[0], "user information is not permitted in the URL")
    if parts.fragment:
        errors.invalid(at, parts.fragment, "fragments are not permitted in the URL")
    if parts.query:
        errors.invalid(at, parts.query, "query parameters are not permitted in the URL")


def _check_condition(errors: Errors, at: Path, condition: Spec) -> None:
    if not (condition.get("expression") or "").strip():
        errors.required(at / "expression")
    if condition.get("name"):
        errors.invalid_each(at / "name", condition["name"], names.qualified_name(condition["name"]))
    else:
        errors.required(at / "name")


class AdmissionPolicy(Resource):
    """A ValidatingAdmissionPolicy or MutatingAdmissionPolicy."""

    generation_of = ("spec",)

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        fill_blanks(spec, {"failurePolicy": "Fail"})
        default_match(spec.get("matchConstraints"))

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors, spec, at = Errors(), obj.get("spec") or {}, Path("spec")
        errors.choice(at / "failurePolicy", spec.get("failurePolicy") or "", FAILURE_POLICIES)
        match = spec.get("matchConstraints")
        if match is None:
            errors.required(at / "matchConstraints")
        for place, rule in items(match, "resourceRules", at / "matchConstraints"):
            _check_rule(errors, place, rule)
        for place, condition in items(spec, "matchConditions", at):
            _check_condition(errors, place, condition)
        for place, rule in items(spec, "validations", at):
            # "Unauthorized" is allowed, too, and upstream does not list it.
            if rule.get("reason") not in (None, "Unauthorized"):
                errors.choice(place / "reason", rule["reason"], REASONS)
        for place, mutation in items(spec, "mutations", at):
            errors.choice(place / "patchType", mutation.get("patchType") or "", PATCH_TYPES)
        return errors.found


class AdmissionPolicyBinding(Resource):
    generation_of = ("spec",)

    def default(self, obj: Object) -> None:
        default_match((obj.get("spec") or {}).get("matchResources"))

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors, spec, at = Errors(), obj.get("spec") or {}, Path("spec")
        if not spec.get("policyName"):
            errors.required(at / "policyName")
        if self.kind is kinds.VALIDATING_ADMISSION_POLICY_BINDING:
            _check_actions(errors, at, spec)
        return errors.found


def _check_actions(errors: Errors, at: Path, spec: Spec) -> None:
    actions = spec.get("validationActions") or []
    if not actions:
        errors.required(at / "validationActions", "at least one validation action is required")
    seen: set[str] = set()
    for place, action in items(spec, "validationActions", at):
        errors.choice(place, action, ACTIONS)
        if action in seen:
            errors.duplicate(place, action)
        seen.add(action)
    if {"Deny", "Warn"} <= seen:
        errors.invalid(at / "validationActions", actions, _SAID_TWICE)


def default_match(match: Object | None) -> None:
    if match is None:
        return
    fill_blanks(match, {"matchPolicy": "Equivalent"})
    fill_members(match, {"namespaceSelector": {}, "objectSelector": {}})
    for kind in ("resourceRules", "excludeResourceRules"):
        for rule in match.get(kind) or ():
            fill_blanks(rule, {"scope": "*"})
