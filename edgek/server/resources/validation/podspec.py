"""The pod spec, of pods and of templates alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgek.model import when_away
from edgek.server.resources.metadata import check_annotations, check_labels
from edgek.server.resources.validation import names
from edgek.server.resources.validation.affinity import check_affinity, check_spreading, check_tolerations
from edgek.server.resources.validation.compute import check_amounts, check_requirements
from edgek.server.resources.validation.containers import Around, check_containers, check_ephemeral_containers, check_init_containers
from edgek.server.resources.validation.fields import Errors, Path, items
from edgek.server.resources.validation.goview import dumped
from edgek.server.resources.validation.security import check_host_users, check_os, check_pod_context
from edgek.server.resources.validation.selectors import check_label_map
from edgek.server.resources.validation.values import MAX_INT32, check_in_range
from edgek.server.resources.validation.volumes import check_volumes

MIRROR = "kubernetes.io/config.mirror"
DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
MOST_NAMESERVERS = 3
MOST_SEARCHES = 32
MOST_SEARCH_BYTES = 2048


def check_pod_template(errors: Errors, at: Path, template: Mapping[str, Any]) -> None:
    meta, spec = template.get("metadata") or {}, template.get("spec") or {}
    check_labels(errors, at / "labels", meta.get("labels"))
    check_annotations(errors, at / "annotations", meta.get("annotations"))
    _check_when_away(errors, at / "annotations", meta.get("annotations") or {})
    check_pod_spec(errors, at / "spec", spec)
    if spec.get("ephemeralContainers"):
        errors.forbidden(at / "spec" / "ephemeralContainers", "ephemeral containers not allowed in pod template")


def check_pod_annotations(errors: Errors, at: Path, annotations: Mapping[str, str], spec: Mapping[str, Any]) -> None:
    if MIRROR in annotations and not spec.get("nodeName"):
        errors.invalid(at[MIRROR], annotations[MIRROR], "must set spec.nodeName if mirror pod annotation is set")
    _check_when_away(errors, at, annotations)


def _check_when_away(errors: Errors, at: Path, annotations: Mapping[str, str]) -> None:
    if when_away.ANNOTATION not in annotations:
        return
    try:
        when_away.parse(str(annotations[when_away.ANNOTATION]))
    except ValueError as error:
        errors.invalid(at[when_away.ANNOTATION], annotations[when_away.ANNOTATION], str(error))


def check_pod_spec(errors: Errors, at: Path, spec: Mapping[str, Any]) -> None:
    around = Around.of(spec)
    check_volumes(errors, at, spec)
    _check_resource_claims(errors, at, spec)
    check_containers(errors, at, spec, around)
    check_init_containers(errors, at, spec, around)
    check_ephemeral_containers(errors, at, spec, around)
    if spec.get("resources"):
        check_requirements(errors, at / "resources", spec["resources"], around.claims)
    errors.choice(at / "restartPolicy", spec.get("restartPolicy") or "", ("Always", "OnFailure", "Never"))
    errors.choice(at / "dnsPolicy", spec.get("dnsPolicy") or "", DNS_POLICIES)
    check_label_map(errors, at / "nodeSelector", spec.get("nodeSelector"))
    check_pod_context(errors, at, spec)
    check_affinity(errors, at / "affinity", spec.get("affinity"))
    _check_dns_config(errors, at / "dnsConfig", spec)
    _check_gates(errors, at, spec)
    check_spreading(errors, at, spec)
    check_host_users(errors, at, spec)
    _check_names(errors, at, spec)
    check_in_range(errors, at / "activeDeadlineSeconds", spec.get("activeDeadlineSeconds"), 1, MAX_INT32)
    check_tolerations(errors, at, spec)
    _check_host_aliases(errors, at, spec)
    if spec.get("preemptionPolicy") is not None:
        errors.choice(at / "preemptionPolicy", spec["preemptionPolicy"], ("Never", "PreemptLowerPriority"))
    check_amounts(errors, at / "overhead", spec.get("overhead"))
    check_os(errors, at, spec)


# A member of the spec that names something, and what names of that sort look like.
_NAMES: tuple[tuple[str, names.NameCheck], ...] = (
    ("serviceAccountName", names.dns_subdomain),
    ("nodeName", names.dns_subdomain),
    ("hostname", names.dns_label),
    ("subdomain", names.dns_label),
    ("priorityClassName", names.dns_subdomain),
    ("runtimeClassName", names.dns_subdomain),
)


def _check_names(errors: Errors, at: Path, spec: Mapping[str, Any]) -> None:
    for member, check in _NAMES:
        if spec.get(member):
            errors.invalid_each(at / member, spec[member], check(spec[member]))


def _check_resource_claims(errors: Errors, at: Path, spec: Mapping[str, Any]) -> None:
    seen: set[str] = set()
    for place, claim in items(spec, "resourceClaims", at):
        name = claim.get("name") or ""
        if not name:
            errors.required(place / "name")
        elif name in seen:
            errors.duplicate(place / "name", name)
        else:
            errors.invalid_each(place / "name", name, names.dns_label(name))
        seen.add(name)
        given = [claim[member] for member in ("resourceClaimName", "resourceClaimTemplateName") if claim.get(member)]
        if len(given) > 1:
            detail = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            errors.invalid(place, dumped("PodResourceClaim", claim), detail)
        elif not given:
            detail = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            errors.invalid(place, dumped("PodResourceClaim", claim), detail)


def _check_dns_config(errors: Errors, at: Path, spec: Mapping[str, Any]) -> None:
    config, policy = spec.get("dnsConfig"), spec.get("dnsPolicy")
    if policy == "None":
        if config is None:
            errors.required(at, "must provide `dnsConfig` when `dnsPolicy` is None")
            return
        if not config.get("nameservers"):
            errors.required(at / "nameservers", "must provide at least one DNS nameserver when `dnsPolicy` is None")
            return
    if config is None:
        return
    servers = config.get("nameservers") or ()
    if len(servers) > MOST_NAMESERVERS:
        errors.invalid(at / "nameservers", servers, f"must not have more than {MOST_NAMESERVERS} nameservers")
    for place, server in items(config, "nameservers", at):
        errors.invalid_each(place, server, names.ip(server))
    _check_searches(errors, at, config)
    for place, option in items(config, "options", at):
        if not option.get("name"):
            errors.required(place, "must not be empty")


def _check_searches(errors: Errors, at: Path, config: Mapping[str, Any]) -> None:
    searches = config.get("searches") or ()
    if len(searches) > MOST_SEARCHES:
        errors.invalid(at / "searches", searches, f"must not have more than {MOST_SEARCHES} search paths")
    if len(" ".join(searches)) > MOST_SEARCH_BYTES:
        detail = f"must not have more than {MOST_SEARCH_BYTES} characters (including spaces) in the search list"
        errors.invalid(at / "searches", searches, detail)
    for place, search in items(config, "searches", at):
        if search != ".":
            errors.invalid_each(place, search, names.dns_subdomain_with_underscore(search.removesuffix(".")))


def _check_gates(errors: Errors, at: Path, spec: Mapping[str, Any]) -> None:
    for place, gate in items(spec, "readinessGates", at):
        condition = gate.get("conditionType") or ""
        errors.invalid_each(place / "conditionType", condition, names.qualified_name(condition))
    seen: set[str] = set()
    for place, gate in items(spec, "schedulingGates", at):
        name = gate.get("name") or ""
        errors.invalid_each(place, name, names.qualified_name(name))
        if name in seen:
            errors.duplicate(place, name)
        seen.add(name)


def _check_host_aliases(errors: Errors, at: Path, spec: Mapping[str, Any]) -> None:
    for place, alias in items(spec, "hostAliases", at):
        errors.invalid_each(place / "ip", alias.get("ip") or "", names.ip(alias.get("ip") or ""))
        for name in alias.get("hostnames") or ():
            errors.invalid_each(place / "hostnames", name, names.dns_subdomain(name))
