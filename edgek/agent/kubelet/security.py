"""What a container may do: the pod's and the container's securityContext folded into one. Pure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgek.agent.kubelet.environment import ConfigError
from edgek.agent.runtime.runtime import Image, SecurityContext
from edgek.model import objects
from edgek.model.objects import Object


def of_container(pod: Object, container: Object, image: Image | None, seccomp_dir: Path, volume_groups: tuple[int, ...] = ()) -> SecurityContext:
    """Raises ConfigError where ``runAsNonRoot`` forbids what the image would be."""
    shared = (pod.get("spec") or {}).get("securityContext") or {}
    own = container.get("securityContext") or {}

    def pick(key: str) -> Any:
        return own.get(key) if own.get(key) is not None else shared.get(key)

    user = pick("runAsUser")
    if image is not None and pick("runAsNonRoot"):
        _refuse_root(pod, container, user, image.user)
    capabilities = own.get("capabilities") or {}
    groups = [*(shared.get("supplementalGroups") or ()), *volume_groups]
    if shared.get("fsGroup") is not None:
        groups.append(shared["fsGroup"])
    return SecurityContext(
        run_as_user=user,
        run_as_group=pick("runAsGroup"),
        supplemental_groups=tuple(dict.fromkeys(groups)),
        privileged=bool(own.get("privileged")),
        read_only_root=bool(own.get("readOnlyRootFilesystem")),
        no_new_privileges=own.get("allowPrivilegeEscalation") is False,
        add_capabilities=tuple(capabilities.get("add") or ()),
        drop_capabilities=tuple(capabilities.get("drop") or ()),
        seccomp="Unconfined" if own.get("privileged") else _seccomp(pick("seccompProfile"), seccomp_dir),
        masked_paths=own.get("procMount") != "Unmasked",
        selinux=pick("seLinuxOptions") or {},
    )


def of_sandbox(pod: Object, seccomp_dir: Path) -> SecurityContext:
    shared = (pod.get("spec") or {}).get("securityContext") or {}
    groups = [*(shared.get("supplementalGroups") or ())]
    if shared.get("fsGroup") is not None:
        groups.append(shared["fsGroup"])
    return SecurityContext(
        run_as_user=shared.get("runAsUser"),
        run_as_group=shared.get("runAsGroup") if shared.get("runAsUser") is not None else None,
        supplemental_groups=tuple(dict.fromkeys(groups)),
        seccomp=_seccomp(shared.get("seccompProfile"), seccomp_dir),
        selinux=shared.get("seLinuxOptions") or {},
    )


def privileged(pod: Object) -> bool:
    """Whether any container is: its sandbox has to be, too."""
    spec = pod.get("spec") or {}
    every = (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()), *(spec.get("ephemeralContainers") or ()))
    return any((c.get("securityContext") or {}).get("privileged") for c in every)


def _seccomp(profile: Object | None, folder: Path) -> str:
    kind = (profile or {}).get("type") or "Unconfined"
    if kind == "Localhost":
        return f"Localhost/{folder / str((profile or {}).get('localhostProfile') or '')}"
    return str(kind)


def _refuse_root(pod: Object, container: Object, user: int | None, image_user: str) -> None:
    where = f'(pod: "{objects.name(pod)}_{objects.namespace(pod)}({objects.uid(pod)})", container: {container["name"]})'
    if user is not None:
        if user == 0:
            raise ConfigError(f"container's runAsUser breaks non-root policy {where}")
        return
    name = image_user.partition(":")[0]
    if not name or name == "0":
        raise ConfigError(f"container has runAsNonRoot and image will run as root {where}")
    if not name.isdigit():
        raise ConfigError(f"container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root {where}")
