"""Probes and lifecycle hooks: what is asked of a container, and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgek.server.resources.validation import names
from edgek.server.resources.validation.fields import Errors, Path, items

_SECONDS = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")
SCHEMES = ("HTTP", "HTTPS")


def check_probes(errors: Errors, at: Path, container: Mapping[str, Any], grace_s: int) -> None:
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(name)
        if probe is not None:
            _check_probe(errors, at / name, probe, grace_s)
            _check_kind_of_probe(errors, at / name, probe, ready=name == "readinessProbe")


def _check_probe(errors: Errors, at: Path, probe: Mapping[str, Any], grace_s: int) -> None:
    check_handler(errors, at, probe, grace_s)
    for name in _SECONDS:
        errors.non_negative(at / name, probe.get(name))
    errors.positive(at / "terminationGracePeriodSeconds", probe.get("terminationGracePeriodSeconds"))


def _check_kind_of_probe(errors: Errors, at: Path, probe: Mapping[str, Any], *, ready: bool) -> None:
    grace = probe.get("terminationGracePeriodSeconds")
    if ready:
        if grace is not None:
            errors.invalid(at / "terminationGracePeriodSeconds", grace, "must not be set for readinessProbes")
    elif (threshold := probe.get("successThreshold")) != 1:
        errors.invalid(at / "successThreshold", threshold or 0, "must be 1")


def check_lifecycle(errors: Errors, at: Path, lifecycle: Mapping[str, Any], grace_s: int) -> None:
    for name in ("postStart", "preStop"):
        if lifecycle.get(name) is not None:
            check_handler(errors, at / name, lifecycle[name], grace_s)


def check_handler(errors: Errors, at: Path, handler: Mapping[str, Any], grace_s: int) -> None:
    """Exactly one way of asking."""
    given = [name for name in ("exec", "httpGet", "tcpSocket", "grpc", "sleep") if handler.get(name) is not None]
    if not given:
        errors.required(at, "must specify a handler type")
    for name in given[1:]:
        errors.forbidden(at / name, "may not specify more than 1 handler type")
    if given:
        _check_one(errors, at / given[0], given[0], handler[given[0]], grace_s)


def _check_one(errors: Errors, at: Path, name: str, handler: Mapping[str, Any], grace_s: int) -> None:
    match name:
        case "exec":
            if not handler.get("command"):
                errors.required(at / "command")
        case "httpGet":
            _check_http(errors, at, handler)
        case "tcpSocket":
            check_port(errors, at / "port", handler.get("port"))
        case "grpc":
            errors.invalid_each(at / "port", handler.get("port") or 0, names.port_number(handler.get("port") or 0))
        case "sleep":
            seconds = handler.get("seconds") or 0
            if not 0 <= seconds <= grace_s:
                errors.invalid(at, seconds, f"must be non-negative and less than terminationGracePeriodSeconds ({grace_s})")


def _check_http(errors: Errors, at: Path, handler: Mapping[str, Any]) -> None:
    if not handler.get("path"):
        errors.required(at / "path")
    check_port(errors, at / "port", handler.get("port"))
    errors.choice(at / "scheme", handler.get("scheme") or "", SCHEMES)
    for _, header in items(handler, "httpHeaders", at):
        errors.invalid_each(at / "httpHeaders", header.get("name") or "", names.http_header(header.get("name") or ""))


def check_port(errors: Errors, at: Path, port: int | str | None) -> None:
    value = 0 if port is None else port
    errors.invalid_each(at, value, names.port(value))
