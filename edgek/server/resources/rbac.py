"""Roles and their bindings (https://kubernetes.io/docs/reference/access-authn-authz/rbac/)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.server.resources.base import Resource
from edgek.server.resources.validation import names
from edgek.server.resources.validation.fields import Errors, FieldError, Path, items
from edgek.server.resources.validation.goview import dumped
from edgek.server.resources.validation.selectors import check_label_selector

GROUP = "rbac.authorization.k8s.io"
_SUBJECTS = ("ServiceAccount", "User", "Group")


class _Rbac(Resource):
    """Any name that can stand in a URL will do: ``system:node`` is one."""

    creates_on_update = True

    def name_problems(self, name: str) -> Sequence[str]:
        return names.path_segment(name)


class Role(_Rbac):
    """Role and ClusterRole."""

    def default(self, obj: Object) -> None:
        if not obj.get("rules"):
            obj["rules"] = None

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors = Errors()
        for place, rule in items(obj, "rules", Path()):
            _check_rule(errors, place, rule, namespaced=self.kind.namespaced)
        if (aggregation := obj.get("aggregationRule")) is not None:
            at = Path("aggregationRule") / "clusterRoleSelectors"
            if not aggregation.get("clusterRoleSelectors"):
                errors.required(at, "at least one clusterRoleSelector required if aggregationRule is non-nil")
            for place, selector in items(aggregation, "clusterRoleSelectors", Path("aggregationRule")):
                check_label_selector(errors, place, selector)
        return errors.found


def _check_rule(errors: Errors, at: Path, rule: Mapping[str, Any], *, namespaced: bool) -> None:
    if not rule.get("verbs"):
        errors.required(at / "verbs", "verbs must contain at least one value")
    urls = rule.get("nonResourceURLs")
    if urls:
        if namespaced:
            errors.invalid(at / "nonResourceURLs", urls, "namespaced rules cannot apply to non-resource URLs")
        if any(rule.get(name) for name in ("apiGroups", "resources", "resourceNames")):
            errors.invalid(at / "nonResourceURLs", urls, "rules cannot apply to both regular resources and non-resource URLs")
        return
    if not rule.get("apiGroups"):
        errors.required(at / "apiGroups", "resource rules must supply at least one api group")
    if not rule.get("resources"):
        errors.required(at / "resources", "resource rules must supply at least one resource")


class RoleBinding(_Rbac):
    """RoleBinding and ClusterRoleBinding; the latter binds only cluster roles."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self._roles = ("Role", "ClusterRole") if kind.namespaced else ("ClusterRole",)

    def default(self, obj: Object) -> None:
        role = obj.setdefault("roleRef", {})
        if not role.get("apiGroup"):
            role["apiGroup"] = GROUP
        for subject in obj.get("subjects") or ():
            if not subject.get("apiGroup") and subject.get("kind") in ("User", "Group"):
                subject["apiGroup"] = GROUP

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors = Errors()
        role, at = obj.get("roleRef") or {}, Path("roleRef")
        if role.get("apiGroup") != GROUP:
            errors.unsupported(at / "apiGroup", role.get("apiGroup") or "", (GROUP,))
        errors.choice(at / "kind", role.get("kind") or "", self._roles)
        if not role.get("name"):
            errors.required(at / "name")
        else:
            errors.invalid_each(at / "name", role["name"], names.path_segment(role["name"]))
        for place, subject in items(obj, "subjects", Path()):
            _check_subject(errors, place, subject, namespaced=self.kind.namespaced)
        return errors.found

    def validate_update(self, obj: Object, old: Object, subresource: str) -> Sequence[FieldError]:
        errors = Errors(list(self.validate(obj)))
        if obj.get("roleRef") != old.get("roleRef"):
            errors.invalid(Path("roleRef"), dumped("RoleRef", obj.get("roleRef")), "cannot change roleRef")
        return errors.found


def _check_subject(errors: Errors, at: Path, subject: Mapping[str, Any], *, namespaced: bool) -> None:
    kind, name, group = (subject.get(member) or "" for member in ("kind", "name", "apiGroup"))
    if not name:
        errors.required(at / "name")
    if kind == "ServiceAccount":
        if name:
            errors.invalid_each(at / "name", name, names.dns_subdomain(name))
        if group:
            errors.unsupported(at / "apiGroup", group, ("",))
        if not namespaced and not subject.get("namespace"):
            errors.required(at / "namespace")
    elif kind in ("User", "Group"):
        if group != GROUP:
            errors.unsupported(at / "apiGroup", group, (GROUP,))
    else:
        errors.unsupported(at / "kind", kind, _SUBJECTS)
