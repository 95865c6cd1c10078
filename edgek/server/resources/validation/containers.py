"""Containers of all three sorts: the usual ones, those that run before them, and those added for debugging."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import attrs

from edgek.server.resources.validation import names
from edgek.server.resources.validation.compute import check_requirements
from edgek.server.resources.validation.environment import check_env
from edgek.server.resources.validation.fields import Errors, Path, items
from edgek.server.resources.validation.mounts import check_devices, check_mounts
from edgek.server.resources.validation.probes import check_lifecycle, check_probes
from edgek.server.resources.validation.security import check_container_context

PROTOCOLS = ("SCTP", "TCP", "UDP")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
RESTART_POLICIES = ("Always", "Never", "OnFailure")
_EPHEMERAL_FORBIDDEN = ("ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resources", "resizePolicy", "restartPolicy")
_INIT_FORBIDDEN = ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe")


@attrs.frozen
class Around:
    """What the rules of a container need to know of its pod: volumes by name, the claims it offers, and some members of its spec."""

    volumes: Mapping[str, Mapping[str, Any]]
    claims: Collection[str]
    grace_s: int
    restart_policy: str
    host_users: bool

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Around:
        grace = spec.get("terminationGracePeriodSeconds")
        return cls(
            volumes={volume.get("name") or "": volume for volume in spec.get("volumes") or ()},
            claims={claim.get("name") or "" for claim in spec.get("resourceClaims") or ()},
            grace_s=30 if grace is None else grace,
            restart_policy=spec.get("restartPolicy") or "",
            host_users=spec.get("hostUsers") is not False,
        )


def check_containers(errors: Errors, at: Path, spec: Mapping[str, Any], around: Around) -> None:
    """``spec.containers``: at least one."""
    containers = spec.get("containers") or ()
    if not containers:
        errors.required(at / "containers")
        return
    seen: set[str] = set()
    for place, container in items(spec, "containers", at):
        _check_common(errors, place, container, around)
        _check_unique(errors, place, container, seen)
        if container.get("lifecycle") is not None:
            check_lifecycle(errors, place / "lifecycle", container["lifecycle"], around.grace_s)
        check_probes(errors, place, container, around.grace_s)
        _check_restart_policy(errors, place, container)
    _check_host_ports(errors, items(spec, "containers", at))


def check_init_containers(errors: Errors, at: Path, spec: Mapping[str, Any], around: Around) -> None:
    seen = {container.get("name") or "" for container in spec.get("containers") or ()}
    for place, container in items(spec, "initContainers", at):
        _check_common(errors, place, container, around)
        _check_restart_policy(errors, place, container)
        _check_unique(errors, place, container, seen)
        # One runs after the other, so each has the host's ports for itself.
        _check_host_ports(errors, [(place, container)])
        if container.get("restartPolicy") == "Always":
            if container.get("lifecycle") is not None:
                check_lifecycle(errors, place / "lifecycle", container["lifecycle"], around.grace_s)
            check_probes(errors, place, container, around.grace_s)
        else:
            for name in _INIT_FORBIDDEN:
                if container.get(name) is not None:
                    errors.forbidden(place / name, "may not be set for init containers without restartPolicy=Always")


def check_ephemeral_containers(errors: Errors, at: Path, spec: Mapping[str, Any], around: Around) -> None:
    others = {container.get("name") or "" for kind in ("containers", "initContainers") for container in spec.get(kind) or ()}
    seen = set(others)
    for place, container in items(spec, "ephemeralContainers", at):
        _check_common(errors, place, container, around)
        check_image_blanks(errors, place, container)
        _check_unique(errors, place, container, seen)
        target = container.get("targetContainerName")
        if target and target not in others:
            errors.not_found(place / "targetContainerName", target)
        for name in _EPHEMERAL_FORBIDDEN:
            if container.get(name):
                errors.forbidden(place / name, "cannot be set for an Ephemeral Container")
        for mount_place, mount in items(container, "volumeMounts", place):
            if mount.get("subPath"):
                errors.forbidden(mount_place / "subPath", "cannot be set for an Ephemeral Container")


def check_image_blanks(errors: Errors, at: Path, container: Mapping[str, Any]) -> None:
    """Of pods, not of templates: upstream once let templates through, and keeps to it."""
    image = container.get("image") or ""
    if image != image.strip():
        errors.invalid(at / "image", image, "must not have leading or trailing whitespace")


def _check_unique(errors: Errors, at: Path, container: Mapping[str, Any], seen: set[str]) -> None:
    name = container.get("name") or ""
    if name and name in seen:
        errors.duplicate(at / "name", name)
    seen.add(name)


def _check_common(errors: Errors, at: Path, container: Mapping[str, Any], around: Around) -> None:
    name = container.get("name") or ""
    if name:
        errors.invalid_each(at / "name", name, names.dns_label(name))
    else:
        errors.required(at / "name")
    if not container.get("image"):
        errors.required(at / "image")
    policy = container.get("terminationMessagePolicy") or ""
    if policy:
        errors.choice(at / "terminationMessagePolicy", policy, ("FallbackToLogsOnError", "File"))
    else:
        errors.required(at / "terminationMessagePolicy")
    _check_ports(errors, at, container)
    check_env(errors, at, container)
    check_mounts(errors, at, container, around.volumes)
    check_devices(errors, at, container, around.volumes)
    _check_pull_policy(errors, at, container.get("imagePullPolicy") or "")
    check_requirements(errors, at / "resources", container.get("resources"), around.claims)
    _check_resize_policy(errors, at / "resizePolicy", container, around)
    if container.get("securityContext") is not None:
        check_container_context(errors, at / "securityContext", container["securityContext"], host_users=around.host_users)


def _check_pull_policy(errors: Errors, at: Path, policy: str) -> None:
    if policy:
        errors.choice(at / "imagePullPolicy", policy, PULL_POLICIES)
    else:
        errors.required(at / "imagePullPolicy")


def _check_ports(errors: Errors, at: Path, container: Mapping[str, Any]) -> None:
    seen: set[str] = set()
    for place, port in items(container, "ports", at):
        name, number, host = port.get("name") or "", port.get("containerPort") or 0, port.get("hostPort") or 0
        if name:
            problems = names.port_name(name)
            errors.invalid_each(place / "name", name, problems)
            if not problems and name in seen:
                errors.duplicate(place / "name", name)
            seen.add(name)
        if not number:
            errors.required(place / "containerPort")
        else:
            errors.invalid_each(place / "containerPort", number, names.port_number(number))
        if host:
            errors.invalid_each(place / "hostPort", host, names.port_number(host))
        if not port.get("protocol"):
            errors.required(place / "protocol")
        else:
            errors.choice(place / "protocol", port["protocol"], PROTOCOLS)


def _check_host_ports(errors: Errors, containers: Iterable[tuple[Path, Mapping[str, Any]]]) -> None:
    """No two containers may want the same port of the host."""
    seen: set[str] = set()
    for at, container in containers:
        for place, port in items(container, "ports", at):
            if not port.get("hostPort"):
                continue
            wanted = f"{port.get('protocol') or ''}/{port.get('hostIP') or ''}/{port['hostPort']}"
            if wanted in seen:
                errors.duplicate(place / "hostPort", wanted)
            seen.add(wanted)


def _check_restart_policy(errors: Errors, at: Path, container: Mapping[str, Any]) -> None:
    policy = container.get("restartPolicy")
    if policy is not None:
        errors.choice(at / "restartPolicy", policy, RESTART_POLICIES)


def _check_resize_policy(errors: Errors, at: Path, container: Mapping[str, Any], around: Around) -> None:
    policies: Sequence[Mapping[str, Any]] = container.get("resizePolicy") or ()
    seen: set[str] = set()
    for index, policy in enumerate(policies):
        name, restart = policy.get("resourceName") or "", policy.get("restartPolicy") or ""
        if name in seen:
            errors.duplicate(at[index], name)
        seen.add(name)
        if name:
            errors.choice(at, name, ("cpu", "memory"))
        else:
            errors.required(at)
        if restart:
            errors.choice(at, restart, ("NotRequired", "RestartContainer"))
        else:
            errors.required(at)
        if around.restart_policy == "Never" and restart == "RestartContainer":
            errors.invalid(at, restart, "must be 'NotRequired' when `restartPolicy` is 'Never'")
