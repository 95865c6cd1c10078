"""Where a container sees the pod's volumes: mounts of file systems, and raw devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgek.server.resources.validation.fields import Errors, Path, items
from edgek.server.resources.validation.values import check_descending_path

PROPAGATIONS = ("Bidirectional", "HostToContainer", "None")
READ_ONLY_MODES = ("Disabled", "Enabled", "IfPossible")
UNIQUE = "must be unique"

Volumes = Mapping[str, Mapping[str, Any]]


def check_mounts(errors: Errors, at: Path, container: Mapping[str, Any], volumes: Volumes) -> None:
    paths: set[str] = set()
    for place, mount in items(container, "volumeMounts", at):
        name, path = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            errors.required(place / "name")
        if name not in volumes:
            errors.not_found(place / "name", name)
        if not path:
            errors.required(place / "mountPath")
        if path in paths:
            errors.invalid(place / "mountPath", path, UNIQUE)
        paths.add(path)
        _check_overlap(errors, place, "mountPath", mount, container.get("volumeDevices") or (), "devicePath", "volumeDevices")
        _check_mount(errors, at / "volumeMounts", place, mount, container)


def _check_mount(errors: Errors, whole: Path, at: Path, mount: Mapping[str, Any], container: Mapping[str, Any]) -> None:
    """Some errors name the list, not the mount: upstream's old habit."""
    if mount.get("subPath"):
        check_descending_path(errors, whole / "subPath", mount["subPath"])
    if mount.get("subPathExpr"):
        if mount.get("subPath"):
            errors.invalid(at / "subPathExpr", mount["subPathExpr"], "subPathExpr and subPath are mutually exclusive")
        check_descending_path(errors, whole / "subPathExpr", mount["subPathExpr"])
    if (propagation := mount.get("mountPropagation")) is not None:
        errors.choice(whole / "mountPropagation", propagation, PROPAGATIONS)
        if propagation == "Bidirectional" and not (container.get("securityContext") or {}).get("privileged"):
            detail = "Bidirectional mount propagation is available only to privileged containers"
            errors.forbidden(whole / "mountPropagation", detail)
    if (recursive := mount.get("recursiveReadOnly")) is not None:
        _check_recursive(errors, at / "recursiveReadOnly", recursive, mount)


def _check_recursive(errors: Errors, at: Path, recursive: str, mount: Mapping[str, Any]) -> None:
    errors.choice(at, recursive, READ_ONLY_MODES)
    if recursive in ("Enabled", "IfPossible"):
        if not mount.get("readOnly"):
            errors.forbidden(at, "may only be specified when readOnly is true")
        if mount.get("mountPropagation") not in (None, "None"):
            errors.forbidden(at, "may only be specified when mountPropagation is None or not specified")


def check_devices(errors: Errors, at: Path, container: Mapping[str, Any], volumes: Volumes) -> None:
    seen_names: set[str] = set()
    seen_paths: set[str] = set()
    for place, device in items(container, "volumeDevices", at):
        name, path = device.get("name") or "", device.get("devicePath") or ""
        _check_device_name(errors, place / "name", name, seen_names, volumes)
        if not path:
            errors.required(place / "devicePath")
        if path in seen_paths:
            errors.invalid(place / "devicePath", path, UNIQUE)
        if ".." in path.split("/"):
            errors.invalid(place / "devicePath", path, "can not contain backsteps ('..')")
        seen_paths.add(path)
        _check_overlap(errors, place, "devicePath", device, container.get("volumeMounts") or (), "mountPath", "volumeMounts")


def _check_device_name(errors: Errors, at: Path, name: str, seen: set[str], volumes: Volumes) -> None:
    if not name:
        errors.required(at)
    if name in seen:
        errors.invalid(at, name, UNIQUE)
    seen.add(name)
    volume = volumes.get(name)
    if volume is None:
        errors.not_found(at, name)
    elif volume.get("persistentVolumeClaim") is None and volume.get("ephemeral") is None:
        errors.invalid(at, name, "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode")


def _check_overlap(errors: Errors, at: Path, member: str, mount: Mapping[str, Any], others: Any, other_member: str, other_list: str) -> None:
    """A volume is either mounted or a device, and so is a path."""
    if mount.get("name") in {each.get("name") for each in others}:
        errors.invalid(at / "name", mount.get("name") or "", f"must not already exist in {other_list}")
    if mount.get(member) in {each.get(other_member) for each in others}:
        errors.invalid(at / member, mount.get(member) or "", f"must not already exist as a path in {other_list}")
