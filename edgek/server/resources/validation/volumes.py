"""Volumes of a pod: one source each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edgek.server.resources.validation import names
from edgek.server.resources.validation.claims import check_claim_spec
from edgek.server.resources.validation.environment import VOLUME_FIELDS, check_field_ref, check_resource_ref
from edgek.server.resources.validation.fields import Errors, Path, items
from edgek.server.resources.validation.sources import SOURCES
from edgek.server.resources.validation.values import check_descending_path, check_file_mode, check_unreserved_path, quantity

ONE_TYPE = "may not specify more than 1 volume type"
TOKEN_LEAST_S = 10 * 60
TOKEN_MOST_S = 1 << 32

Check = Callable[[Errors, Path, Mapping[str, Any]], None]


def check_volumes(errors: Errors, at: Path, spec: Mapping[str, Any]) -> None:
    seen: set[str] = set()
    for place, volume in items(spec, "volumes", at):
        name = volume.get("name") or ""
        _check_source(errors, place, volume)
        if name:
            errors.invalid_each(place / "name", name, names.dns_label(name))
        else:
            errors.required(place / "name")
        if name in seen:
            errors.duplicate(place / "name", name)
        seen.add(name)


def _check_source(errors: Errors, at: Path, volume: Mapping[str, Any]) -> None:
    given = [name for name in _POD_SOURCES if volume.get(name) is not None]
    if not given:
        errors.required(at, "must specify a volume type")
    for index, name in enumerate(given):
        if index:
            errors.forbidden(at / name, ONE_TYPE)
        else:
            _POD_SOURCES[name](errors, at / name, volume[name])


def _check_empty_dir(errors: Errors, at: Path, source: Mapping[str, Any]) -> None:
    if quantity(source.get("sizeLimit")).nanos < 0:
        errors.forbidden(at / "sizeLimit", "SizeLimit field must be a valid resource quantity")


def _check_secret(errors: Errors, at: Path, source: Mapping[str, Any]) -> None:
    if not source.get("secretName"):
        errors.required(at / "secretName")
    _check_keys(errors, at, source)


def _check_config_map(errors: Errors, at: Path, source: Mapping[str, Any]) -> None:
    if not source.get("name"):
        errors.required(at / "name")
    _check_keys(errors, at, source)


def _check_keys(errors: Errors, at: Path, source: Mapping[str, Any]) -> None:
    check_file_mode(errors, at / "defaultMode", source.get("defaultMode"))
    for place, item in items(source, "items", at):
        _check_key_to_path(errors, place, item)


def _check_key_to_path(errors: Errors, at: Path, item: Mapping[str, Any]) -> None:
    if not item.get("key"):
        errors.required(at / "key")
    if not item.get("path"):
        errors.required(at / "path")
    else:
        check_unreserved_path(errors, at / "path", item["path"])
    check_file_mode(errors, at / "mode", item.get("mode"))


def _check_claim_reference(errors: Errors, at: Path, source: Mapping[str, Any]) -> None:
    if not source.get("claimName"):
        errors.required(at / "claimName")


def _check_downward_api(errors: Errors, at: Path, source: Mapping[str, Any]) -> None:
    check_file_mode(errors, at / "defaultMode", source.get("defaultMode"))
    for place, file in items(source, "items", at):
        _check_downward_file(errors, place, file)


def _check_downward_file(errors: Errors, at: Path, file: Mapping[str, Any]) -> None:
    if not file.get("path"):
        errors.required(at / "path")
    else:
        check_unreserved_path(errors, at / "path", file["path"])
    field, resource = file.get("fieldRef"), file.get("resourceFieldRef")
    if field is not None:
        check_field_ref(errors, at / "fieldRef", field, VOLUME_FIELDS, subscripts=True)
        if resource is not None:
            errors.invalid(at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
    elif resource is not None:
        check_resource_ref(errors, at / "resourceFieldRef", resource, in_volume=True)
    else:
        errors.required(at, "one of fieldRef and resourceFieldRef is required")
    check_file_mode(errors, at / "mode", file.get("mode"))


def _check_projected(errors: Errors, at: Path, source: Mapping[str, Any]) -> None:
    check_file_mode(errors, at / "defaultMode", source.get("defaultMode"))
    paths: set[str] = set()
    for place, projection in items(source, "sources", at):
        given = [name for name in _PROJECTIONS if projection.get(name) is not None]
        for index, name in enumerate(given):
            if index:
                errors.forbidden(place, "may not specify more than 1 volume type per source")
            else:
                _check_projection(errors, at, place / name, name, projection[name], paths)


def _check_projection(errors: Errors, whole: Path, at: Path, kind: str, projection: Mapping[str, Any], paths: set[str]) -> None:
    """``paths`` are those of the sources before. ``whole`` is the volume, where upstream reports that two sources want one path."""
    owner = projection.get("name") or ""
    if kind in ("secret", "configMap") and not owner:
        errors.required(at / "name")
    if kind == "serviceAccountToken":
        _check_token(errors, at, projection)
    check = _check_downward_file if kind == "downwardAPI" else _check_key_to_path
    for place, item in items(projection, "items", at):
        check(errors, place, item)
        _check_path_is_free(errors, whole, item.get("path") or "", owner if kind != "downwardAPI" else item.get("path"), paths)
    if kind in ("serviceAccountToken", "clusterTrustBundle"):
        _check_path_is_free(errors, whole, projection.get("path") or "", projection.get("path"), paths)


def _check_path_is_free(errors: Errors, at: Path, path: str, blamed: Any, paths: set[str]) -> None:
    if path and path in paths:
        errors.invalid(at, blamed, "conflicting duplicate paths")
    paths.add(path)


def _check_token(errors: Errors, at: Path, token: Mapping[str, Any]) -> None:
    seconds = token.get("expirationSeconds") or 0
    if seconds < TOKEN_LEAST_S:
        errors.invalid(at / "expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
    if seconds > TOKEN_MOST_S:
        errors.invalid(at / "expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds")
    if not token.get("path"):
        errors.required(at / "path")
    else:
        check_unreserved_path(errors, at / "path", token["path"])


def _check_ephemeral(errors: Errors, at: Path, source: Mapping[str, Any]) -> None:
    template = source.get("volumeClaimTemplate")
    if template is None:
        errors.required(at / "volumeClaimTemplate")
    else:
        check_claim_spec(errors, at / "volumeClaimTemplate" / "spec", template.get("spec") or {})


def _check_csi(errors: Errors, at: Path, source: Mapping[str, Any]) -> None:
    if not source.get("driver"):
        errors.required(at / "driver")
    else:
        errors.invalid_each(at / "driver", source["driver"], names.dns_subdomain(source["driver"].lower()))
    secret = source.get("nodePublishSecretRef")
    if secret is not None and not secret.get("name"):
        errors.required(at / "nodePublishSecretRef")


def _check_image(errors: Errors, at: Path, source: Mapping[str, Any]) -> None:
    if not source.get("reference"):
        errors.required(at / "reference")
    errors.choice(at / "pullPolicy", source.get("pullPolicy") or "", ("Always", "IfNotPresent", "Never"))


def _check_git(errors: Errors, at: Path, source: Mapping[str, Any]) -> None:
    if not source.get("repository"):
        errors.required(at / "repository")
    check_descending_path(errors, at / "directory", source.get("directory") or "")


_PROJECTIONS = ("secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate")

# In the order in which upstream looks: the second one found is the one too many.
_POD_SOURCES: dict[str, Check] = {
    "emptyDir": _check_empty_dir,
    "hostPath": SOURCES["hostPath"],
    "gitRepo": _check_git,
    "gcePersistentDisk": SOURCES["gcePersistentDisk"],
    "awsElasticBlockStore": SOURCES["awsElasticBlockStore"],
    "secret": _check_secret,
    "nfs": SOURCES["nfs"],
    "iscsi": SOURCES["iscsi"],
    "glusterfs": SOURCES["glusterfs"],
    "flocker": SOURCES["flocker"],
    "persistentVolumeClaim": _check_claim_reference,
    "rbd": SOURCES["rbd"],
    "cinder": SOURCES["cinder"],
    "cephfs": SOURCES["cephfs"],
    "quobyte": SOURCES["quobyte"],
    "downwardAPI": _check_downward_api,
    "fc": SOURCES["fc"],
    "flexVolume": SOURCES["flexVolume"],
    "configMap": _check_config_map,
    "azureFile": SOURCES["azureFile"],
    "vsphereVolume": SOURCES["vsphereVolume"],
    "photonPersistentDisk": SOURCES["photonPersistentDisk"],
    "portworxVolume": SOURCES["portworxVolume"],
    "azureDisk": SOURCES["azureDisk"],
    "storageos": SOURCES["storageos"],
    "projected": _check_projected,
    "scaleIO": SOURCES["scaleIO"],
    "csi": _check_csi,
    "ephemeral": _check_ephemeral,
    "image": _check_image,
}
