"""The Pod Security Standards as functions of a pod: what it may not have at a level, in upstream's words.

https://kubernetes.io/docs/concepts/security/pod-security-standards/. Pure; ``pod_security.py`` decides which level counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from edgek.model import objects, references
from edgek.model.objects import Object
from edgek.server.api.quoting import quoted

LEVELS = ("privileged", "baseline", "restricted")

DEFAULT_CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    }
)
SAFE_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    }
)
SELINUX_TYPES = frozenset({"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"})
RESTRICTED_VOLUMES = frozenset({"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret"})
APPARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"


@attrs.frozen
class Violation:
    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})"


def violations(level: str, pod: Object) -> list[Violation]:
    """``pod`` has the shape of a Pod: a template will do."""
    return [Violation(reason, detail) for reason, check in CHECKS[level] if (detail := check(pod))]


def _spec(pod: Object) -> Object:
    return pod.get("spec") or {}


def _context(holder: Object) -> Object:
    return holder.get("securityContext") or {}


def _windows(pod: Object) -> bool:
    return (_spec(pod).get("os") or {}).get("name") == "windows"


def _named(names: Sequence[str], what: str = "container") -> str:
    """``container "a"``, ``containers "a", "b"``."""
    return f"{what}{'s' if len(names) > 1 else ''} {_quotes(names)}"


def _quotes(texts: Iterable[str]) -> str:
    return ", ".join(quoted(text) for text in texts)


def _which(pod: Object, bad: Callable[[Object], Any]) -> list[str]:
    return [container.get("name", "") for container in references.containers(pod) if bad(container)]


def _setters(pod: Object, bad: Callable[[Object], Any]) -> list[str]:
    """Who has a bad security context: ``pod``, ``container "a"``."""
    found = ["pod"] if bad(_context(_spec(pod))) else []
    containers = _which(pod, lambda container: bad(_context(container)))
    return [*found, _named(containers)] if containers else found


def _host_namespaces(pod: Object) -> str:
    return ", ".join(f"{member}=true" for member in ("hostNetwork", "hostPID", "hostIPC") if _spec(pod).get(member))


def _privileged(pod: Object) -> str:
    names = _which(pod, lambda container: _context(container).get("privileged"))
    return f"{_named(names)} must not set securityContext.privileged=true" if names else ""


def _host_paths(pod: Object) -> str:
    names = [volume.get("name", "") for volume in _spec(pod).get("volumes") or () if volume.get("hostPath") is not None]
    return _named(names, "volume") if names else ""


def _host_ports(pod: Object) -> str:
    def ports(container: Object) -> list[int]:
        return [port["hostPort"] for port in container.get("ports") or () if port.get("hostPort")]

    names = _which(pod, ports)
    used = sorted({port for container in references.containers(pod) for port in ports(container)})
    if not names:
        return ""
    return f"{_named(names)} use{'s' if len(names) == 1 else ''} hostPort{'s' if len(used) > 1 else ''} {', '.join(map(str, used))}"


def _added(container: Object, allowed: frozenset[str]) -> list[str]:
    return [name for name in (_context(container).get("capabilities") or {}).get("add") or () if name not in allowed]


def _forbidden_capabilities(pod: Object, allowed: frozenset[str]) -> str:
    names = _which(pod, lambda container: _added(container, allowed))
    added = sorted({name for container in references.containers(pod) for name in _added(container, allowed)})
    return f"{_named(names)} must not include {_quotes(added)} in securityContext.capabilities.add" if names else ""


def _baseline_capabilities(pod: Object) -> str:
    return _forbidden_capabilities(pod, DEFAULT_CAPABILITIES)


def _restricted_capabilities(pod: Object) -> str:
    if _windows(pod):
        return ""
    keeping = _which(pod, lambda container: "ALL" not in ((_context(container).get("capabilities") or {}).get("drop") or ()))
    must_drop = f'{_named(keeping)} must set securityContext.capabilities.drop=["ALL"]' if keeping else ""
    return "; ".join(filter(None, (must_drop, _forbidden_capabilities(pod, frozenset({"NET_BIND_SERVICE"})))))


def _apparmor(pod: Object) -> str:
    setters = _setters(pod, lambda context: (context.get("appArmorProfile") or {}).get("type") == "Unconfined")
    found = [f'{" and ".join(setters)} must not set AppArmor profile type to "Unconfined"'] if setters else []
    for key, value in sorted(objects.annotations(pod).items()):
        if key.startswith(APPARMOR_ANNOTATION) and value not in ("", "runtime/default") and not value.startswith("localhost/"):
            found.append(f"annotation {quoted(key)}={quoted(value)}")
    return ", ".join(found)


def _proc_mount(pod: Object) -> str:
    names = _which(pod, lambda container: _context(container).get("procMount") not in (None, "Default"))
    kinds_ = sorted({_context(container)["procMount"] for container in references.containers(pod) if container.get("name") in names})
    return f"{_named(names)} must not set securityContext.procMount to {_quotes(kinds_)}" if names else ""


def _selinux(pod: Object) -> str:
    def wrong(context: Object) -> list[str]:
        options = context.get("seLinuxOptions") or {}
        found = [] if options.get("type", "") in SELINUX_TYPES else [f"type {quoted(options['type'])}"]
        return found + [f"{member} may not be set" for member in ("user", "role") if options.get(member)]

    setters = _setters(pod, wrong)
    if not setters:
        return ""
    contexts = [_context(_spec(pod)), *(_context(container) for container in references.containers(pod))]
    told = dict.fromkeys(text for context in contexts for text in wrong(context))
    return f"{' and '.join(setters)} set forbidden securityContext.seLinuxOptions: {'; '.join(told)}"


def _seccomp_type(context: Object) -> str | None:
    found: str | None = (context.get("seccompProfile") or {}).get("type")
    return found


def _baseline_seccomp(pod: Object) -> str:
    setters = _setters(pod, lambda context: _seccomp_type(context) == "Unconfined")
    return f'{" and ".join(setters)} must not set securityContext.seccompProfile.type to "Unconfined"' if setters else ""


def _restricted_seccomp(pod: Object) -> str:
    if _windows(pod):
        return ""
    allowed = ("RuntimeDefault", "Localhost")
    setters = _setters(pod, lambda context: _seccomp_type(context) not in (None, *allowed))
    found = f'{" and ".join(setters)} must not set securityContext.seccompProfile.type to "Unconfined"' if setters else ""
    if _seccomp_type(_context(_spec(pod))) in allowed:
        return found
    without = _which(pod, lambda container: _seccomp_type(_context(container)) is None)
    if not without:
        return found
    lacking = f'pod or {_named(without)} must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    return "; ".join(filter(None, (found, lacking)))


def _sysctls(pod: Object) -> str:
    names = [each.get("name", "") for each in _context(_spec(pod)).get("sysctls") or ()]
    return ", ".join(name for name in names if name not in SAFE_SYSCTLS)


def _host_process(pod: Object) -> str:
    setters = _setters(pod, lambda context: (context.get("windowsOptions") or {}).get("hostProcess"))
    return f"{' and '.join(setters)} must not set securityContext.windowsOptions.hostProcess=true" if setters else ""


def _probe_hosts(pod: Object) -> str:
    """A probe aimed elsewhere makes the kubelet ask hosts that the pod's author could not reach himself."""
    names = _which(pod, _hosts)
    hosts = sorted({host for container in references.containers(pod) for host in _hosts(container)})
    return (
        f"{_named(names)} use{'s' if len(names) == 1 else ''} probe or lifecycle host{'s' if len(hosts) > 1 else ''} {_quotes(hosts)}"
        if names
        else ""
    )


def _hosts(container: Object) -> list[str]:
    lifecycle = container.get("lifecycle") or {}
    handlers = [container.get(member) or {} for member in ("livenessProbe", "readinessProbe", "startupProbe")]
    handlers += [lifecycle.get(member) or {} for member in ("postStart", "preStop")]
    return [host for handler in handlers for action in ("httpGet", "tcpSocket") if (host := (handler.get(action) or {}).get("host"))]


def _escalation(pod: Object) -> str:
    names = [] if _windows(pod) else _which(pod, lambda container: _context(container).get("allowPrivilegeEscalation") is not False)
    return f"{_named(names)} must set securityContext.allowPrivilegeEscalation=false" if names else ""


def _volume_types(pod: Object) -> str:
    bad = {}
    for volume in _spec(pod).get("volumes") or ():
        types = [member for member in volume if member != "name" and member not in RESTRICTED_VOLUMES]
        if types:
            bad[volume.get("name", "")] = types[0]
    types = sorted(set(bad.values()))
    uses = f"use{'s' if len(bad) == 1 else ''} restricted volume type{'s' if len(types) > 1 else ''}"
    return f"{_named(list(bad), 'volume')} {uses} {_quotes(types)}" if bad else ""


def _non_root(pod: Object) -> str:
    found = _setters(pod, lambda context: context.get("runAsNonRoot") is False)
    told = [f"{' and '.join(found)} must not set securityContext.runAsNonRoot=false"] if found else []
    if _context(_spec(pod)).get("runAsNonRoot") is None:
        without = _which(pod, lambda container: _context(container).get("runAsNonRoot") is None)
        if without:
            told.append(f"pod or {_named(without)} must set securityContext.runAsNonRoot=true")
    return "; ".join(told)


def _root_user(pod: Object) -> str:
    setters = _setters(pod, lambda context: context.get("runAsUser") == 0)
    return f"{' and '.join(setters)} must not set runAsUser=0" if setters else ""


Check = tuple[str, Callable[[Object], str]]

# Upstream's order: by the checks' ids, those of baseline first. ``restricted`` replaces three of baseline's by stricter ones.
_REPLACED: tuple[Check, ...] = (
    ("non-default capabilities", _baseline_capabilities),
    ("hostPath volumes", _host_paths),
    ("seccompProfile", _baseline_seccomp),
)
_BASELINE: tuple[Check, ...] = (
    ("forbidden AppArmor profile", _apparmor),
    _REPLACED[0],
    ("host namespaces", _host_namespaces),
    _REPLACED[1],
    ("hostPort", _host_ports),
    ("probe or lifecycle host", _probe_hosts),
    ("privileged", _privileged),
    ("procMount", _proc_mount),
    ("seLinuxOptions", _selinux),
    _REPLACED[2],
    ("forbidden sysctls", _sysctls),
    ("hostProcess", _host_process),
)
_RESTRICTED: tuple[Check, ...] = (
    ("allowPrivilegeEscalation != false", _escalation),
    ("unrestricted capabilities", _restricted_capabilities),
    ("restricted volume types", _volume_types),
    ("runAsNonRoot != true", _non_root),
    ("runAsUser=0", _root_user),
    ("seccompProfile", _restricted_seccomp),
)

CHECKS: Mapping[str, tuple[Check, ...]] = {
    "privileged": (),
    "baseline": _BASELINE,
    "restricted": (*(check for check in _BASELINE if check not in _REPLACED), *_RESTRICTED),
}
