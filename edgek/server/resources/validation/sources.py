"""Where a volume's bytes are: the sources that pods and persistent volumes have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from edgek.server.resources.validation.fields import Errors, Path
from edgek.server.resources.validation.values import check_no_backsteps

HOST_PATH_TYPES = ("", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket")

Check = Callable[[Errors, Path, Mapping[str, Any]], None]


def check_host_path(errors: Errors, at: Path, source: Mapping[str, Any]) -> None:
    path = source.get("path") or ""
    if not path:
        errors.required(at / "path")
        return
    check_no_backsteps(errors, at / "path", path)
    errors.choice(at / "type", source.get("type") or "", HOST_PATH_TYPES)


def check_nfs(errors: Errors, at: Path, source: Mapping[str, Any]) -> None:
    server, path = source.get("server") or "", source.get("path") or ""
    if not server:
        errors.required(at / "server")
    if not path:
        errors.required(at / "path")
    if not path.startswith("/"):
        errors.invalid(at / "path", path, "must be an absolute path")


def check_local(errors: Errors, at: Path, source: Mapping[str, Any]) -> None:
    if not source.get("path"):
        errors.required(at / "path")
    else:
        check_no_backsteps(errors, at / "path", source["path"])


def check_csi_volume(errors: Errors, at: Path, source: Mapping[str, Any]) -> None:
    _check_members(("driver", "volumeHandle"), errors, at, source)
    for name in ("controllerPublishSecretRef", "nodePublishSecretRef", "nodeStageSecretRef", "controllerExpandSecretRef", "nodeExpandSecretRef"):
        if source.get(name) is not None:
            _check_members(("name", "namespace"), errors, at / name, source[name])


def _check_members(wanted: tuple[str, ...], errors: Errors, at: Path, source: Mapping[str, Any]) -> None:
    for name in wanted:
        if not source.get(name):
            errors.required(at / name)


def _wanting(*members: str) -> Check:
    """A source that is told by these members and has no further rules here: nothing on an edge node mounts it without a driver."""
    return partial(_check_members, members)


SOURCES: dict[str, Check] = {
    "hostPath": check_host_path,
    "nfs": check_nfs,
    "local": check_local,
    "csi": check_csi_volume,
    "gcePersistentDisk": _wanting("pdName"),
    "awsElasticBlockStore": _wanting("volumeID"),
    "iscsi": _wanting("targetPortal", "iqn"),
    "glusterfs": _wanting("endpoints", "path"),
    "flocker": _wanting(),
    "rbd": _wanting("monitors", "image"),
    "cinder": _wanting("volumeID"),
    "cephfs": _wanting("monitors"),
    "quobyte": _wanting("registry", "volume"),
    "fc": _wanting(),
    "flexVolume": _wanting("driver"),
    "azureFile": _wanting("secretName", "shareName"),
    "vsphereVolume": _wanting("volumePath"),
    "photonPersistentDisk": _wanting("pdID"),
    "portworxVolume": _wanting("volumeID"),
    "azureDisk": _wanting("diskName", "diskURI"),
    "storageos": _wanting(),
    "scaleIO": _wanting("gateway", "system", "volumeName"),
}
