"""Environment variables, and the fields of a pod or container that they (and downward API volumes) may show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgek.model.quantity import MILLI, NANO
from edgek.server.resources.validation import names
from edgek.server.resources.validation.compute import is_hugepages
from edgek.server.resources.validation.fields import Errors, Path, items, members_set
from edgek.server.resources.validation.values import quantity

_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
ENV_FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
VOLUME_FIELDS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
# What can be converted at all, wherever it is then allowed.
_KNOWN_FIELDS = frozenset({*ENV_FIELDS, *VOLUME_FIELDS, "spec.restartPolicy", "spec.schedulerName", "spec.hostNetwork", "status.phase"}) | {
    "status.nominatedNodeName"
}
RESOURCE_FIELDS = ("limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory")
_BYTES = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")


def check_env(errors: Errors, at: Path, container: Mapping[str, Any]) -> None:
    for place, variable in items(container, "env", at):
        name = variable.get("name") or ""
        if name:
            errors.invalid_each(place / "name", name, names.env_name(name))
        else:
            errors.required(place / "name")
        if variable.get("valueFrom") is not None:
            _check_source(errors, place / "valueFrom", variable["valueFrom"], has_value=bool(variable.get("value")))
    for place, source in items(container, "envFrom", at):
        _check_env_from(errors, at / "envFrom", place, source)


def _check_source(errors: Errors, at: Path, source: Mapping[str, Any], *, has_value: bool) -> None:
    given = members_set(source, _SOURCES)
    if (ref := source.get("fieldRef")) is not None:
        check_field_ref(errors, at / "fieldRef", ref, ENV_FIELDS, subscripts=True)
    if (ref := source.get("resourceFieldRef")) is not None:
        check_resource_ref(errors, at / "resourceFieldRef", ref, in_volume=False)
    for name in ("configMapKeyRef", "secretKeyRef"):
        if (ref := source.get(name)) is not None:
            _check_key_ref(errors, at / name, ref)
    if not given:
        errors.invalid(at, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`")
    elif has_value:
        errors.invalid(at, "", "may not be specified when `value` is not empty")
    elif len(given) > 1:
        errors.invalid(at, "", "may not have more than one field specified at a time")


def _check_key_ref(errors: Errors, at: Path, ref: Mapping[str, Any]) -> None:
    if not ref.get("name"):
        errors.required(at / "name")
    if not ref.get("key"):
        errors.required(at / "key")
    else:
        errors.invalid_each(at / "key", ref["key"], names.config_key(ref["key"]))


def _check_env_from(errors: Errors, whole: Path, at: Path, source: Mapping[str, Any]) -> None:
    """``whole`` is the list, where upstream puts the errors of the union."""
    if prefix := source.get("prefix"):
        errors.invalid_each(at / "prefix", prefix, names.env_name(prefix))
    given = members_set(source, ("configMapRef", "secretRef"))
    for name in given:
        if not source[name].get("name"):
            errors.required(at / name / "name")
    if not given:
        errors.invalid(whole, "", "must specify one of: `configMapRef` or `secretRef`")
    elif len(given) > 1:
        errors.invalid(whole, "", "may not have more than one field specified at a time")


def check_field_ref(errors: Errors, at: Path, ref: Mapping[str, Any], allowed: tuple[str, ...], *, subscripts: bool) -> None:
    path = ref.get("fieldPath") or ""
    if not ref.get("apiVersion"):
        errors.required(at / "apiVersion")
        return
    if not path:
        errors.required(at / "fieldPath")
        return
    subscripted = _subscript(path)
    if subscripted and subscripts:
        _check_subscript(errors, at, *subscripted)
    elif path not in _KNOWN_FIELDS and not subscripted:
        errors.invalid(at / "fieldPath", path, f"error converting fieldPath: field label not supported: {path}")
    else:
        errors.choice(at / "fieldPath", path, allowed)


def _subscript(path: str) -> tuple[str, str] | None:
    """``metadata.labels['a']`` as the path of the map and the key; None for a path without one. Split as upstream does, at the first bracket."""
    head, bracket, key = path.removesuffix("']").partition("['")
    return (head, key) if head and bracket and path.endswith("']") else None


def _check_subscript(errors: Errors, at: Path, path: str, key: str) -> None:
    if path == "metadata.annotations":
        errors.invalid_each(at, key, names.qualified_name(key.lower()))
    elif path == "metadata.labels":
        errors.invalid_each(at, key, names.qualified_name(key))
    else:
        errors.invalid(at, path, "does not support subscript")


def check_resource_ref(errors: Errors, at: Path, ref: Mapping[str, Any], *, in_volume: bool) -> None:
    if in_volume and not ref.get("containerName"):
        errors.required(at / "containerName")
        return
    name = ref.get("resource") or ""
    if not name:
        errors.required(at / "resource")
        return
    if name not in RESOURCE_FIELDS and not is_hugepages(name.partition(".")[2]):
        errors.unsupported(at / "resource", name, RESOURCE_FIELDS)
    _check_divisor(errors, at / "divisor", name, ref.get("divisor"))


def _check_divisor(errors: Errors, at: Path, name: str, divisor: str | None) -> None:
    value = quantity(divisor)
    if not value.nanos:
        return
    if name.endswith(".cpu"):
        if value.nanos not in (MILLI, NANO):
            errors.invalid(at, name, "only divisor's values 1m and 1 are supported with the cpu resource")
    elif value not in map(quantity, _BYTES):
        listed = ", ".join(_BYTES)
        errors.invalid(at, name, f"only divisor's values {listed} are supported with the {name.partition('.')[2]} resource")
