"""Security contexts of containers and pods, and what an operating system rules out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from edgek.server.resources.validation import names
from edgek.server.resources.validation.fields import Errors, Path, items
from edgek.server.resources.validation.goview import dumped
from edgek.server.resources.validation.values import check_descending_path

PROFILE_TYPES = ("Localhost", "RuntimeDefault", "Unconfined")
_SYSCTL = r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_POD_WINDOWS_FREE = (
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "fsGroup",
    "fsGroupChangePolicy",
    "sysctls",
    "runAsUser",
    "runAsGroup",
    "supplementalGroups",
    "supplementalGroupsPolicy",
)
_CONTAINER_WINDOWS_FREE = (
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
)
_WINDOWS_PROBLEM = "cannot be set for a windows pod"


def check_container_context(errors: Errors, at: Path, context: Mapping[str, Any], *, host_users: bool) -> None:
    for name in ("runAsUser", "runAsGroup"):
        if context.get(name) is not None:
            errors.invalid_each(at / name, context[name], names.unix_id(context[name]))
    if (mount := context.get("procMount")) is not None:
        errors.choice(at / "procMount", mount, ("Default", "Unmasked"))
        if host_users and mount == "Unmasked":
            errors.invalid(at / "procMount", mount, "`hostUsers` must be false to use `Unmasked`")
    _check_profile(errors, at / "seccompProfile", context.get("seccompProfile"), "seccomp")
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            errors.invalid(at, dumped("SecurityContext", context), "cannot set `allowPrivilegeEscalation` to false and `privileged` to true")
        if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
            detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            errors.invalid(at, dumped("SecurityContext", context), detail)
    _check_profile(errors, at / "appArmorProfile", context.get("appArmorProfile"), "AppArmor")


def _check_profile(errors: Errors, at: Path, profile: Mapping[str, Any] | None, what: str) -> None:
    """A seccomp or AppArmor profile: a type, and for Localhost the name of a file."""
    if profile is None:
        return
    kind, local = profile.get("type") or "", profile.get("localhostProfile")
    if not kind:
        errors.required(at / "type", f"type is required when {at.text.rpartition('.')[2]} is set")
    else:
        errors.choice(at / "type", kind, PROFILE_TYPES)
    if kind == "Localhost":
        if not local:
            errors.required(at / "localhostProfile", f"must be set when {what} type is Localhost")
        elif what == "seccomp":
            check_descending_path(errors, at / "localhostProfile", local)
    elif local:
        errors.invalid(at / "localhostProfile", local, f"can only be set when {what} type is Localhost")


def check_pod_context(errors: Errors, at: Path, spec: Mapping[str, Any]) -> None:
    """``at`` is the pod spec; the host's namespaces stand there, the rest in its securityContext."""
    if spec.get("hostNetwork"):
        for kind in ("containers", "initContainers"):
            for place, container in items(spec, kind, at):
                _check_host_network_ports(errors, place, container)
    context, at = spec.get("securityContext") or {}, at / "securityContext"
    for name in ("fsGroup", "runAsUser", "runAsGroup"):
        if context.get(name) is not None:
            errors.invalid_each(at / name, context[name], names.unix_id(context[name]))
    for place, group in items(context, "supplementalGroups", at):
        errors.invalid_each(place, group, names.unix_id(group))
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        errors.invalid(at / "shareProcessNamespace", True, "ShareProcessNamespace and HostPID cannot both be enabled")
    _check_sysctls(errors, at, context)
    if context.get("fsGroupChangePolicy") is not None:
        errors.choice(at / "fsGroupChangePolicy", context["fsGroupChangePolicy"], ("Always", "OnRootMismatch"))
    _check_profile(errors, at / "seccompProfile", context.get("seccompProfile"), "seccomp")
    _check_profile(errors, at / "appArmorProfile", context.get("appArmorProfile"), "AppArmor")
    if context.get("supplementalGroupsPolicy") is not None:
        errors.choice(at / "supplementalGroupsPolicy", context["supplementalGroupsPolicy"], ("Merge", "Strict"))


def _check_host_network_ports(errors: Errors, at: Path, container: Mapping[str, Any]) -> None:
    for place, port in items(container, "ports", at):
        if (port.get("hostPort") or 0) != (port.get("containerPort") or 0):
            errors.invalid(place / "hostPort", port.get("hostPort") or 0, "must match `containerPort` when `hostNetwork` is true")


def _check_sysctls(errors: Errors, at: Path, context: Mapping[str, Any]) -> None:
    seen: set[str] = set()
    for place, sysctl in items(context, "sysctls", at):
        name = sysctl.get("name") or ""
        if not name:
            errors.required(place / "name")
        elif len(name) > 253 or not re.fullmatch(_SYSCTL, name):
            errors.invalid(place / "name", name, f"must have at most 253 characters and match regex ^{_SYSCTL}$")
        elif name in seen:
            errors.duplicate(place / "name", name)
        seen.add(name)


def check_host_users(errors: Errors, at: Path, spec: Mapping[str, Any]) -> None:
    if spec.get("hostUsers") is not False:
        return
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name):
            errors.forbidden(at / name, "when `hostUsers` is false")


def check_os(errors: Errors, at: Path, spec: Mapping[str, Any]) -> None:
    """``spec.os``, and that nothing of the other system is asked for."""
    if spec.get("os") is None:
        return
    name = spec["os"].get("name") or ""
    if not name:
        errors.required(at / "os" / "name")
        return
    errors.choice(at / "os", name, ("linux", "windows"))
    if name == "windows":
        _check_windows(errors, at, spec)
    elif name == "linux":
        for place, context in _contexts(spec, at):
            if context.get("windowsOptions") is not None:
                errors.forbidden(place / "windowsOptions", "windows options cannot be set for a linux pod")


def _check_windows(errors: Errors, at: Path, spec: Mapping[str, Any]) -> None:
    for name in ("hostPID", "hostIPC", "hostUsers"):
        if spec.get(name):
            errors.forbidden(at / name, _WINDOWS_PROBLEM)
    for index, (place, context) in enumerate(_contexts(spec, at)):
        for name in _CONTAINER_WINDOWS_FREE if index else _POD_WINDOWS_FREE:
            if context.get(name) is not None:
                errors.forbidden(place / name, _WINDOWS_PROBLEM)


def _contexts(spec: Mapping[str, Any], at: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """The pod's security context, then those of its containers."""
    yield at / "securityContext", spec.get("securityContext") or {}
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        for place, container in items(spec, kind, at):
            yield place / "securityContext", container.get("securityContext") or {}
