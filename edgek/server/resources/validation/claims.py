"""What a claim asks of a volume: claims themselves, their templates, and the volumes that must offer it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgek.server.resources.validation import names
from edgek.server.resources.validation.fields import Errors, Path
from edgek.server.resources.validation.selectors import check_label_selector
from edgek.server.resources.validation.values import quantity

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")


def check_claim_spec(errors: Errors, at: Path, spec: Mapping[str, Any]) -> None:
    modes = spec.get("accessModes") or ()
    if not modes:
        errors.required(at / "accessModes", "at least 1 access mode is required")
    check_label_selector(errors, at / "selector", spec.get("selector"))
    check_access_modes(errors, at / "accessModes", modes)
    storage = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if storage is None:
        errors.required((at / "resources")["storage"])
    elif quantity(storage).nanos <= 0:
        errors.invalid((at / "resources")["storage"], storage, "must be greater than zero")
    if spec.get("storageClassName"):
        errors.invalid_each(at / "storageClassName", spec["storageClassName"], names.dns_subdomain(spec["storageClassName"]))
    if spec.get("volumeMode") is not None:
        errors.choice(at / "volumeMode", spec["volumeMode"], VOLUME_MODES)
    _check_data_sources(errors, at, spec)
    if spec.get("volumeAttributesClassName"):
        name = spec["volumeAttributesClassName"]
        errors.invalid_each(at / "volumeAttributesClassName", name, names.dns_subdomain(name))


def check_access_modes(errors: Errors, at: Path, modes: Sequence[str]) -> None:
    for mode in modes:
        errors.choice(at, mode, ACCESS_MODES)
    if "ReadWriteOncePod" in modes and len(set(modes)) > 1:
        errors.forbidden(at, "may not use ReadWriteOncePod with other access modes")


def _check_data_sources(errors: Errors, at: Path, spec: Mapping[str, Any]) -> None:
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source is not None:
        _check_data_source(errors, at / "dataSource", source)
    if reference is not None:
        _check_data_source(errors, at / "dataSourceRef", reference)
    if source is None or reference is None or reference.get("namespace"):
        return
    if any((source.get(name) or "") != (reference.get(name) or "") for name in ("apiGroup", "kind", "name")):
        # Upstream means to show the spec, and shows nothing.
        errors.invalid(at, {}, "must match dataSourceRef")


def _check_data_source(errors: Errors, at: Path, source: Mapping[str, Any]) -> None:
    for name in ("name", "kind"):
        if not source.get(name):
            errors.required(at / name)
    group = source.get("apiGroup") or ""
    if not group and source.get("kind") != "PersistentVolumeClaim":
        errors.invalid(at, source.get("kind") or "", "must be 'PersistentVolumeClaim' when referencing the default apiGroup")
    if group:
        errors.invalid_each(at / "apiGroup", group, names.dns_subdomain(group))
